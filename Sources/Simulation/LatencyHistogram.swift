// How long many things took, in bounded memory.
// SPDX-License-Identifier: Apache-2.0

import Primitives

/// How often each latency occurred: to the microsecond up to half a millisecond, and within four in a
/// thousand beyond.
package struct LatencyHistogram: Sendable {
    /// Places for each doubling, as a power of two.
    private static let bits = 8
    private static let steps = 1 << bits
    /// Most of a day; what takes longer counts as this.
    private static let longest: Int64 = 1 << 36

    package private(set) var count = 0
    private var counts: [Int] = []
    private var maximum = Duration.zero

    package init() {}

    /// Notes one latency; a clock that differs by less than nothing counts as none.
    package mutating func record(_ latency: Duration) {
        reserve()
        let microseconds = max(0, latency.saturatingNanoseconds / 1000)
        counts[Self.place(of: Int(min(microseconds, Self.longest - 1)))] += 1
        maximum = max(maximum, latency)
        count += 1
    }

    package mutating func merge(_ other: LatencyHistogram) {
        guard other.count > 0 else { return }
        reserve()
        for (place, number) in other.counts.enumerated() where number > 0 {
            counts[place] += number
        }
        maximum = max(maximum, other.maximum)
        count += other.count
    }

    /// The latency that this share of all stays below; `nil` without any.
    package func quantile(_ share: Double) -> Duration? {
        guard count > 0 else { return nil }
        let wanted = max(1, Int((share * Double(count)).rounded(.up)))
        var seen = 0
        for (place, number) in counts.enumerated() where number > 0 {
            seen += number
            guard seen >= wanted else { continue }
            return min(.microseconds(Self.end(of: place)), maximum)
        }
        return maximum
    }

    package var longest: Duration? { count > 0 ? maximum : nil }

    /// Most tallies have none: a histogram takes its memory with the first latency.
    private mutating func reserve() {
        if counts.isEmpty { counts = Array(repeating: 0, count: (37 - Self.bits) * Self.steps) }
    }

    /// One place a microsecond at first; then as many for each doubling.
    private static func place(of microseconds: Int) -> Int {
        guard microseconds >= 2 * steps else { return microseconds }
        let shift = Int.bitWidth - 1 - microseconds.leadingZeroBitCount - bits
        return microseconds >> shift + shift * steps
    }

    /// In microseconds; what is in the place stays below it.
    private static func end(of place: Int) -> Int {
        guard place >= 2 * steps else { return place + 1 }
        let shift = place / steps - 1
        return (place - shift * steps + 1) << shift
    }
}
