// The answers of a server to one client, read as cheaply as can be.
// SPDX-License-Identifier: Apache-2.0

package import NIOCore

/// Reads HTTP/1.1 answers with a length (RFC 9112 §6.2), one after the other. A load client shares the
/// machine with the server that it measures: nothing is decoded that is not asked for.
package struct AnswerReader: Sendable {
    package struct Answer: Sendable, Equatable {
        package var status: Int
        package var bodyBytes: Int
        /// The first `keptBytes` of its body.
        package var beginning: ByteBuffer
    }

    /// The server answered what this reader does not know.
    package struct Failure: Error, Equatable, CustomStringConvertible {
        package var description: String
    }

    /// Of a body; more is counted and thrown away.
    package static let keptBytes = 4096
    private static let headBytes = 64 * 1024

    private enum State {
        case head(ByteBuffer)
        /// - Parameter left: bytes of the body that are still to come.
        case body(Answer, left: Int)
    }

    private var state = State.head(ByteBuffer())

    package init() {}

    /// The next answer that these bytes complete; `nil` when they are used up before it.
    package mutating func next(in bytes: inout ByteBuffer) throws(Failure) -> Answer? {
        switch state {
        case .head(var head):
            state = .head(ByteBuffer())
            if head.readableBytes == 0 {
                head = bytes
                bytes.moveReaderIndex(to: bytes.writerIndex)
            } else {
                head.writeBuffer(&bytes)
            }
            guard let end = head.offset(ofFolded: "\r\n\r\n") else {
                guard head.readableBytes <= Self.headBytes else {
                    throw Failure(description: "the head of an answer is too long")
                }
                state = .head(head)
                return nil
            }
            let answer = try Self.answer(head.getSlice(at: head.readerIndex, length: end + 2))
            head.moveReaderIndex(forwardBy: end + 4)
            bytes = head
            return take(answer, left: answer.bodyBytes, from: &bytes)
        case .body(let answer, let left):
            return take(answer, left: left, from: &bytes)
        }
    }

    private mutating func take(
        _ answer: Answer, left: Int, from bytes: inout ByteBuffer
    ) -> Answer? {
        var answer = answer
        let taken = min(left, bytes.readableBytes)
        if var part = bytes.readSlice(length: taken),
            let kept = part.readSlice(
                length: min(taken, Self.keptBytes - answer.beginning.readableBytes))
        {
            if answer.beginning.readableBytes == 0 {
                answer.beginning = kept
            } else {
                answer.beginning.writeImmutableBuffer(kept)
            }
        }
        guard taken == left else {
            state = .body(answer, left: left - taken)
            return nil
        }
        state = .head(ByteBuffer())
        return answer
    }

    /// From the lines of a head, each with its line end.
    private static func answer(_ head: ByteBuffer?) throws(Failure) -> Answer {
        guard let head, let line = head.getString(at: head.readerIndex, length: 12),
            line.hasPrefix("HTTP/1."), let status = Int(line.suffix(3)),
            (200...599).contains(status)
        else { throw Failure(description: "an answer does not begin with a status") }
        var length = 0
        if status != 204, status != 304 {
            let name: StaticString = "\r\ncontent-length:"
            guard let place = head.offset(ofFolded: name),
                let found = head.number(at: place + name.utf8CodeUnitCount)
            else { throw Failure(description: "an answer of status \(status) has no length") }
            length = found
        }
        return Answer(status: status, bodyBytes: length, beginning: ByteBuffer())
    }
}

extension ByteBuffer {
    /// Where a pattern of lower-case letters begins, whatever their case here, from the reader index on.
    func offset(ofFolded pattern: StaticString) -> Int? {
        withUnsafeReadableBytes { bytes in
            pattern.withUTF8Buffer { pattern in
                guard let first = pattern.first, bytes.count >= pattern.count else { return nil }
                for start in 0...(bytes.count - pattern.count)
                where Self.folded(bytes[start]) == first {
                    var length = 1
                    while length < pattern.count,
                        Self.folded(bytes[start + length]) == pattern[length]
                    { length += 1 }
                    if length == pattern.count { return start }
                }
                return nil
            }
        }
    }

    private static func folded(_ byte: UInt8) -> UInt8 {
        (65...90).contains(byte) ? byte | 0x20 : byte
    }

    /// The decimal number at an offset from the reader index, behind any spaces.
    fileprivate func number(at offset: Int) -> Int? {
        var value: Int?
        for byte in readableBytesView.dropFirst(offset) {
            if byte == UInt8(ascii: " "), value == nil { continue }
            guard (48...57).contains(byte) else { break }
            let next = (value ?? 0) * 10 + Int(byte - 48)
            guard next <= 1 << 40 else { return nil }
            value = next
        }
        return value
    }
}
