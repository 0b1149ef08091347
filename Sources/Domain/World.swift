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
        return String(unsafeUninitializedCapacity: 36) { text in
            var end = 0
            for (index, byte) in bytes.enumerated() {
                if (4...10).contains(index), index.isMultiple(of: 2) {
                    text[end] = UInt8(ascii: "-")
                    end += 1
                }
                (text[end], text[end + 1]) = byte.hexDigits
                end += 2
            }
            return end
        }
    }
}
