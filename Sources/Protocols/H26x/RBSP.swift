// Emulation prevention, and the bit reader for what lies beneath it.
// SPDX-License-Identifier: Apache-2.0

/// Converts between NAL unit bytes and the raw byte sequence payload (H.264 §7.3.1, §7.4.1).
package enum RBSP {
    /// Drops each `03` that follows two zero bytes.
    package static func unescape(_ bytes: some Sequence<UInt8>) -> [UInt8] {
        var result: [UInt8] = []
        result.reserveCapacity(bytes.underestimatedCount)
        var zeros = 0
        for byte in bytes {
            if zeros >= 2, byte == 3 {
                zeros = 0
                continue
            }
            result.append(byte)
            zeros = byte == 0 ? zeros + 1 : 0
        }
        return result
    }

    /// Puts a `03` wherever two zero bytes would meet a byte below four, so that no start code can
    /// appear inside a NAL unit.
    package static func escape(_ bytes: some Sequence<UInt8>) -> [UInt8] {
        var result: [UInt8] = []
        result.reserveCapacity(bytes.underestimatedCount + 8)
        var zeros = 0
        for byte in bytes {
            if zeros >= 2, byte <= 3 {
                result.append(3)
                zeros = 0
            }
            result.append(byte)
            zeros = byte == 0 ? zeros + 1 : 0
        }
        return result
    }
}

/// Reads bits, most significant first, and Exp-Golomb codes (H.264 §7.2, §9.1).
struct BitReader {
    private let bytes: [UInt8]
    private var position = 0

    init(_ bytes: [UInt8]) { self.bytes = bytes }

    /// The byte that holds the next bit.
    var byteOffset: Int { position >> 3 }

    mutating func bit() throws(H26xError) -> Bool {
        guard position >> 3 < bytes.count else { throw .truncated(offset: bytes.count) }
        let byte = bytes[position >> 3]
        defer { position += 1 }
        return byte >> UInt8(7 - position & 7) & 1 == 1
    }

    /// Reads up to 32 bits as an unsigned number, `u(n)`.
    mutating func bits(_ count: Int) throws(H26xError) -> UInt32 {
        var value: UInt32 = 0
        for _ in 0..<count { value = value << 1 | (try bit() ? 1 : 0) }
        return value
    }

    mutating func skip(_ count: Int) throws(H26xError) {
        guard count <= bytes.count * 8 - position else { throw .truncated(offset: bytes.count) }
        position += count
    }

    /// Reads `ue(v)`.
    mutating func unsigned() throws(H26xError) -> UInt32 {
        let start = byteOffset
        var zeros = 0
        while try !bit() {
            zeros += 1
            if zeros > 31 { throw .invalidValue(field: "Exp-Golomb code", offset: start) }
        }
        let suffix = try bits(zeros)
        return (1 << UInt32(zeros)) - 1 + suffix
    }

    /// Reads `ue(v)` and refuses a value above `maximum`, naming the field.
    mutating func unsigned(max maximum: UInt32, _ field: String) throws(H26xError) -> Int {
        let start = byteOffset
        let value = try unsigned()
        guard value <= maximum else { throw .invalidValue(field: field, offset: start) }
        return Int(value)
    }

    /// Reads `se(v)`.
    mutating func signed() throws(H26xError) -> Int {
        let code = Int(try unsigned())
        return code & 1 == 1 ? (code + 1) / 2 : -(code / 2)
    }
}

extension BitReader {
    /// Skips what a VUI says of shape and colours, alike in both codecs (H.264 §E.1.1, H.265 §E.2.1):
    /// aspect ratio, overscan, signal type, chroma location.
    mutating func skipPictureDescription() throws(H26xError) {
        if try bit() {
            let extendedSAR: UInt32 = 255
            if try bits(8) == extendedSAR { try skip(32) }
        }
        if try bit() { try skip(1) }
        if try bit() {
            try skip(4)
            if try bit() { try skip(24) }
        }
        if try bit() {
            _ = try unsigned()
            _ = try unsigned()
        }
    }
}
