// From the placeholders that statements are written with to those that PostgreSQL reads.
// SPDX-License-Identifier: Apache-2.0

extension Statement {
    /// The text with `$1`, `$2`… for its `?`. What is quoted or a comment stays as it is: string
    /// constants, quoted names, `--` to the end of the line, `/* */` nested as PostgreSQL nests them.
    package static func numbered(_ sql: String) -> String {
        guard sql.utf8.contains(UInt8(ascii: "?")) else { return sql }
        var output: [UInt8] = []
        output.reserveCapacity(sql.utf8.count + 16)
        var scanner = Scanner()
        var count = 0
        var previous: UInt8 = 0
        for byte in sql.utf8 {
            let isCode = scanner.take(byte, after: previous)
            previous = scanner.hasConsumedPair ? 0 : byte
            guard isCode, byte == UInt8(ascii: "?") else {
                output.append(byte)
                continue
            }
            count += 1
            output.append(contentsOf: Array("$\(count)".utf8))
        }
        return String(decoding: output, as: UTF8.self)
    }

    /// Where in the text a byte stands.
    private struct Scanner {
        private enum Place {
            case code
            case quoted(UInt8)
            case line
            case block(depth: Int)
        }

        private var place = Place.code
        /// The byte ended a pair such as `/*`: it begins no other, as in `/*/`.
        private(set) var hasConsumedPair = false

        /// Whether the byte is code.
        mutating func take(_ byte: UInt8, after previous: UInt8) -> Bool {
            hasConsumedPair = false
            let pair = (previous, byte)
            switch place {
            case .code:
                if byte == UInt8(ascii: "'") || byte == UInt8(ascii: "\"") {
                    place = .quoted(byte)
                } else if pair == (UInt8(ascii: "-"), UInt8(ascii: "-")) {
                    place = .line
                } else if pair == (UInt8(ascii: "/"), UInt8(ascii: "*")) {
                    (place, hasConsumedPair) = (.block(depth: 1), true)
                }
                return true
            case .quoted(let quote):
                // A doubled quote ends the constant and begins it anew, which comes to the same.
                if byte == quote { place = .code }
                return false
            case .line:
                if byte == UInt8(ascii: "\n") { place = .code }
                return false
            case .block(let depth):
                if pair == (UInt8(ascii: "/"), UInt8(ascii: "*")) {
                    (place, hasConsumedPair) = (.block(depth: depth + 1), true)
                } else if pair == (UInt8(ascii: "*"), UInt8(ascii: "/")) {
                    hasConsumedPair = true
                    place = depth > 1 ? .block(depth: depth - 1) : .code
                }
                return false
            }
        }
    }
}
