// What a Valkey server answers: the types of RESP3, and those of RESP2 among them.
// SPDX-License-Identifier: Apache-2.0

package import NIOCore

/// One value of the protocol. Bytes are slices of what was received.
package indirect enum RESPValue: Sendable, Equatable {
    case simpleString(String)
    case failure(RESPFailure)
    case integer(Int64)
    case double(Double)
    case boolean(Bool)
    /// RESP2's null string and null array, too.
    case null
    case bulkString(ByteBuffer)
    /// Text with its form in the first three bytes (`txt`, `mkd`), without the colon.
    case verbatimString(form: String, ByteBuffer)
    /// Digits of a number beyond 64 bits.
    case bigNumber(String)
    case array([RESPValue])
    case set([RESPValue])
    case map([RESPEntry])
    /// Sent by the server without a question; never an answer.
    case push([RESPValue])

    /// The elements of an array or a set.
    package var elements: [RESPValue]? {
        switch self {
        case .array(let elements), .set(let elements): elements
        default: nil
        }
    }

    /// A whole number; servers of RESP2 write some of them as text.
    package var number: Int64? {
        switch self {
        case .integer(let number): number
        case .bulkString, .simpleString: text.flatMap { Int64($0) }
        default: nil
        }
    }

    package var text: String? {
        switch self {
        case .simpleString(let text): text
        case .bulkString(let bytes), .verbatimString(_, let bytes): String(buffer: bytes)
        default: nil
        }
    }
}

/// A key of a map and its value.
package struct RESPEntry: Sendable, Equatable {
    package var key: RESPValue
    package var value: RESPValue

    package init(key: RESPValue, value: RESPValue) {
        self.key = key
        self.value = value
    }
}

/// An error that the server answered, told apart by its first word (`NOSCRIPT`, `MOVED`, `ERR` …).
package struct RESPFailure: Error, Sendable, Hashable {
    package var code: String
    /// What follows the code. It may quote a key or an argument: not for logs.
    package var detail: String

    package init(code: String, detail: String) {
        self.code = code
        self.detail = detail
    }

    /// Splits an error's text; a first word that is no code leaves the code `ERR`.
    package init(parsing text: String) {
        let parts = text.split(separator: " ", maxSplits: 1, omittingEmptySubsequences: false)
        let first = parts.first ?? ""
        let isCode =
            (1...32).contains(first.utf8.count)
            && first.utf8.allSatisfy { (65...90).contains($0) || (48...57).contains($0) }
        code = isCode ? String(first) : "ERR"
        detail = isCode ? (parts.count > 1 ? String(parts[1]) : "") : text
    }
}
