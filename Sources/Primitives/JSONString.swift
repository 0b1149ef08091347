// Texts inside a JSON text.
// SPDX-License-Identifier: Apache-2.0

extension [UInt8] {
    /// Adds a JSON string (RFC 8259 §7): quotation marks around it, and escaped what must be.
    package mutating func appendJSONString(_ text: String) {
        var text = text
        append(UInt8(ascii: "\""))
        text.withUTF8 { bytes in
            if bytes.contains(where: Self.isEscapedInJSON) {
                for byte in bytes { appendInJSON(byte) }
            } else {
                append(contentsOf: bytes)
            }
        }
        append(UInt8(ascii: "\""))
    }

    private mutating func appendInJSON(_ byte: UInt8) {
        guard Self.isEscapedInJSON(byte) else { return append(byte) }
        append(UInt8(ascii: "\\"))
        if byte < 0x20 {
            append(contentsOf: "u00".utf8)
            append(byte.hexDigits.high)
            append(byte.hexDigits.low)
        } else {
            append(byte)
        }
    }

    private static func isEscapedInJSON(_ byte: UInt8) -> Bool {
        byte < 0x20 || byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "\\")
    }
}
