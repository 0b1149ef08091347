// RESP values from bytes: every type, every tear, every limit.
// SPDX-License-Identifier: Apache-2.0

import NIOCore
import Primitives
import RESP
import Testing

/// Bytes as a server writes them, and what they mean. Feeds decoding and encoding.
private let cases: [(wire: String, value: RESPValue)] = [
    ("+OK\r\n", .simpleString("OK")),
    ("+\r\n", .simpleString("")),
    ("-ERR unknown command\r\n", .failure(RESPFailure(code: "ERR", detail: "unknown command"))),
    ("-LOADING\r\n", .failure(RESPFailure(code: "LOADING", detail: ""))),
    (":0\r\n", .integer(0)),
    (":-9223372036854775808\r\n", .integer(.min)),
    (":9223372036854775807\r\n", .integer(.max)),
    ("$5\r\nhe\r\no\r\n", .bulkString(ByteBuffer(string: "he\r\no"))),
    ("$0\r\n\r\n", .bulkString(ByteBuffer())),
    ("_\r\n", .null),
    (",1.5\r\n", .double(1.5)),
    (",inf\r\n", .double(.infinity)),
    ("#t\r\n", .boolean(true)),
    ("#f\r\n", .boolean(false)),
    (
        "(-3492890328409238509324850943850943825024385\r\n",
        .bigNumber("-3492890328409238509324850943850943825024385")
    ),
    ("=7\r\ntxt:abc\r\n", .verbatimString(form: "txt", ByteBuffer(string: "abc"))),
    ("*0\r\n", .array([])),
    ("*2\r\n:1\r\n*1\r\n_\r\n", .array([.integer(1), .array([.null])])),
    ("~1\r\n#t\r\n", .set([.boolean(true)])),
    ("%1\r\n+a\r\n*0\r\n", .map([RESPEntry(key: .simpleString("a"), value: .array([]))])),
    (
        ">2\r\n+message\r\n$1\r\nx\r\n",
        .push([.simpleString("message"), .bulkString(ByteBuffer(string: "x"))])
    ),
]

@Suite struct DecoderTests {
    private func decode(
        _ bytes: ByteBuffer, cuts: [Int] = [], limits: RESPLimits = RESPLimits()
    ) throws(RESPError) -> [RESPValue] {
        var decoder = RESPDecoder(limits: limits)
        var rest = bytes
        var values: [RESPValue] = []
        var position = 0
        for cut in cuts + [bytes.readableBytes] {
            guard let chunk = rest.readSlice(length: cut - position) else { continue }
            position = cut
            // A copy, as a socket hands out: the decoder must not count on its neighbours.
            decoder.receive(ByteBuffer(bytes: chunk.readableBytesView))
            while let value = try decoder.next() { values.append(value) }
        }
        return values
    }

    private func failure(_ wire: String, limits: RESPLimits = RESPLimits()) -> RESPError? {
        do throws(RESPError) {
            let values = try decode(ByteBuffer(string: wire), limits: limits)
            Issue.record("\(values) from \(wire)")
            return nil
        } catch {
            return error
        }
    }

    @Test("every type of RESP3 is read and written back byte for byte")
    func types() throws {
        for (wire, value) in cases {
            #expect(try decode(ByteBuffer(string: wire)) == [value], "\(wire)")
            var written = ByteBuffer()
            written.writeValue(value)
            #expect(String(buffer: written) == wire)
        }
    }

    @Test("what is torn at any byte, or dripped byte by byte, is the same")
    func torn() throws {
        var stream = ByteBuffer()
        for (wire, _) in cases { stream.writeString(wire) }
        let expected = cases.map(\.value)
        for cut in 0...stream.readableBytes {
            #expect(try decode(stream, cuts: [cut]) == expected, "cut at \(cut)")
        }
        #expect(try decode(stream, cuts: Array(0..<stream.readableBytes)) == expected)
        var random = SeededRandom(seed: 20)
        for _ in 0..<200 {
            let cuts = (0..<5).map { _ in Int.random(in: 0...stream.readableBytes, using: &random) }
            #expect(try decode(stream, cuts: cuts.sorted()) == expected, "\(cuts)")
        }
    }

    @Test("a beginning is no value")
    func truncated() throws {
        for (wire, value) in cases {
            for length in 0..<wire.utf8.count {
                let values = try decode(ByteBuffer(bytes: wire.utf8.prefix(length)))
                #expect(values.isEmpty, "\(value) from \(length) bytes")
            }
        }
    }

    @Test("the nulls of RESP2 are nulls, inside an array too")
    func nulls() throws {
        let wire = ByteBuffer(string: "$-1\r\n*-1\r\n*2\r\n$-1\r\n:7\r\n")
        #expect(try decode(wire) == [.null, .null, .array([.null, .integer(7)])])
    }

    @Test("an attribute is passed over, wherever it stands")
    func attributes() throws {
        let wire = ByteBuffer(
            string: "|1\r\n+ttl\r\n:5\r\n+OK\r\n*2\r\n|1\r\n+a\r\n%0\r\n:1\r\n:2\r\n|0\r\n:3\r\n")
        let expected: [RESPValue] = [
            .simpleString("OK"), .array([.integer(1), .integer(2)]), .integer(3),
        ]
        #expect(try decode(wire) == expected)
        #expect(try decode(wire, cuts: Array(0..<wire.readableBytes)) == expected)
    }

    @Test("an error is told by its first word, when that is a code")
    func failures() throws {
        #expect(
            RESPFailure(parsing: "MOVED 3999 127.0.0.1:6381")
                == RESPFailure(code: "MOVED", detail: "3999 127.0.0.1:6381"))
        #expect(RESPFailure(parsing: "oh no").code == "ERR")
        #expect(RESPFailure(parsing: "").code == "ERR")
        let wire = ByteBuffer(string: "!21\r\nSYNTAX invalid syntax\r\n")
        #expect(
            try decode(wire) == [.failure(RESPFailure(code: "SYNTAX", detail: "invalid syntax"))])
    }

    @Test("what is not RESP ends the stream, and stays ended")
    func garbage() {
        #expect(failure("HTTP/1.1 400\r\n") == .unknownType(UInt8(ascii: "H")))
        #expect(failure("+OK\n") == .missingEnd)
        #expect(failure("\r\n\r\n") == .unknownType(0x0D))
        #expect(failure(":\r\n") == .invalidNumber)
        #expect(failure(":1.5\r\n") == .invalidNumber)
        #expect(failure(":9223372036854775808\r\n") == .invalidNumber)
        #expect(failure(",one\r\n") == .invalidNumber)
        #expect(failure("(12a\r\n") == .invalidNumber)
        #expect(failure("#yes\r\n") == .invalidNumber)
        #expect(failure("$-2\r\n") == .invalidLength)
        #expect(failure("$?\r\n") == .invalidNumber)
        #expect(failure("*-2\r\n") == .invalidLength)
        #expect(failure("~-1\r\n") == .invalidLength)
        #expect(failure("$2\r\nabcd") == .missingEnd)
        #expect(failure("=2\r\nab\r\n") == .invalidLength)
        var decoder = RESPDecoder()
        decoder.receive(ByteBuffer(string: "?\r\n"))
        #expect(throws: RESPError.unknownType(0x3F)) { try decoder.next() }
        decoder.receive(ByteBuffer(string: "+OK\r\n"))
        #expect(throws: RESPError.unknownType(0x3F)) { try decoder.next() }
    }

    @Test("depth, lines, strings and counts have bounds, met exactly")
    func limits() throws {
        var limits = RESPLimits()
        limits.depth = 2
        limits.lineBytes = 8
        limits.bulkBytes = 4
        limits.elements = 6
        let deep = "*1\r\n*1\r\n:1\r\n"
        #expect(try decode(ByteBuffer(string: deep), limits: limits).count == 1)
        #expect(failure("*1\r\n" + deep, limits: limits) == .tooDeep)
        #expect(failure("+123456789\r\n", limits: limits) == .lineTooLong)
        #expect(failure("+123456789", limits: limits) == .lineTooLong)
        #expect(try decode(ByteBuffer(string: "$4\r\nabcd\r\n"), limits: limits).count == 1)
        #expect(failure("$5\r\n", limits: limits) == .bulkTooLarge)
        #expect(failure("*7\r\n", limits: limits) == .tooManyElements)
        #expect(failure("%4\r\n", limits: limits) == .tooManyElements)
        #expect(failure("*4\r\n*3\r\n", limits: limits) == .tooManyElements)
        // The bound is of one value, not of the connection.
        let six = "*6\r\n" + String(repeating: "_\r\n", count: 6)
        let many = ByteBuffer(string: six + six)
        #expect(try decode(many, limits: limits).count == 2)
        let standard = failure("*9223372036854775807\r\n")
        #expect(standard == .tooManyElements)
    }

    @Test("no mutated answer traps")
    func mutated() {
        var stream = ByteBuffer()
        for (wire, _) in cases { stream.writeString(wire) }
        var random = SeededRandom(seed: 7)
        for _ in 0..<5000 {
            var bytes = Array(stream.readableBytesView)
            for _ in 0..<Int.random(in: 1...4, using: &random) {
                let index = Int.random(in: bytes.indices, using: &random)
                bytes[index] = UInt8.random(in: .min ... .max, using: &random)
            }
            _ = try? decode(ByteBuffer(bytes: bytes))
        }
    }

    @Test("a command is an array of strings, counted in bytes")
    func commands() {
        var bytes = ByteBuffer()
        bytes.writeCommand(["SET", "ключ", ""])
        #expect(String(buffer: bytes) == "*3\r\n$3\r\nSET\r\n$8\r\nключ\r\n$0\r\n\r\n")
    }
}
