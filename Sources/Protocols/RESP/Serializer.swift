// Commands and values as bytes.
// SPDX-License-Identifier: Apache-2.0

package import NIOCore
import Primitives

extension ByteBuffer {
    /// Writes a command: an array of bulk strings, the only form that servers take.
    /// - Parameter parts: its words, one list after another.
    package mutating func writeCommand(_ parts: [String]...) {
        // In an array first: a buffer asks for its room and its owner with each of so many small writes.
        var bytes: [UInt8] = []
        bytes.reserveCapacity(1024)
        func writeHead(_ type: Unicode.Scalar, _ count: Int) {
            bytes.append(UInt8(ascii: type))
            bytes.append(decimal: count)
            bytes.append(0x0D)
            bytes.append(0x0A)
        }
        writeHead("*", parts.reduce(0) { $0 + $1.count })
        for arguments in parts {
            for argument in arguments {
                writeHead("$", argument.utf8.count)
                bytes.append(utf8: argument)
                bytes.append(0x0D)
                bytes.append(0x0A)
            }
        }
        writeBytes(bytes)
    }

    /// Writes a value as a server of RESP3 does.
    package mutating func writeValue(_ value: RESPValue) {
        switch value {
        case .simpleString(let text): writeLine("+", text)
        case .failure(let failure):
            writeLine(
                "-", failure.detail.isEmpty ? failure.code : failure.code + " " + failure.detail)
        case .integer(let number): writeHead(":", number)
        case .double(let number): writeLine(",", number.isNaN ? "nan" : "\(number)")
        case .boolean(let truth): writeLine("#", truth ? "t" : "f")
        case .null: writeLine("_", "")
        case .bigNumber(let digits): writeLine("(", digits)
        case .bulkString(let bytes):
            writeHead("$", Int64(bytes.readableBytes))
            writeImmutableBuffer(bytes)
            writeEnd()
        case .verbatimString(let form, let bytes):
            writeHead("=", Int64(form.utf8.count + 1 + bytes.readableBytes))
            writeString(form + ":")
            writeImmutableBuffer(bytes)
            writeEnd()
        case .array(let elements): writeElements("*", elements)
        case .set(let elements): writeElements("~", elements)
        case .push(let elements): writeElements(">", elements)
        case .map(let entries):
            writeHead("%", Int64(entries.count))
            for entry in entries {
                writeValue(entry.key)
                writeValue(entry.value)
            }
        }
    }

    private mutating func writeElements(_ type: StaticString, _ elements: [RESPValue]) {
        writeHead(type, Int64(elements.count))
        for element in elements { writeValue(element) }
    }

    private mutating func writeHead(_ type: StaticString, _ number: Int64) {
        writeStaticString(type)
        writeString(String(number))
        writeEnd()
    }

    /// A line of text has no way to hold the end of one.
    private mutating func writeLine(_ type: StaticString, _ text: String) {
        writeStaticString(type)
        writeBytes(text.utf8.lazy.map { $0 == 0x0D || $0 == 0x0A ? 0x20 : $0 })
        writeEnd()
    }

    private mutating func writeEnd() { writeInteger(0x0D0A as UInt16) }
}
