// How often at once and on average: the count behind a limit by address.
// SPDX-License-Identifier: Apache-2.0

package import Primitives

/// Fills at a rate, up to a depth.
package struct TokenBucket {
    private var tokens: Double
    private var filledAt: Instant

    package init(depth: Int, at now: Instant) {
        tokens = Double(depth)
        filledAt = now
    }

    /// Takes one; `nil` when it was there, else how long until one is.
    package mutating func take(perSecond: Int, depth: Int, at now: Instant) -> Duration? {
        let gained = max(0, (now - filledAt).inSeconds) * Double(perSecond)
        tokens = min(Double(depth), tokens + gained)
        filledAt = now
        guard tokens < 1 else {
            tokens -= 1
            return nil
        }
        return .nanoseconds(Int64((1 - tokens) / Double(max(perSecond, 1)) * 1e9))
    }
}
