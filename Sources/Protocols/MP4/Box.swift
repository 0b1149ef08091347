// The box: the one building block of an MP4 file, read and written.
// SPDX-License-Identifier: Apache-2.0

package import NIOCore

/// A box type: four ASCII characters as one number.
package struct FourCC: RawRepresentable, Hashable, Sendable, ExpressibleByStringLiteral {
    package let rawValue: UInt32

    package init(rawValue: UInt32) { self.rawValue = rawValue }

    package init(stringLiteral value: StaticString) {
        rawValue = value.description.utf8.reduce(0) { $0 << 8 | UInt32($1) }
    }

    /// The four characters, with `?` for what is not printable ASCII.
    var text: String {
        stride(from: UInt32(24), through: 0, by: -8).reduce(into: "") { text, shift in
            let byte = UInt8(truncatingIfNeeded: rawValue >> shift)
            text.unicodeScalars.append(
                (32..<127).contains(byte) ? Unicode.Scalar(byte) : Unicode.Scalar(UInt8(ascii: "?"))
            )
        }
    }
}

/// A box header (ISO 14496-12 §4.2): a 32-bit size and a type, or size 1 and a 64-bit size after
/// it.
struct BoxHeader {
    let type: FourCC
    let headerSize: Int
    /// The whole box, header included.
    let size: UInt64

    /// Reads the header at `offset`; `nil` where the bytes end inside it.
    ///
    /// Size 0 ("to the end of the file") is refused: nothing here writes it, and a file whose tail
    /// was lost to a power cut is full of it.
    init?(in buffer: ByteBuffer, at offset: Int) throws(MP4Error) {
        guard let small = buffer.getInteger(at: offset, as: UInt32.self),
            let type = buffer.getInteger(at: offset &+ 4, as: UInt32.self)
        else { return nil }
        self.type = FourCC(rawValue: type)
        if small == 1 {
            guard let large = buffer.getInteger(at: offset &+ 8, as: UInt64.self) else {
                return nil
            }
            headerSize = 16
            size = large
        } else {
            headerSize = 8
            size = UInt64(small)
        }
        guard size >= UInt64(headerSize), size <= UInt64(Int64.max) else {
            throw .invalidValue(field: "box size", offset: offset)
        }
    }
}

/// A box that lies wholly in memory, and its place there.
package struct Box {
    package let type: FourCC
    /// The bytes after the header, as positions in the buffer it was found in.
    package let body: Range<Int>

    /// Lists the boxes in a range of the buffer; one that does not fit is an error.
    package static func list(in buffer: ByteBuffer, _ range: Range<Int>) throws(MP4Error) -> [Box] {
        var boxes: [Box] = []
        var offset = range.lowerBound
        while offset < range.upperBound {
            guard let header = try BoxHeader(in: buffer, at: offset),
                header.size <= UInt64(range.upperBound - offset)
            else { throw .truncated(offset: offset) }
            let end = offset + Int(header.size)
            boxes.append(Box(type: header.type, body: (offset + header.headerSize)..<end))
            offset = end
        }
        return boxes
    }
}

/// Reads big-endian fields of one box body in order, and never past its end.
package struct FieldReader {
    private let buffer: ByteBuffer
    private let end: Int
    private(set) var offset: Int

    package init(_ buffer: ByteBuffer, _ range: Range<Int>) {
        self.buffer = buffer
        offset = range.lowerBound
        end = range.upperBound
    }

    var remaining: Int { end - offset }

    package mutating func read<Value: FixedWidthInteger>(_: Value.Type) throws(MP4Error) -> Value {
        let size = MemoryLayout<Value>.size
        guard remaining >= size, let value = buffer.getInteger(at: offset, as: Value.self) else {
            throw .truncated(offset: offset)
        }
        offset += size
        return value
    }

    package mutating func skip(_ count: Int) throws(MP4Error) {
        guard count <= remaining else { throw .truncated(offset: offset) }
        offset += count
    }

    /// Reads the version and flags of a full box (§4.2.2).
    mutating func readVersionAndFlags() throws(MP4Error) -> (version: UInt8, flags: UInt32) {
        let word = try read(UInt32.self)
        return (UInt8(truncatingIfNeeded: word >> 24), word & 0xFF_FFFF)
    }
}

extension ByteBuffer {
    /// Writes a box whose size is known only after its body was written.
    mutating func writeBox(_ type: FourCC, _ body: (inout ByteBuffer) -> Void) {
        let start = writerIndex
        writeInteger(UInt32(0))
        writeInteger(type.rawValue)
        body(&self)
        setInteger(UInt32(truncatingIfNeeded: writerIndex - start), at: start)
    }

    /// Writes a full box: one with a version and flags.
    mutating func writeFullBox(
        _ type: FourCC, version: UInt8 = 0, flags: UInt32 = 0, _ body: (inout ByteBuffer) -> Void
    ) {
        writeBox(type) { box in
            box.writeInteger(UInt32(version) << 24 | flags)
            body(&box)
        }
    }

    mutating func writeZeros(_ count: Int) { writeRepeatingByte(0, count: count) }
}
