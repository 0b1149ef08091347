// The one door to clocks, randomness and identifiers; production and simulation are two values of it.
// SPDX-License-Identifier: Apache-2.0

package import Primitives

/// What the program may know about the outside world without asking a socket or a file for it.
/// Passed in from `marsad`; nothing in Protocols, Domain or Services reads a clock any other way.
package struct World: Sendable {
    /// Monotonic time: deadlines, timeouts, rates.
    package var now: @Sendable () -> Instant
    /// Wall time: names and rows. Sampled rarely; advanced by the monotonic clock in between.
    package var wallTime: @Sendable () -> WallTime
    /// A random 64-bit number, for jitter, seeds and nonces that are not keys.
    package var random: @Sendable () -> UInt64
    /// Bytes from the system's cryptographic source, for keys and tokens.
    package var secureRandomBytes: @Sendable (_ count: Int) -> [UInt8]

    package init(
        now: @escaping @Sendable () -> Instant,
        wallTime: @escaping @Sendable () -> WallTime,
        random: @escaping @Sendable () -> UInt64,
        secureRandomBytes: @escaping @Sendable (_ count: Int) -> [UInt8]
    ) {
        self.now = now
        self.wallTime = wallTime
        self.random = random
        self.secureRandomBytes = secureRandomBytes
    }

    /// A new lower-case UUID (version 4, RFC 9562 §5.4).
    package func makeID() -> String {
        var bytes = secureRandomBytes(16)
        bytes[6] = bytes[6] & 0x0F | 0x40
        bytes[8] = bytes[8] & 0x3F | 0x80
        let groups = [0..<4, 4..<6, 6..<8, 8..<10, 10..<16]
        return groups.map { bytes[$0].hex }.joined(separator: "-")
    }
}

extension Sequence<UInt8> {
    /// Lower-case hexadecimal.
    package var hex: String {
        let digits: [Character] = Array("0123456789abcdef")
        var text = ""
        for byte in self {
            text.append(digits[Int(byte >> 4)])
            text.append(digits[Int(byte & 15)])
        }
        return text
    }
}
