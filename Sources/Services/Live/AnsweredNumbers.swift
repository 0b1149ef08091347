// Which packets a viewer was sent again a moment ago.
// SPDX-License-Identifier: Apache-2.0

package import Primitives
package import RTP

/// Keeps a resend that is still on its way from being made again: some viewers name everything that is
/// missing in each of their reports, and would use their budget up for the same few packets. A resend that
/// comes a second time and late does harm besides: aiortc throws its whole buffer away for a packet that is
/// a hundred numbers older than what it waits for.
package struct AnsweredNumbers: Sendable {
    /// To the viewer and back, as last measured; until then a long one.
    package var roundTrip = Duration.milliseconds(100)
    private var times: [SequenceNumber: Instant] = [:]

    private var pause: Duration {
        // A report that comes a round trip after an answer was written after the answer was due. To wait
        // longer costs tries: a player asks for a packet for half a second or so, and then never again.
        let arrival = roundTrip + Limits.resendJitter
        return min(max(arrival, Limits.resendPause), Limits.longestResendPause)
    }

    package init() {}

    /// The numbers whose last answer, if any, must have been lost; they count as answered now.
    package mutating func take(_ numbers: [SequenceNumber], at now: Instant) -> [SequenceNumber] {
        let pause = pause
        if times.count > Limits.answeredNumbers {
            times = times.filter { now - $0.value < pause }
        }
        return numbers.filter { number in
            if let answered = times[number], now - answered < pause { return false }
            times[number] = now
            return true
        }
    }
}
