// JSON written straight into an answer.
// SPDX-License-Identifier: Apache-2.0

package import NIOCore
import Primitives

/// For the few bodies that everybody asks for who watches: an encoder finds out the shape of a body with each
/// answer anew, which cost a tenth of a reservation. All others are `Encodable`.
package struct JSONText {
    private var bytes: [UInt8] = []
    private var isFirst = true

    private init() {
        // None of these bodies is longer without relays.
        bytes.reserveCapacity(640)
    }

    /// One object.
    package static func object(_ write: (inout JSONText) -> Void) -> ByteBuffer {
        var text = JSONText()
        text.object(write)
        return ByteBuffer(bytes: text.bytes)
    }

    package mutating func member(_ name: StaticString, _ value: String) {
        begin(name)
        bytes.appendJSONString(value)
    }

    package mutating func member(_ name: StaticString, _ value: Int) {
        begin(name)
        bytes.append(decimal: value)
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
        bytes.append(UInt8(ascii: "["))
        for (index, element) in elements.enumerated() {
            if index > 0 { bytes.append(UInt8(ascii: ",")) }
            object { write(&$0, element) }
        }
        bytes.append(UInt8(ascii: "]"))
    }

    private mutating func object(_ write: (inout JSONText) -> Void) {
        bytes.append(UInt8(ascii: "{"))
        isFirst = true
        write(&self)
        isFirst = false
        bytes.append(UInt8(ascii: "}"))
    }

    private mutating func begin(_ name: StaticString) {
        if !isFirst { bytes.append(UInt8(ascii: ",")) }
        isFirst = false
        bytes.append(UInt8(ascii: "\""))
        name.withUTF8Buffer { bytes.append(contentsOf: $0) }
        bytes.append(UInt8(ascii: "\""))
        bytes.append(UInt8(ascii: ":"))
    }
}
