// The 64-bit clock of RTCP sender reports.
// SPDX-License-Identifier: Apache-2.0

/// NTP time (RFC 3550 §4): 32 bits of seconds since 1900, 32 bits of fraction.
package struct NTPTimestamp: Hashable, Sendable {
    package var rawValue: UInt64

    package init(rawValue: UInt64) { self.rawValue = rawValue }

    private static let unixOffsetSeconds: Int64 = 2_208_988_800

    /// The NTP form of a wall time (era 0 wraps in 2036, as the field does).
    package init(_ wall: WallTime) {
        let seconds = wall.microseconds / 1_000_000
        let micros = UInt64(truncatingIfNeeded: wall.microseconds % 1_000_000)
        let ntpSeconds = UInt64(truncatingIfNeeded: seconds &+ Self.unixOffsetSeconds) & 0xFFFF_FFFF
        rawValue = ntpSeconds << 32 | (micros << 32) / 1_000_000
    }

    /// The wall time, for timestamps from 1970 on; `nil` before (cameras without a clock send 1900…1970).
    package var wallTime: WallTime? {
        let seconds = Int64(rawValue >> 32) - Self.unixOffsetSeconds
        guard seconds >= 0 else { return nil }
        let micros = Int64(((rawValue & 0xFFFF_FFFF) * 1_000_000) >> 32)
        return WallTime(microseconds: seconds * 1_000_000 + micros)
    }

    /// The middle 32 bits, as receiver reports echo them (RFC 3550 §6.4.1, LSR).
    package var middle32: UInt32 { UInt32(truncatingIfNeeded: rawValue >> 16) }
}
