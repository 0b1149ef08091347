// Monotonic time, injected everywhere: nothing below `marsad` reads a clock itself.
// SPDX-License-Identifier: Apache-2.0

/// A moment of the monotonic clock, in nanoseconds from an origin of its own (never a date).
package struct Instant: Hashable, Comparable, Sendable {
    /// Nanoseconds since the clock's origin.
    package var nanoseconds: Int64

    package init(nanoseconds: Int64) { self.nanoseconds = nanoseconds }

    package static func < (a: Instant, b: Instant) -> Bool { a.nanoseconds < b.nanoseconds }

    /// Saturates instead of trapping, so that an absurd configured duration cannot end the process.
    package static func + (instant: Instant, duration: Duration) -> Instant {
        let (sum, overflow) = instant.nanoseconds
            .addingReportingOverflow(duration.saturatingNanoseconds)
        return Instant(nanoseconds: overflow ? (duration < .zero ? .min : .max) : sum)
    }

    package static func - (a: Instant, b: Instant) -> Duration {
        .nanoseconds(a.nanoseconds &- b.nanoseconds)
    }
}

extension Duration {
    /// The duration in nanoseconds, clamped to what 64 bits hold (about 292 years).
    package var saturatingNanoseconds: Int64 {
        let (seconds, attoseconds) = components
        let (whole, overflow) = seconds.multipliedReportingOverflow(by: 1_000_000_000)
        if overflow { return seconds < 0 ? .min : .max }
        let (sum, carried) = whole.addingReportingOverflow(attoseconds / 1_000_000_000)
        return carried ? (seconds < 0 ? .min : .max) : sum
    }

    /// A stretch of media time, given in ticks of the 90 kHz clock; to the microsecond, rounded down.
    package static func ticks(_ count: Int64) -> Duration { .microseconds(count &* 100 / 9) }

    /// The duration in ticks of the 90 kHz clock of media time, by whole microseconds.
    package var inTicks: Int64 { saturatingNanoseconds / 1000 &* 9 / 100 }

    /// The duration in seconds, for people and metrics.
    package var inSeconds: Double { Double(saturatingNanoseconds) / 1e9 }
}
