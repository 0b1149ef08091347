// Bytes as digits.
// SPDX-License-Identifier: Apache-2.0

extension Sequence<UInt8> {
    /// Lower-case hexadecimal. Inlinable, since a digest is read byte by byte where its type is not known.
    @inlinable package var hex: String {
        var digits: [UInt8] = []
        digits.reserveCapacity(64)
        for byte in self {
            digits.append(byte.hexDigits.high)
            digits.append(byte.hexDigits.low)
        }
        return String(decoding: digits, as: UTF8.self)
    }
}

extension UInt8 {
    /// The two lower-case digits of a byte.
    @inlinable package var hexDigits: (high: UInt8, low: UInt8) {
        ((self >> 4).hexDigit, (self & 15).hexDigit)
    }

    /// The digit of a number below 16.
    @inlinable var hexDigit: UInt8 {
        self < 10 ? UInt8(ascii: "0") + self : UInt8(ascii: "a") + (self - 10)
    }
}
