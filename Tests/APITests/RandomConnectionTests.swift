// A connection of HTTP/1.1 on which whatever may happen does.
// SPDX-License-Identifier: Apache-2.0

import API
import HTTPTypes
import NIOCore
import NIOHTTP1
import Primitives
import Testing

@Suite struct RandomConnectionTests {
    @Test("whatever happens: in their order, one at a time, with an end", arguments: 0..<400)
    func anything(seed: UInt64) {
        var run = RandomConnection(seed: seed)
        for _ in 0..<300 { run.step() }
        run.end()
        #expect(run.isClosed, "seed \(seed)")
    }
}

/// A client, a handler and a socket that do whatever they may.
private struct RandomConnection {
    private var random: SeededRandom
    private var exchanges = HTTPExchanges()
    private var now: Int64 = 0
    private var sent = 0
    /// What the client sends next, of the request that it has begun.
    private var rest: [HTTPServerRequestPart] = []
    /// By path: those whose last part was sent.
    private var whole: Set<String> = []
    private var asked = 0
    private var answering: (number: Int, path: String)?
    /// Whose body is on its way to the handler.
    private var receiving: String?
    private var canRead = true
    private var isWritable = true
    private var isHeld = false
    private var isWatched = false
    private(set) var isClosed = false

    init(seed: UInt64) { random = SeededRandom(seed: seed) }

    private mutating func happens(_ share: Int) -> Bool {
        Int.random(in: 0..<share, using: &random) == 0
    }

    mutating func step() {
        guard !isClosed else { return }
        now += Int64.random(in: 0...2, using: &random)
        exchanges.advance(to: second(now))
        drain()
        guard !isClosed else { return }
        switch Int.random(in: 0..<8, using: &random) {
        case 0:
            isWritable = !happens(3)
            exchanges.setWritable(isWritable, at: second(now))
        case 1:
            guard let answering else { break }
            isHeld = receiving != nil
            exchanges.holdBody(answering.number)
        case 2:
            isHeld = false
            exchanges.wantBody(asked, at: second(now))
        case 3: if isWatched { exchanges.answersAreWritten(at: second(now)) }
        case 4, 5: answer()
        default: send()
        }
        drain()
        guard !isClosed else { return }
        if happens(200) { exchanges.fail(.invalidMethod, at: second(now)) }
        if happens(200) { exchanges.endInput(at: second(now)) }
        if happens(200) { exchanges.stop(at: second(now)) }
        if let answering, happens(200) {
            exchanges.abandonAnswer(answering.number)
            self.answering = nil
        }
        drain()
    }

    /// Nothing more happens but that handlers end and time passes.
    mutating func end() {
        for _ in 0..<20 where !isClosed {
            answer()
            drain()
            if let deadline = exchanges.deadline { exchanges.advance(to: deadline) }
            drain()
        }
    }

    private mutating func answer() {
        guard let number = answering?.number else { return }
        answering = nil
        #expect(exchanges.beginAnswer(number) != nil)
        exchanges.endAnswer(number, at: second(now))
    }

    private mutating func send() {
        guard canRead else { return }
        if rest.isEmpty {
            sent += 1
            rest = [
                happens(3)
                    ? head("/\(sent)", ["Content-Length": "3"])
                    : happens(2) ? upload("/\(sent)") : head("/\(sent)"),
                body("abc"), .end(nil),
            ]
        }
        exchanges.receive(rest.removeFirst(), at: second(now))
        if rest.isEmpty { whole.insert("/\(sent)") }
        if happens(3) {
            canRead = false
            exchanges.allowRead(at: second(now))
        }
    }

    private mutating func drain() {
        while let output = exchanges.pollOutput() {
            #expect(!isClosed)
            switch output {
            case .ask(let request, let body, let number):
                asked += 1
                let path = request.path ?? ""
                #expect(path == "/\(asked)" && number == asked)
                #expect(answering == nil && receiving == nil && !isWatched)
                answering = (number, path)
                if case .streamed = body {
                    receiving = path
                } else {
                    #expect(whole.contains(path))
                }
            case .body: #expect(receiving != nil)
            case .bodyEnd(let isWhole):
                #expect(receiving != nil)
                if isWhole { #expect(whole.contains(receiving ?? "")) }
                receiving = nil
                isHeld = false
            case .refuse: #expect(answering == nil && !isWatched)
            case .read: canRead = true
            case .watchAnswers:
                #expect(answering == nil && !isWatched)
                isWatched = true
            case .close:
                isClosed = true
                #expect(receiving == nil)
                answering = nil
            case .leaveToSend, .closeOutput: break
            }
        }
        // Either somebody here is at work, or the client's time runs out.
        #expect(exchanges.deadline != nil || answering != nil || isClosed)
        let waitsForHandler = answering != nil && (receiving == nil || isHeld)
        #expect(canRead || !isWritable || isWatched || isClosed || waitsForHandler)
    }
}
