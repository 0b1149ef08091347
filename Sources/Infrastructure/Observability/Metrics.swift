// Counters, gauges and histograms that any thread may move without a lock.
// SPDX-License-Identifier: Apache-2.0
import Synchronization

/// A sum that only grows. Kept as a whole part and a fractional one: bytes stay exact beyond 2^53.
package final class Counter: Sendable {
    private let whole = Atomic<UInt64>(0)
    private let fraction = AtomicDouble()

    package init() {}

    /// Adds a whole number; one relaxed atomic addition, for event loops.
    package func increment(by amount: UInt64 = 1) {
        whole.wrappingAdd(amount, ordering: .relaxed)
    }

    /// Adds an amount such as seconds; negative and non-finite amounts are ignored.
    package func add(_ amount: Double) {
        guard amount > 0, amount.isFinite else { return }
        fraction.add(amount)
    }

    /// The sum so far.
    package var value: Double { Double(whole.load(ordering: .relaxed)) + fraction.value }

    /// The whole part, exactly.
    package var wholeValue: UInt64 { whole.load(ordering: .relaxed) }

    var text: String {
        let part = fraction.value
        let count = whole.load(ordering: .relaxed)
        return part == 0 ? String(count) : PrometheusText.number(Double(count) + part)
    }
}

/// A value that goes up and down.
package final class Gauge: Sendable {
    private let number = AtomicDouble()

    package init() {}

    /// Replaces the value.
    package func set(_ value: Double) { number.store(value) }

    /// Moves the value by an amount, which may be negative.
    package func add(_ amount: Double) { number.add(amount) }

    /// The present value.
    package var value: Double { number.value }
}

/// A distribution over fixed buckets.
package final class Histogram: Sendable {
    /// Seconds from half a millisecond to ten seconds.
    package static let latencyBuckets: [Double] = [
        0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10,
    ]

    let bounds: [Double]
    private let counts: [Counter]
    private let sum = AtomicDouble()

    /// `buckets` are the upper bounds, rising; the infinite one is added.
    package init(buckets: [Double] = Histogram.latencyBuckets) {
        precondition(
            zip(buckets, buckets.dropFirst()).allSatisfy { $0 < $1 }
                && buckets.allSatisfy(\.isFinite), "bucket bounds rise and are finite")
        bounds = buckets
        counts = (0...buckets.count).map { _ in Counter() }
    }

    /// Counts one observation; NaN is ignored, as it would poison the sum for ever.
    package func observe(_ value: Double) {
        guard value.isFinite else { return }
        let bucket = bounds.firstIndex { value <= $0 } ?? bounds.count
        counts[bucket].increment()
        sum.add(value)
    }

    /// Counts one duration in seconds.
    package func observe(_ duration: Duration) {
        let (seconds, attoseconds) = duration.components
        observe(Double(seconds) + Double(attoseconds) / 1e18)
    }

    /// Observations so far.
    package var count: UInt64 { counts.reduce(0) { $0 &+ $1.wholeValue } }

    /// The cumulative counts by bound, the infinite one last, and the sum.
    var snapshot: (cumulative: [UInt64], sum: Double) {
        var total: UInt64 = 0
        let cumulative = counts.map { counter in
            total &+= counter.wholeValue
            return total
        }
        return (cumulative, sum.value)
    }
}

/// A floating-point number in an atomic word.
private final class AtomicDouble: Sendable {
    private let bits = Atomic<UInt64>(0)

    var value: Double { Double(bitPattern: bits.load(ordering: .relaxed)) }

    func store(_ value: Double) { bits.store(value.bitPattern, ordering: .relaxed) }

    func add(_ amount: Double) {
        var current = bits.load(ordering: .relaxed)
        while true {
            let (exchanged, original) = bits.weakCompareExchange(
                expected: current, desired: (Double(bitPattern: current) + amount).bitPattern,
                ordering: .relaxed)
            if exchanged { return }
            current = original
        }
    }
}
