// What a connection of HTTP/1.1 does, by the parts of its requests and by simulated time.
// SPDX-License-Identifier: Apache-2.0

import API
import HTTPTypes
import NIOCore
import NIOHTTP1
import Primitives
import Testing

/// A moment, in seconds.
private func at(_ seconds: Int64) -> Instant {
    Instant(nanoseconds: 1_000_000_000_000) + .seconds(seconds)
}

private func head(
    _ path: String, _ fields: KeyValuePairs<String, String> = [:], method: HTTPMethod = .GET,
    version: HTTPVersion = .http1_1
) -> HTTPServerRequestPart {
    var headers = HTTPHeaders([("Host", "localhost")])
    for (name, value) in fields { headers.add(name: name, value: value) }
    return .head(HTTPRequestHead(version: version, method: method, uri: path, headers: headers))
}

/// The head of a request whose body comes to its handler in parts.
private func upload(_ path: String) -> HTTPServerRequestPart {
    head(path, ["Transfer-Encoding": "chunked"])
}

private func body(_ text: String) -> HTTPServerRequestPart { .body(ByteBuffer(string: text)) }

private func get(
    _ path: String, _ fields: KeyValuePairs<String, String> = [:]
) -> [HTTPServerRequestPart] { [head(path, fields), .end(nil)] }

extension HTTPExchanges {
    fileprivate init() {
        self.init(Limits(arrival: .seconds(30), silence: .seconds(75)), at: at(0))
    }

    fileprivate init(after parts: [HTTPServerRequestPart]) {
        self.init()
        receive(parts, at: at(1))
    }

    fileprivate mutating func receive(_ parts: [HTTPServerRequestPart], at now: Instant) {
        for part in parts { receive(part, at: now) }
    }

    /// What it says, in words that a test can compare.
    fileprivate mutating func said() -> [String] {
        var words: [String] = []
        while let output = pollOutput() {
            switch output {
            case .ask(let request, .whole(let bytes), let number):
                words.append("ask \(request.path ?? "") \(number) \(String(buffer: bytes))")
            case .ask(let request, .streamed, let number):
                words.append("ask \(request.path ?? "") \(number) …")
            case .body(let bytes): words.append("body \(String(buffer: bytes))")
            case .bodyEnd(let isWhole): words.append(isWhole ? "whole" : "torn")
            case .leaveToSend: words.append("continue")
            case .refuse(_, let isHead): words.append(isHead ? "refuse HEAD" : "refuse")
            case .read: words.append("read")
            case .watchAnswers: words.append("watch")
            case .closeOutput: words.append("close output")
            case .close: words.append("close")
            }
        }
        return words
    }
}

@Suite struct HTTPExchangesTests {
    @Test("a small request is asked about when it is whole, a large one at once and in parts")
    func bodies() {
        var exchanges = HTTPExchanges(after: [head("/1", ["Content-Length": "4"]), body("ab")])
        #expect(exchanges.said() == [])
        exchanges.receive([body("cd"), .end(nil)], at: at(2))
        #expect(exchanges.said() == ["ask /1 1 abcd"])
        exchanges.endAnswer(1, at: at(2))
        let long = "\(HTTPExchanges.smallBody + 1)"
        exchanges.receive([head("/2", ["Content-Length": long]), body("ab")], at: at(3))
        #expect(exchanges.said() == ["ask /2 2 …", "body ab"])
        exchanges.receive([body("cd"), .end(nil)], at: at(4))
        #expect(exchanges.said() == ["body cd", "whole"])
        exchanges.endAnswer(2, at: at(5))
        exchanges.receive(upload("/3"), at: at(6))
        #expect(exchanges.said() == ["ask /3 3 …"])
    }

    @Test("what comes behind a request waits for its answer, and holds the reading")
    func order() {
        var exchanges = HTTPExchanges(after: get("/1"))
        exchanges.allowRead(at: at(1))
        #expect(exchanges.said() == ["ask /1 1 ", "read"])
        exchanges.receive(get("/2") + get("/3") + [head("/4")], at: at(2))
        exchanges.allowRead(at: at(2))
        #expect(exchanges.said() == [] && exchanges.deadline == nil)
        exchanges.endAnswer(1, at: at(3))
        #expect(exchanges.said() == ["ask /2 2 "])
        #expect(!exchanges.isAnswering(1) && exchanges.isAnswering(2))
        exchanges.endAnswer(2, at: at(4))
        #expect(exchanges.said() == ["ask /3 3 "])
        exchanges.endAnswer(3, at: at(42))
        // The fourth was read no further for forty seconds, and has its time from its beginning on.
        #expect(exchanges.said() == ["read"] && exchanges.deadline == at(32 + 40))
        exchanges.receive(.end(nil), at: at(43))
        #expect(exchanges.said() == ["ask /4 4 "] && exchanges.deadline == nil)
    }

    @Test("a client has its time to ask, to go on, and to take what it is sent")
    func deadlines() {
        var exchanges = HTTPExchanges()
        #expect(exchanges.deadline == at(30))
        exchanges.receive(head("/1", ["Content-Length": "4"]), at: at(20))
        exchanges.receive(body("ab"), at: at(40))
        #expect(exchanges.deadline == at(50))
        exchanges.receive([body("cd"), .end(nil)], at: at(45))
        #expect(exchanges.deadline == nil)
        exchanges.endAnswer(1, at: at(100))
        #expect(exchanges.deadline == at(175))
        exchanges.receive(get("/2"), at: at(110))
        #expect(exchanges.deadline == nil)
        exchanges.setWritable(false, at: at(120))
        #expect(exchanges.deadline == at(195))
        exchanges.allowRead(at: at(130))
        exchanges.allowRead(at: at(150))
        #expect(exchanges.deadline == at(205))
        #expect(exchanges.said() == ["ask /1 1 abcd", "ask /2 2 "])
        exchanges.setWritable(true, at: at(160))
        #expect(exchanges.said() == ["read"] && exchanges.deadline == nil)
        exchanges.endAnswer(2, at: at(200))
        exchanges.advance(to: at(274))
        #expect(exchanges.said() == [])
        exchanges.advance(to: at(275))
        #expect(exchanges.said() == ["close"] && exchanges.deadline == nil)
    }

    @Test(
        "the connection ends with the answer to who says so, and goes on to hear him out",
        arguments: [
            head("/1", ["Connection": "Close"]), head("/1", version: .http1_0),
            head("/1", ["Connection": "upgrade", "Upgrade": "websocket"]),
        ])
    func last(_ head: HTTPServerRequestPart) {
        var exchanges = HTTPExchanges(after: [head, .end(nil)] + get("/2"))
        exchanges.allowRead(at: at(1))
        #expect(exchanges.beginAnswer(1)?.isLast == true)
        exchanges.endAnswer(1, at: at(2))
        #expect(exchanges.said() == ["ask /1 1 ", "watch"] && exchanges.deadline == at(77))
        exchanges.answersAreWritten(at: at(3))
        #expect(exchanges.said() == ["close output", "read"] && exchanges.deadline == at(5))
        exchanges.receive(get("/3"), at: at(4))
        exchanges.setWritable(false, at: at(4))
        #expect(exchanges.said() == [] && exchanges.deadline == at(5))
        exchanges.endInput(at: at(4))
        #expect(exchanges.said() == ["close"])
    }

    @Test("an answer is of its request's version")
    func version() {
        var old = HTTPExchanges(after: [head("/1", version: .http1_0), .end(nil)])
        #expect(old.beginAnswer(1)?.version == .http1_0)
        var new = HTTPExchanges(after: get("/1"))
        let answer = new.beginAnswer(1)
        #expect(answer?.version == .http1_1 && answer?.isLast == false)
    }

    @Test("the rest of a body that is answered early is passed over, or heard out at the end")
    func skipping() {
        var exchanges = HTTPExchanges(after: [upload("/1"), body("a")])
        exchanges.holdBody(1)
        exchanges.allowRead(at: at(2))
        exchanges.endAnswer(1, at: at(3))
        #expect(exchanges.said() == ["ask /1 1 …", "body a", "torn", "read"])
        #expect(exchanges.deadline == at(32))
        exchanges.receive([body("b"), .end(nil)] + get("/2"), at: at(4))
        #expect(exchanges.said() == ["ask /2 2 "])

        let last = head("/1", ["Content-Length": "99999", "Connection": "close"])
        exchanges.endAnswer(2, at: at(4))

        // Who never stops sending may still read what he was answered.
        var endless = HTTPExchanges(after: [upload("/1")])
        endless.endAnswer(1, at: at(2))
        endless.advance(to: at(31))
        endless.answersAreWritten(at: at(31))
        #expect(endless.said() == ["ask /1 1 …", "torn", "watch", "close output"])

        var ending = HTTPExchanges(after: [last, body("a")])
        ending.endAnswer(1, at: at(2))
        #expect(ending.said() == ["ask /1 1 …", "body a", "torn", "watch"])
        ending.answersAreWritten(at: at(3))
        #expect(ending.said() == ["close output"])
    }

    @Test("a body is read as fast as its own handler takes it")
    func backPressure() {
        var exchanges = HTTPExchanges(after: [upload("/1"), body("a")])
        exchanges.holdBody(1)
        exchanges.allowRead(at: at(2))
        #expect(exchanges.said() == ["ask /1 1 …", "body a"] && exchanges.deadline == nil)
        exchanges.wantBody(1, at: at(9))
        #expect(exchanges.said() == ["read"] && exchanges.deadline == at(38))
        exchanges.receive([.end(nil), upload("/2")], at: at(10))
        exchanges.holdBody(1)
        exchanges.endAnswer(1, at: at(11))
        // The first one's handler holds nothing of the second.
        exchanges.holdBody(1)
        exchanges.allowRead(at: at(11))
        #expect(exchanges.said() == ["whole", "ask /2 2 …", "read"])
        exchanges.holdBody(2)
        exchanges.allowRead(at: at(12))
        exchanges.wantBody(1, at: at(12))
        #expect(exchanges.said() == [])
    }

    @Test("what is no request is refused behind the answers to what came before")
    func refusals() {
        var first = HTTPExchanges()
        first.fail(.invalidMethod, at: at(1))
        #expect(first.said() == ["refuse", "watch"])
        first.fail(.invalidMethod, at: at(1))
        first.answersAreWritten(at: at(2))
        #expect(first.said() == ["close output"])

        var second = HTTPExchanges(after: get("/1") + get("/2"))
        second.fail(.invalidMethod, at: at(1))
        second.allowRead(at: at(1))
        second.endInput(at: at(1))
        #expect(second.said() == ["ask /1 1 "])
        #expect(second.beginAnswer(1)?.isLast == false)
        second.endAnswer(1, at: at(2))
        #expect(second.said() == ["ask /2 2 "])
        #expect(second.beginAnswer(2)?.isLast == false)
        second.endAnswer(2, at: at(3))
        #expect(second.said() == ["refuse", "watch", "read"])
        second.answersAreWritten(at: at(3))
        #expect(second.said() == ["close"])

        var half = HTTPExchanges(after: [head("/1", ["Content-Length": "4"]), body("ab")])
        half.endInput(at: at(2))
        half.fail(.invalidEOFState, at: at(2))
        #expect(half.said() == ["refuse", "watch"])

        var twice = HTTPExchanges(after: [head("/1", ["Host": "other"], method: .HEAD)])
        #expect(twice.said() == ["refuse HEAD", "watch"])
    }

    @Test("a body that is torn off is no whole one, and its answer is the last")
    func torn() {
        var exchanges = HTTPExchanges(after: [upload("/1")])
        exchanges.endInput(at: at(2))
        exchanges.fail(.invalidEOFState, at: at(2))
        #expect(exchanges.said() == ["ask /1 1 …", "torn"])
        #expect(exchanges.beginAnswer(1)?.isLast == true && exchanges.deadline == nil)
        exchanges.endAnswer(1, at: at(3))
        exchanges.answersAreWritten(at: at(3))
        #expect(exchanges.said() == ["watch", "close"])

        var skipped = HTTPExchanges(after: [upload("/1")])
        skipped.endAnswer(1, at: at(2))
        skipped.fail(.invalidChunkSize, at: at(2))
        #expect(skipped.said() == ["ask /1 1 …", "torn", "watch"])
        var gone = HTTPExchanges(after: [upload("/1")])
        #expect(gone.said() == ["ask /1 1 …"])
        gone.closed()
        #expect(gone.said() == ["torn"])
    }

    @Test("who waits for leave to send gets it, of HTTP/1.1 only")
    func expectation() {
        let fields: KeyValuePairs = ["Expect": "100-continue", "Content-Length": "2"]
        var new = HTTPExchanges(after: [head("/1", fields)])
        #expect(new.said() == ["continue"])
        var old = HTTPExchanges(after: [head("/1", fields, version: .http1_0)])
        #expect(old.said() == [])
    }

    @Test("who sends no more is answered what he asked, also when he takes it late")
    func inputEnds() {
        var exchanges = HTTPExchanges(after: get("/1") + get("/2"))
        exchanges.setWritable(false, at: at(1))
        exchanges.endInput(at: at(1))
        #expect(exchanges.beginAnswer(1)?.isLast == false)
        exchanges.endAnswer(1, at: at(2))
        #expect(exchanges.beginAnswer(2)?.isLast == true)
        exchanges.endAnswer(2, at: at(3))
        #expect(exchanges.said() == ["ask /1 1 ", "ask /2 2 ", "watch"])
        exchanges.answersAreWritten(at: at(4))
        #expect(exchanges.said() == ["close"])
        // Its end was not known when the last answer began.
        var late = HTTPExchanges(after: get("/1"))
        #expect(late.said() == ["ask /1 1 "])
        #expect(late.beginAnswer(1)?.isLast == false)
        late.endInput(at: at(2))
        late.endAnswer(1, at: at(3))
        late.answersAreWritten(at: at(3))
        #expect(late.said() == ["watch", "close"])
        var silent = HTTPExchanges()
        silent.endInput(at: at(1))
        silent.answersAreWritten(at: at(1))
        #expect(silent.said() == ["watch", "close"])
    }

    @Test("a server that stops answers the request that is there, and none behind it")
    func stops() {
        var exchanges = HTTPExchanges(after: get("/1") + get("/2"))
        exchanges.stop(at: at(2))
        exchanges.allowRead(at: at(2))
        #expect(exchanges.beginAnswer(1)?.isLast == true)
        exchanges.endAnswer(1, at: at(3))
        exchanges.answersAreWritten(at: at(3))
        // The second may be on its way; its bytes must not cost the first its answer.
        #expect(exchanges.said() == ["ask /1 1 ", "watch", "close output", "read"])

        var begun = HTTPExchanges(after: get("/1") + get("/2"))
        #expect(begun.beginAnswer(1)?.isLast == false)
        begun.stop(at: at(2))
        begun.endAnswer(1, at: at(3))
        #expect(begun.said() == ["ask /1 1 ", "watch"])

        var half = HTTPExchanges(after: [head("/1", ["Content-Length": "1"])])
        half.stop(at: at(2))
        half.receive([body("a"), .end(nil)], at: at(3))
        #expect(half.said() == ["ask /1 1 a"] && half.beginAnswer(1)?.isLast == true)

        var skipping = HTTPExchanges(after: [upload("/1")])
        skipping.endAnswer(1, at: at(2))
        skipping.stop(at: at(3))
        #expect(skipping.said() == ["ask /1 1 …", "torn", "watch"])
        var idle = HTTPExchanges()
        idle.stop(at: at(1))
        idle.answersAreWritten(at: at(1))
        #expect(idle.said() == ["watch", "close"])
        var kept = HTTPExchanges(after: get("/1"))
        kept.endAnswer(1, at: at(2))
        kept.stop(at: at(3))
        kept.answersAreWritten(at: at(3))
        #expect(kept.said() == ["ask /1 1 ", "watch", "close output"])
    }

    @Test("a server that stops waits five seconds for any client, and for its own handlers")
    func stopping() {
        var sending = HTTPExchanges(after: [head("/1", ["Content-Length": "4"])])
        sending.stop(at: at(2))
        #expect(sending.deadline == at(7))
        var taking = HTTPExchanges(after: get("/1"))
        taking.setWritable(false, at: at(1))
        taking.stop(at: at(2))
        #expect(taking.deadline == at(7))
        taking.endAnswer(1, at: at(3))
        #expect(taking.said() == ["ask /1 1 ", "watch"] && taking.deadline == at(7))
        taking.advance(to: at(7))
        #expect(taking.said() == ["close"])
        var working = HTTPExchanges(after: get("/1"))
        working.stop(at: at(2))
        #expect(working.deadline == nil)
    }

    @Test("half an answer is taken for no whole one, and nothing is written behind its end")
    func halves() {
        var answered = HTTPExchanges(after: get("/1"))
        answered.abandonAnswer(1)
        // Nobody has been asked yet, and nobody is for a connection that closes.
        #expect(answered.said() == ["close"] && !answered.isAnswering(1))
        var given = HTTPExchanges(after: get("/1") + get("/2"))
        given.endAnswer(1, at: at(2))
        given.abandonAnswer(1)
        given.endAnswer(1, at: at(2))
        #expect(given.beginAnswer(1) == nil && given.isAnswering(2))
        #expect(given.said() == ["ask /1 1 ", "ask /2 2 "])
        var unasked = HTTPExchanges(after: [upload("/1"), body("a")])
        unasked.closed()
        #expect(unasked.said() == [])
    }

    @Test("an upgrade takes the connection over, unless it ends")
    func upgrade() {
        var exchanges = HTTPExchanges(after: get("/1", ["Upgrade": "websocket"]))
        #expect(exchanges.said() == ["ask /1 1 "])
        #expect(exchanges.upgrade(1) == true && exchanges.deadline == nil)
        exchanges.abandonAnswer(1)
        exchanges.allowRead(at: at(2))
        #expect(exchanges.said() == ["read"])
        var ending = HTTPExchanges(after: get("/1", ["Upgrade": "websocket"]))
        ending.endInput(at: at(2))
        #expect(ending.upgrade(1) == false)
        #expect(ending.said() == ["close"])
    }

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
        exchanges.advance(to: at(now))
        drain()
        guard !isClosed else { return }
        switch Int.random(in: 0..<8, using: &random) {
        case 0:
            isWritable = !happens(3)
            exchanges.setWritable(isWritable, at: at(now))
        case 1:
            guard let answering else { break }
            isHeld = receiving != nil
            exchanges.holdBody(answering.number)
        case 2:
            isHeld = false
            exchanges.wantBody(asked, at: at(now))
        case 3: if isWatched { exchanges.answersAreWritten(at: at(now)) }
        case 4, 5: answer()
        default: send()
        }
        drain()
        guard !isClosed else { return }
        if happens(200) { exchanges.fail(.invalidMethod, at: at(now)) }
        if happens(200) { exchanges.endInput(at: at(now)) }
        if happens(200) { exchanges.stop(at: at(now)) }
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
        exchanges.endAnswer(number, at: at(now))
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
        exchanges.receive(rest.removeFirst(), at: at(now))
        if rest.isEmpty { whole.insert("/\(sent)") }
        if happens(3) {
            canRead = false
            exchanges.allowRead(at: at(now))
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
