// How often in the last minute: the count behind a limit by user.
// SPDX-License-Identifier: Apache-2.0

package import Primitives

/// Counts in one-second slots over the last 60 seconds; exact to the second, of fixed size.
package struct SlidingWindow {
    static let length = 60

    private var slots = [UInt32](repeating: 0, count: Self.length)
    private var newest: Int64
    private var total = 0

    package init(at now: Instant) { newest = Self.second(now) }

    /// Takes one; `nil` when it was there, else how long until one is.
    package mutating func take(limit: Int, at now: Instant) -> Duration? {
        advance(to: Self.second(now))
        guard total >= limit else {
            slots[index(newest)] += 1
            total += 1
            return nil
        }
        let oldest =
            (0..<Self.length).first { slots[index(newest + 1 + Int64($0))] > 0 } ?? Self.length - 1
        return .seconds(oldest + 1)
    }

    private mutating func advance(to second: Int64) {
        guard second > newest else { return }
        for step in 0..<min(second - newest, Int64(Self.length)) {
            let gone = index(newest + 1 + step)
            total -= Int(slots[gone])
            slots[gone] = 0
        }
        newest = second
    }

    private func index(_ second: Int64) -> Int {
        Int(((second % Int64(Self.length)) + Int64(Self.length)) % Int64(Self.length))
    }

    private static func second(_ now: Instant) -> Int64 { now.nanoseconds / 1_000_000_000 }
}
