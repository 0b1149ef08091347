// Bytes as digits.
// SPDX-License-Identifier: Apache-2.0

extension [UInt8] {
    /// Lower-case hexadecimal. Of arrays alone: any sequence would be read byte by byte through its
    /// conformance, at ten times the cost.
    package var hex: String {
        var digits: [UInt8] = []
        digits.reserveCapacity(2 * count)
        for byte in self {
            digits.append(byte.hexDigits.high)
            digits.append(byte.hexDigits.low)
        }
        return String(decoding: digits, as: UTF8.self)
    }
}

extension UInt8 {
    /// The two lower-case digits of a byte.
    package var hexDigits: (high: UInt8, low: UInt8) {
        ((self >> 4).hexDigit, (self & 15).hexDigit)
    }

    /// The digit of a number below 16.
    private var hexDigit: UInt8 {
        self < 10 ? UInt8(ascii: "0") + self : UInt8(ascii: "a") + (self - 10)
    }
}
