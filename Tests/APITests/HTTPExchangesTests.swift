// What a connection of HTTP/1.1 does, by the parts of its requests and by simulated time.
// SPDX-License-Identifier: Apache-2.0

import API
import NIOHTTP1
import Testing

@Suite struct HTTPExchangesTests {
    @Test("a small request is asked about when it is whole, a large one at once and in parts")
    func bodies() {
        var exchanges = HTTPExchanges(after: [head("/1", ["Content-Length": "4"]), body("ab")])
        #expect(exchanges.said() == [])
        exchanges.receive([body("cd"), .end(nil)], at: second(2))
        #expect(exchanges.said() == ["ask /1 1 abcd"])
        exchanges.endAnswer(1, at: second(2))
        let long = "\(HTTPExchanges.smallBody + 1)"
        exchanges.receive([head("/2", ["Content-Length": long]), body("ab")], at: second(3))
        #expect(exchanges.said() == ["ask /2 2 …", "body ab"])
        exchanges.receive([body("cd"), .end(nil)], at: second(4))
        #expect(exchanges.said() == ["body cd", "whole"])
        exchanges.endAnswer(2, at: second(5))
        exchanges.receive(upload("/3"), at: second(6))
        #expect(exchanges.said() == ["ask /3 3 …"])
    }

    @Test("what comes behind a request waits for its answer, and holds the reading")
    func order() {
        var exchanges = HTTPExchanges(after: get("/1"))
        exchanges.allowRead(at: second(1))
        #expect(exchanges.said() == ["ask /1 1 ", "read"])
        exchanges.receive(get("/2") + get("/3") + [head("/4")], at: second(2))
        exchanges.allowRead(at: second(2))
        #expect(exchanges.said() == [] && exchanges.deadline == nil)
        exchanges.endAnswer(1, at: second(3))
        #expect(exchanges.said() == ["ask /2 2 "])
        #expect(!exchanges.isAnswering(1) && exchanges.isAnswering(2))
        exchanges.endAnswer(2, at: second(4))
        #expect(exchanges.said() == ["ask /3 3 "])
        exchanges.endAnswer(3, at: second(42))
        // The fourth was read no further for forty seconds, and has its time from its beginning on.
        #expect(exchanges.said() == ["read"] && exchanges.deadline == second(32 + 40))
        exchanges.receive(.end(nil), at: second(43))
        #expect(exchanges.said() == ["ask /4 4 "] && exchanges.deadline == nil)
    }

    @Test("a client has its time to ask, to go on, and to take what it is sent")
    func deadlines() {
        var exchanges = HTTPExchanges()
        #expect(exchanges.deadline == second(30))
        exchanges.receive(head("/1", ["Content-Length": "4"]), at: second(20))
        exchanges.receive(body("ab"), at: second(40))
        #expect(exchanges.deadline == second(50))
        exchanges.receive([body("cd"), .end(nil)], at: second(45))
        #expect(exchanges.deadline == nil)
        exchanges.endAnswer(1, at: second(100))
        #expect(exchanges.deadline == second(175))
        exchanges.receive(get("/2"), at: second(110))
        #expect(exchanges.deadline == nil)
        exchanges.setWritable(false, at: second(120))
        #expect(exchanges.deadline == second(195))
        exchanges.allowRead(at: second(130))
        exchanges.allowRead(at: second(150))
        #expect(exchanges.deadline == second(205))
        #expect(exchanges.said() == ["ask /1 1 abcd", "ask /2 2 "])
        exchanges.setWritable(true, at: second(160))
        #expect(exchanges.said() == ["read"] && exchanges.deadline == nil)
        exchanges.endAnswer(2, at: second(200))
        exchanges.advance(to: second(274))
        #expect(exchanges.said() == [])
        exchanges.advance(to: second(275))
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
        exchanges.allowRead(at: second(1))
        #expect(exchanges.beginAnswer(1)?.isLast == true)
        exchanges.endAnswer(1, at: second(2))
        #expect(exchanges.said() == ["ask /1 1 ", "watch"] && exchanges.deadline == second(77))
        exchanges.answersAreWritten(at: second(3))
        #expect(exchanges.said() == ["close output", "read"] && exchanges.deadline == second(5))
        exchanges.receive(get("/3"), at: second(4))
        exchanges.setWritable(false, at: second(4))
        #expect(exchanges.said() == [] && exchanges.deadline == second(5))
        exchanges.endInput(at: second(4))
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
        exchanges.allowRead(at: second(2))
        exchanges.endAnswer(1, at: second(3))
        #expect(exchanges.said() == ["ask /1 1 …", "body a", "torn", "read"])
        #expect(exchanges.deadline == second(32))
        exchanges.receive([body("b"), .end(nil)] + get("/2"), at: second(4))
        #expect(exchanges.said() == ["ask /2 2 "])

        let last = head("/1", ["Content-Length": "99999", "Connection": "close"])
        exchanges.endAnswer(2, at: second(4))

        // Who never stops sending may still read what he was answered.
        var endless = HTTPExchanges(after: [upload("/1")])
        endless.endAnswer(1, at: second(2))
        endless.advance(to: second(31))
        endless.answersAreWritten(at: second(31))
        #expect(endless.said() == ["ask /1 1 …", "torn", "watch", "close output"])

        var ending = HTTPExchanges(after: [last, body("a")])
        ending.endAnswer(1, at: second(2))
        #expect(ending.said() == ["ask /1 1 …", "body a", "torn", "watch"])
        ending.answersAreWritten(at: second(3))
        #expect(ending.said() == ["close output"])
    }

    @Test("a body is read as fast as its own handler takes it")
    func backPressure() {
        var exchanges = HTTPExchanges(after: [upload("/1"), body("a")])
        exchanges.holdBody(1)
        exchanges.allowRead(at: second(2))
        #expect(exchanges.said() == ["ask /1 1 …", "body a"] && exchanges.deadline == nil)
        exchanges.wantBody(1, at: second(9))
        #expect(exchanges.said() == ["read"] && exchanges.deadline == second(38))
        exchanges.receive([.end(nil), upload("/2")], at: second(10))
        exchanges.holdBody(1)
        exchanges.endAnswer(1, at: second(11))
        // The first one's handler holds nothing of the second.
        exchanges.holdBody(1)
        exchanges.allowRead(at: second(11))
        #expect(exchanges.said() == ["whole", "ask /2 2 …", "read"])
        exchanges.holdBody(2)
        exchanges.allowRead(at: second(12))
        exchanges.wantBody(1, at: second(12))
        #expect(exchanges.said() == [])
    }

    @Test("what is no request is refused behind the answers to what came before")
    func refusals() {
        var first = HTTPExchanges()
        first.fail(.invalidMethod, at: second(1))
        #expect(first.said() == ["refuse", "watch"])
        first.fail(.invalidMethod, at: second(1))
        first.answersAreWritten(at: second(2))
        #expect(first.said() == ["close output"])

        var behind = HTTPExchanges(after: get("/1") + get("/2"))
        behind.fail(.invalidMethod, at: second(1))
        behind.allowRead(at: second(1))
        behind.endInput(at: second(1))
        #expect(behind.said() == ["ask /1 1 "])
        #expect(behind.beginAnswer(1)?.isLast == false)
        behind.endAnswer(1, at: second(2))
        #expect(behind.said() == ["ask /2 2 "])
        #expect(behind.beginAnswer(2)?.isLast == false)
        behind.endAnswer(2, at: second(3))
        #expect(behind.said() == ["refuse", "watch", "read"])
        behind.answersAreWritten(at: second(3))
        #expect(behind.said() == ["close"])

        var half = HTTPExchanges(after: [head("/1", ["Content-Length": "4"]), body("ab")])
        half.endInput(at: second(2))
        half.fail(.invalidEOFState, at: second(2))
        #expect(half.said() == ["refuse", "watch"])

        var twice = HTTPExchanges(after: [head("/1", ["Host": "other"], method: .HEAD)])
        #expect(twice.said() == ["refuse HEAD", "watch"])
    }

    @Test("a body that is torn off is no whole one, and its answer is the last")
    func torn() {
        var exchanges = HTTPExchanges(after: [upload("/1")])
        exchanges.endInput(at: second(2))
        exchanges.fail(.invalidEOFState, at: second(2))
        #expect(exchanges.said() == ["ask /1 1 …", "torn"])
        #expect(exchanges.beginAnswer(1)?.isLast == true && exchanges.deadline == nil)
        exchanges.endAnswer(1, at: second(3))
        exchanges.answersAreWritten(at: second(3))
        #expect(exchanges.said() == ["watch", "close"])

        var skipped = HTTPExchanges(after: [upload("/1")])
        skipped.endAnswer(1, at: second(2))
        skipped.fail(.invalidChunkSize, at: second(2))
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
        exchanges.setWritable(false, at: second(1))
        exchanges.endInput(at: second(1))
        #expect(exchanges.beginAnswer(1)?.isLast == false)
        exchanges.endAnswer(1, at: second(2))
        #expect(exchanges.beginAnswer(2)?.isLast == true)
        exchanges.endAnswer(2, at: second(3))
        #expect(exchanges.said() == ["ask /1 1 ", "ask /2 2 ", "watch"])
        exchanges.answersAreWritten(at: second(4))
        #expect(exchanges.said() == ["close"])
        // Its end was not known when the last answer began.
        var late = HTTPExchanges(after: get("/1"))
        #expect(late.said() == ["ask /1 1 "])
        #expect(late.beginAnswer(1)?.isLast == false)
        late.endInput(at: second(2))
        late.endAnswer(1, at: second(3))
        late.answersAreWritten(at: second(3))
        #expect(late.said() == ["watch", "close"])
        var silent = HTTPExchanges()
        silent.endInput(at: second(1))
        silent.answersAreWritten(at: second(1))
        #expect(silent.said() == ["watch", "close"])
    }

    @Test("a server that stops answers the request that is there, and none behind it")
    func stops() {
        var exchanges = HTTPExchanges(after: get("/1") + get("/2"))
        exchanges.stop(at: second(2))
        exchanges.allowRead(at: second(2))
        #expect(exchanges.beginAnswer(1)?.isLast == true)
        exchanges.endAnswer(1, at: second(3))
        exchanges.answersAreWritten(at: second(3))
        // The second may be on its way; its bytes must not cost the first its answer.
        #expect(exchanges.said() == ["ask /1 1 ", "watch", "close output", "read"])

        var begun = HTTPExchanges(after: get("/1") + get("/2"))
        #expect(begun.beginAnswer(1)?.isLast == false)
        begun.stop(at: second(2))
        begun.endAnswer(1, at: second(3))
        #expect(begun.said() == ["ask /1 1 ", "watch"])

        var half = HTTPExchanges(after: [head("/1", ["Content-Length": "1"])])
        half.stop(at: second(2))
        half.receive([body("a"), .end(nil)], at: second(3))
        #expect(half.said() == ["ask /1 1 a"] && half.beginAnswer(1)?.isLast == true)

        var skipping = HTTPExchanges(after: [upload("/1")])
        skipping.endAnswer(1, at: second(2))
        skipping.stop(at: second(3))
        #expect(skipping.said() == ["ask /1 1 …", "torn", "watch"])
        var idle = HTTPExchanges()
        idle.stop(at: second(1))
        idle.answersAreWritten(at: second(1))
        #expect(idle.said() == ["watch", "close"])
        var kept = HTTPExchanges(after: get("/1"))
        kept.endAnswer(1, at: second(2))
        kept.stop(at: second(3))
        kept.answersAreWritten(at: second(3))
        #expect(kept.said() == ["ask /1 1 ", "watch", "close output"])
    }

    @Test("a server that stops waits five seconds for any client, and for its own handlers")
    func stopping() {
        var sending = HTTPExchanges(after: [head("/1", ["Content-Length": "4"])])
        sending.stop(at: second(2))
        #expect(sending.deadline == second(7))
        var taking = HTTPExchanges(after: get("/1"))
        taking.setWritable(false, at: second(1))
        taking.stop(at: second(2))
        #expect(taking.deadline == second(7))
        taking.endAnswer(1, at: second(3))
        #expect(taking.said() == ["ask /1 1 ", "watch"] && taking.deadline == second(7))
        taking.advance(to: second(7))
        #expect(taking.said() == ["close"])
        var working = HTTPExchanges(after: get("/1"))
        working.stop(at: second(2))
        #expect(working.deadline == nil)
    }

    @Test("half an answer is taken for no whole one, and nothing is written behind its end")
    func halves() {
        var answered = HTTPExchanges(after: get("/1"))
        answered.abandonAnswer(1)
        // Nobody has been asked yet, and nobody is for a connection that closes.
        #expect(answered.said() == ["close"] && !answered.isAnswering(1))
        var given = HTTPExchanges(after: get("/1") + get("/2"))
        given.endAnswer(1, at: second(2))
        given.abandonAnswer(1)
        given.endAnswer(1, at: second(2))
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
        exchanges.allowRead(at: second(2))
        #expect(exchanges.said() == ["read"])
        var ending = HTTPExchanges(after: get("/1", ["Upgrade": "websocket"]))
        ending.endInput(at: second(2))
        #expect(ending.upgrade(1) == false)
        #expect(ending.said() == ["close"])
    }
}
