// Which packets a viewer was sent again a moment ago.
// SPDX-License-Identifier: Apache-2.0

package import Primitives
package import RTP

/// Keeps a resend that is still on its way from being made again: some viewers name everything that is
/// missing in each of their reports, and would use their budget up for the same few packets.
package struct AnsweredNumbers: Sendable {
    private var times: [SequenceNumber: Instant] = [:]

    package init() {}

    /// The numbers that were not answered within `Limits.resendPause`; they count as answered now.
    package mutating func take(_ numbers: [SequenceNumber], at now: Instant) -> [SequenceNumber] {
        if times.count > Limits.answeredNumbers {
            times = times.filter { now - $0.value < Limits.resendPause }
        }
        return numbers.filter { number in
            if let answered = times[number], now - answered < Limits.resendPause { return false }
            times[number] = now
            return true
        }
    }
}
