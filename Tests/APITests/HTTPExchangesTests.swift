// What a connection of HTTP/1.1 does, by the parts of its requests and by simulated time.
// SPDX-License-Identifier: Apache-2.0

import API
import HTTPTypes
import NIOCore
import NIOHTTP1
import Primitives
import Testing

/// A moment, in seconds.
private func at(_ seconds: Int64) -> NIODeadline {
    .uptimeNanoseconds(1_000_000_000_000) + .seconds(seconds)
}

private func head(
    _ path: String, _ fields: KeyValuePairs<String, String> = [:], method: HTTPMethod = .GET,
    version: HTTPVersion = .http1_1
) -> HTTPServerRequestPart {
    var headers = HTTPHeaders([("Host", "localhost")])
    for (name, value) in fields { headers.add(name: name, value: value) }
    return .head(HTTPRequestHead(version: version, method: method, uri: path, headers: headers))
}

private func body(_ text: String) -> HTTPServerRequestPart { .body(ByteBuffer(string: text)) }

private func get(
    _ path: String, _ fields: KeyValuePairs<String, String> = [:]
) -> [HTTPServerRequestPart] { [head(path, fields), .end(nil)] }

extension HTTPExchanges {
    fileprivate init() {
        self.init(Limits(arrival: .seconds(30), silence: .seconds(75)), at: at(0))
    }

    fileprivate mutating func receive(_ parts: [HTTPServerRequestPart], at now: NIODeadline) {
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
            case .bodyEnd(nil): words.append("whole")
            case .bodyEnd: words.append("torn")
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
        var exchanges = HTTPExchanges()
        exchanges.receive([head("/1", ["Content-Length": "4"]), body("ab")], at: at(1))
        #expect(exchanges.said() == [])
        exchanges.receive([body("cd"), .end(nil)], at: at(2))
        #expect(exchanges.said() == ["ask /1 1 abcd"])
        exchanges.endAnswer(at: at(2))
        let long = "\(HTTPExchanges.smallBody + 1)"
        exchanges.receive([head("/2", ["Content-Length": long]), body("ab")], at: at(3))
        #expect(exchanges.said() == ["ask /2 3 …", "body ab"])
        exchanges.receive([body("cd"), .end(nil)], at: at(4))
        #expect(exchanges.said() == ["body cd", "whole"])
        exchanges.endAnswer(at: at(5))
        exchanges.receive(head("/3", ["Transfer-Encoding": "chunked"]), at: at(6))
        #expect(exchanges.said() == ["ask /3 5 …"])
    }

    @Test("what comes behind a request waits for its answer, and holds the reading")
    func order() {
        var exchanges = HTTPExchanges()
        exchanges.receive(get("/1"), at: at(1))
        #expect(exchanges.said() == ["ask /1 1 "])
        #expect(exchanges.mayRead(at: at(1)) == true)
        exchanges.receive(get("/2") + get("/3") + [head("/4")], at: at(2))
        #expect(exchanges.mayRead(at: at(2)) == false)
        #expect(exchanges.said() == [] && exchanges.deadline == nil)
        exchanges.endAnswer(at: at(3))
        #expect(exchanges.said() == ["ask /2 3 "])
        #expect(!exchanges.isAnswering(1) && exchanges.isAnswering(3))
        exchanges.endAnswer(at: at(4))
        #expect(exchanges.said() == ["ask /3 5 "])
        exchanges.endAnswer(at: at(42))
        // The fourth was read no further for forty seconds, and has its time from its beginning on.
        #expect(exchanges.said() == ["read"])
        #expect(exchanges.mayRead(at: at(42)) && exchanges.deadline == at(32 + 40))
        exchanges.receive(.end(nil), at: at(43))
        #expect(exchanges.said() == ["ask /4 7 "] && exchanges.deadline == nil)
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
        exchanges.endAnswer(at: at(100))
        #expect(exchanges.deadline == at(175))
        exchanges.receive(get("/2"), at: at(110))
        #expect(exchanges.deadline == nil)
        exchanges.setWritable(false, at: at(120))
        #expect(exchanges.deadline == at(195) && !exchanges.mayRead(at: at(130)))
        #expect(!exchanges.mayRead(at: at(150)) && exchanges.deadline == at(205))
        exchanges.setWritable(true, at: at(160))
        #expect(exchanges.said() == ["ask /1 1 abcd", "ask /2 3 ", "read"])
        #expect(exchanges.deadline == nil)
    }

    @Test(
        "the connection ends with an answer that says so",
        arguments: [
            head("/1", ["Connection": "Close"]), head("/1", version: .http1_0),
            head("/1", ["Connection": "upgrade", "Upgrade": "websocket"]),
        ])
    func last(_ head: HTTPServerRequestPart) {
        var exchanges = HTTPExchanges()
        exchanges.receive([head, .end(nil)] + get("/2"), at: at(1))
        #expect(exchanges.beginAnswer().isLast)
        exchanges.endAnswer(at: at(2))
        #expect(exchanges.said() == ["ask /1 1 ", "watch"] && exchanges.deadline == at(77))
        exchanges.answersAreWritten(at: at(3))
        #expect(exchanges.said() == ["close"] && exchanges.deadline == nil)
    }

    @Test("who is answered for the last time while still sending is not cut off at once")
    func lingering() {
        var exchanges = HTTPExchanges()
        exchanges.receive(
            [head("/1", ["Content-Length": "99999", "Connection": "close"]), body("a")], at: at(1))
        exchanges.endAnswer(at: at(2))
        #expect(exchanges.said() == ["ask /1 1 …", "body a", "torn", "watch"])
        exchanges.answersAreWritten(at: at(3))
        #expect(exchanges.said() == ["close output"] && exchanges.deadline == at(5))
        exchanges.receive([body("b"), .end(nil)] + get("/2"), at: at(4))
        #expect(exchanges.mayRead(at: at(4)) && exchanges.deadline == at(5))
        #expect(exchanges.said() == [])
    }

    @Test("the rest of a body that is answered early is passed over")
    func skipping() {
        var exchanges = HTTPExchanges()
        exchanges.receive([head("/1", ["Content-Length": "99999"]), body("a")], at: at(1))
        exchanges.holdBody()
        #expect(exchanges.mayRead(at: at(2)) == false)
        exchanges.endAnswer(at: at(3))
        #expect(exchanges.said() == ["ask /1 1 …", "body a", "torn", "read"])
        #expect(exchanges.mayRead(at: at(3)) && exchanges.deadline == at(32))
        exchanges.receive([body("b"), .end(nil)] + get("/2"), at: at(4))
        #expect(exchanges.said() == ["ask /2 3 "])
    }

    @Test("a body is read as fast as its handler takes it")
    func backPressure() {
        var exchanges = HTTPExchanges()
        exchanges.receive([head("/1", ["Transfer-Encoding": "chunked"]), body("a")], at: at(1))
        exchanges.holdBody()
        #expect(!exchanges.mayRead(at: at(2)) && exchanges.deadline == nil)
        exchanges.wantBody()
        #expect(exchanges.said() == ["ask /1 1 …", "body a", "read"])
        #expect(exchanges.mayRead(at: at(9)) && exchanges.deadline == at(38))
    }

    @Test("what is no request is refused behind the answers that came before")
    func refusals() {
        var first = HTTPExchanges()
        first.fail(.invalidMethod, at: at(1))
        #expect(first.said() == ["refuse", "watch"])
        first.answersAreWritten(at: at(2))
        #expect(first.said() == ["close output"])

        var second = HTTPExchanges()
        second.receive(get("/1") + get("/2"), at: at(1))
        second.fail(.invalidMethod, at: at(1))
        #expect(second.said() == ["ask /1 1 "] && !second.mayRead(at: at(1)))
        second.endAnswer(at: at(2))
        #expect(second.said() == ["ask /2 3 "])
        second.endAnswer(at: at(3))
        #expect(second.said() == ["refuse", "watch", "read"])

        var torn = HTTPExchanges()
        torn.receive(head("/1", ["Transfer-Encoding": "chunked"]), at: at(1))
        torn.fail(.invalidChunkSize, at: at(2))
        #expect(torn.said() == ["ask /1 1 …", "torn"] && torn.beginAnswer().isLast)

        var twice = HTTPExchanges()
        twice.receive(head("/1", ["Host": "other"], method: .HEAD), at: at(1))
        #expect(twice.said() == ["refuse HEAD", "watch"])
    }

    @Test("who waits for leave to send gets it, of HTTP/1.1 only")
    func expectation() {
        var exchanges = HTTPExchanges()
        let fields: KeyValuePairs = ["Expect": "100-continue", "Content-Length": "2"]
        exchanges.receive(head("/1", fields), at: at(1))
        #expect(exchanges.said() == ["continue"])
        var old = HTTPExchanges()
        old.receive(head("/1", fields, version: .http1_0), at: at(1))
        #expect(old.said() == [])
    }

    @Test("who sends no more is answered what was asked")
    func inputEnds() {
        var exchanges = HTTPExchanges()
        exchanges.receive(get("/1") + get("/2"), at: at(1))
        exchanges.endInput(at: at(1))
        #expect(!exchanges.beginAnswer().isLast)
        exchanges.endAnswer(at: at(2))
        #expect(exchanges.beginAnswer().isLast)
        exchanges.endAnswer(at: at(3))
        exchanges.answersAreWritten(at: at(4))
        #expect(exchanges.said() == ["ask /1 1 ", "ask /2 3 ", "watch", "close"])
        var silent = HTTPExchanges()
        silent.endInput(at: at(1))
        silent.answersAreWritten(at: at(1))
        #expect(silent.said() == ["watch", "close"])
    }

    @Test("half an answer, or half a body, is taken for no whole one")
    func halves() {
        var answered = HTTPExchanges()
        answered.receive(get("/1"), at: at(1))
        answered.abandonAnswer(1)
        #expect(answered.said() == ["ask /1 1 ", "close"] && !answered.isAnswering(1))
        var given = HTTPExchanges()
        given.receive(get("/1"), at: at(1))
        given.endAnswer(at: at(2))
        given.abandonAnswer(1)
        #expect(given.said() == ["ask /1 1 "])
        var sent = HTTPExchanges()
        sent.receive(head("/1", ["Transfer-Encoding": "chunked"]), at: at(1))
        sent.closed()
        #expect(sent.said() == ["torn"])
    }

    @Test("an upgrade takes the connection over, unless it ends")
    func upgrade() {
        var exchanges = HTTPExchanges()
        exchanges.receive(get("/1", ["Upgrade": "websocket"]), at: at(1))
        #expect(exchanges.upgrade() && exchanges.deadline == nil)
        exchanges.abandonAnswer(1)
        #expect(exchanges.said() == ["ask /1 1 "] && exchanges.mayRead(at: at(2)))
        var ending = HTTPExchanges()
        ending.receive(get("/1", ["Upgrade": "websocket"]), at: at(1))
        ending.endInput(at: at(2))
        #expect(!ending.upgrade() && ending.said() == ["ask /1 1 ", "close"])
    }

    @Test("whatever happens: in their order, one at a time, with an end", arguments: 0..<400)
    func anything(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        var exchanges = HTTPExchanges()
        var now: Int64 = 0
        var (sent, asked) = (0, 0)
        var answering: Int?
        var rest: [HTTPServerRequestPart] = []
        var (isBodyOpen, isOver) = (false, false)
        for _ in 0..<200 {
            now += Int64.random(in: 0...3, using: &random)
            switch Int.random(in: 0..<40, using: &random) {
            case 0: exchanges.fail(.invalidMethod, at: at(now))
            case 1: exchanges.endInput(at: at(now))
            case 2:
                exchanges.closed()
                isOver = true
            case 3: exchanges.abandonAnswer(Int.random(in: 0...9, using: &random))
            case 4: exchanges.holdBody()
            case 5: exchanges.wantBody()
            case 6: exchanges.setWritable(Bool.random(using: &random), at: at(now))
            case 7: exchanges.answersAreWritten(at: at(now))
            case 8..<20:
                guard let number = answering, exchanges.isAnswering(number) else { break }
                _ = exchanges.beginAnswer()
                exchanges.endAnswer(at: at(now))
                answering = nil
            default:
                guard exchanges.mayRead(at: at(now)) else { break }
                if rest.isEmpty {
                    sent += 1
                    let kind = Int.random(in: 0..<3, using: &random)
                    let length = kind == 1 ? "3" : "99999"
                    rest =
                        kind == 0
                        ? get("/\(sent)")
                        : [head("/\(sent)", ["Content-Length": length]), body("abc"), .end(nil)]
                }
                exchanges.receive(rest.removeFirst(), at: at(now))
            }
            while let output = exchanges.pollOutput() {
                switch output {
                case .ask(let request, let body, let number):
                    asked += 1
                    #expect(request.path == "/\(asked)" && !isOver && !isBodyOpen)
                    #expect(answering.map { !exchanges.isAnswering($0) } ?? true)
                    answering = number
                    if case .streamed = body { isBodyOpen = true }
                case .body: #expect(isBodyOpen)
                case .bodyEnd:
                    #expect(isBodyOpen)
                    isBodyOpen = false
                case .watchAnswers, .close: isOver = true
                case .read: #expect(exchanges.mayRead(at: at(now)) == true)
                case .leaveToSend, .refuse, .closeOutput: break
                }
            }
            // Either somebody here is at work, or the client's time runs out.
            let isAtWork = answering.map { exchanges.isAnswering($0) } ?? false
            #expect(exchanges.deadline != nil || isAtWork || isOver)
        }
    }
}
