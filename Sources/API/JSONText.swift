// JSON written straight into an answer.
// SPDX-License-Identifier: Apache-2.0

package import NIOCore

/// For the few bodies that everybody asks for who watches: an encoder finds out the shape of a body with each
/// answer anew, which cost a tenth of a reservation. All others are `Encodable`.
package struct JSONText {
    /// None of these bodies is longer without relays.
    private var bytes = ByteBufferAllocator().buffer(capacity: 512)
    private var isFirst = true

    private init() {}

    /// One object.
    package static func object(_ write: (inout JSONText) -> Void) -> ByteBuffer {
        var text = JSONText()
        text.object(write)
        return text.bytes
    }

    package mutating func member(_ name: StaticString, _ value: String) {
        begin(name)
        quote(value)
    }

    package mutating func member(_ name: StaticString, _ value: some BinaryInteger) {
        begin(name)
        bytes.writeString(String(value))
    }

    package mutating func member(_ name: StaticString, _ write: (inout JSONText) -> Void) {
        begin(name)
        object(write)
    }

    /// An array of objects.
    package mutating func member<Element>(
        _ name: StaticString, of elements: [Element], _ write: (inout JSONText, Element) -> Void
    ) {
        begin(name)
        bytes.writeStaticString("[")
        for (index, element) in elements.enumerated() {
            if index > 0 { bytes.writeStaticString(",") }
            object { write(&$0, element) }
        }
        bytes.writeStaticString("]")
    }

    private mutating func object(_ write: (inout JSONText) -> Void) {
        bytes.writeStaticString("{")
        isFirst = true
        write(&self)
        isFirst = false
        bytes.writeStaticString("}")
    }

    private mutating func begin(_ name: StaticString) {
        bytes.writeStaticString(isFirst ? "\"" : ",\"")
        isFirst = false
        bytes.writeStaticString(name)
        bytes.writeStaticString("\":")
    }

    /// RFC 8259 §7.
    private mutating func quote(_ text: String) {
        bytes.writeStaticString("\"")
        if text.utf8.allSatisfy({ !Self.isEscaped($0) }) {
            bytes.writeString(text)
        } else {
            for byte in text.utf8 {
                if Self.isEscaped(byte) {
                    let hex = String(byte, radix: 16)
                    bytes.writeString("\\u" + String(repeating: "0", count: 4 - hex.count) + hex)
                } else {
                    bytes.writeInteger(byte)
                }
            }
        }
        bytes.writeStaticString("\"")
    }

    private static func isEscaped(_ byte: UInt8) -> Bool {
        byte < 0x20 || byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "\\")
    }
}
