// Answers as a load client reads them: whole, in pieces, one behind the other, and broken.
// SPDX-License-Identifier: Apache-2.0

import NIOCore
import Simulation
import Testing

@Suite struct AnswerReaderTests {
    private static let created =
        "HTTP/1.1 201 Created\r\nX-A: b\r\ncontent-length: 5\r\nX-C: d\r\n\r\nhello"
    private static let empty = "HTTP/1.1 204 No Content\r\nX-A: b\r\n\r\n"

    private func read(_ text: String, by size: Int) throws -> [AnswerReader.Answer] {
        var reader = AnswerReader()
        var answers: [AnswerReader.Answer] = []
        var rest = ByteBuffer(string: text)
        while var part = rest.readSlice(length: min(size, max(rest.readableBytes, 1))) {
            while let answer = try reader.next(in: &part) { answers.append(answer) }
        }
        return answers
    }

    @Test("two answers are read whole and in pieces of any size", arguments: 1...140)
    func pieces(size: Int) throws {
        let answers = try read(Self.created + Self.empty + Self.created, by: size)
        #expect(answers.map(\.status) == [201, 204, 201])
        #expect(answers.map(\.bodyBytes) == [5, 0, 5])
        #expect(answers.map { String(buffer: $0.beginning) } == ["hello", "", "hello"])
    }

    @Test("of a long body the beginning is kept and the rest is counted", arguments: [1000, 5000])
    func longBody(size: Int) throws {
        let body = String(repeating: "x", count: 100_000)
        let answers = try read(
            "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + body + Self.empty, by: size)
        #expect(answers.map(\.status) == [200, 204])
        #expect(answers.map(\.bodyBytes) == [100_000, 0])
        #expect(answers.first?.beginning.readableBytes == AnswerReader.keptBytes)
    }

    @Test(
        "what is no answer, or has no length, is refused",
        arguments: [
            "SSH-2.0-OpenSSH\r\n\r\n", "HTTP/1.1 abc\r\n\r\n", "HTTP/1.1 99\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
            String(repeating: "x", count: 70_000),
        ])
    func broken(text: String) {
        #expect(throws: AnswerReader.Failure.self) { try read(text, by: 1000) }
    }
}

@Suite struct RequestScheduleTests {
    private let begun = NIODeadline.uptimeNanoseconds(1_000_000_000)

    @Test("at a rate each request is due at its own time, however late it is asked")
    func rate() {
        var schedule = RequestSchedule(begun: begun, seconds: 0.004, rate: 1000)
        #expect(schedule.next(at: begun) == .ask(due: begun))
        #expect(schedule.next(at: begun) == .wait(until: begun + .milliseconds(1)))
        let late = begun + .milliseconds(100)
        #expect(schedule.next(at: late) == .ask(due: begun + .milliseconds(1)))
        #expect(schedule.next(at: late) == .ask(due: begun + .milliseconds(2)))
        #expect(schedule.next(at: late) == .ask(due: begun + .milliseconds(3)))
        #expect(schedule.next(at: late) == .over)
    }

    @Test("without a rate a request is due at once, until the time or the number is over")
    func asMany() {
        var schedule = RequestSchedule(begun: begun, seconds: 1, rate: 0, count: 2)
        let later = begun + .milliseconds(10)
        #expect(schedule.next(at: later) == .ask(due: later))
        #expect(schedule.next(at: later) == .ask(due: later))
        #expect(schedule.next(at: later) == .over)
        var short = RequestSchedule(begun: begun, seconds: 0.005, rate: 0)
        #expect(short.next(at: later) == .over)
    }
}
