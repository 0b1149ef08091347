// What the viewers of one event loop received, in numbers.
// SPDX-License-Identifier: Apache-2.0

import Primitives

/// The counts of any number of viewers.
package struct LiveTally: Sendable {
    /// Authentic media packets, resends included, and their size as UDP payload.
    package var packets = 0
    package var bytes = 0
    /// Packets that never came, however often they were asked for.
    package var lost = 0
    /// Packets that came again.
    package var duplicated = 0
    /// Packets that came after a later one without having been asked for.
    package var reordered = 0
    /// Packets that were asked for and came.
    package var recovered = 0
    /// Packets that this client threw away on purpose.
    package var dropped = 0
    /// How many packets were asked for, counting each time.
    package var requested = 0
    /// Datagrams that are no authentic packet of the session.
    package var refused = 0
    /// Leaps of the sequence too far to be loss.
    package var restarts = 0
    /// Frames that came whole.
    package var frames = 0
    /// Numbers between stamps that never came.
    package var framesMissing = 0
    /// Frames with lost packets, or (of checked viewers) other bytes than were stamped.
    package var framesDamaged = 0
    /// Frames with a number that was passed before.
    package var framesRepeated = 0
    package var framesUnstamped = 0
    /// Frames of another camera than the viewer's first one.
    package var framesForeign = 0
    /// Frames whose checksum was compared.
    package var framesChecked = 0
    /// Frames whose media time does not follow the one before.
    package var timeReversals = 0
    /// The longest time between two frames of one viewer.
    package var longestPause = Duration.zero
    /// From the stamp's wall time to the last packet of the frame.
    package var latency = LatencyHistogram()

    package init() {}

    package mutating func merge(_ other: LiveTally) {
        let sums: [WritableKeyPath<LiveTally, Int>] = [
            \.packets, \.bytes, \.lost, \.duplicated, \.reordered, \.recovered, \.dropped,
            \.requested, \.refused, \.restarts, \.frames, \.framesMissing, \.framesDamaged,
            \.framesRepeated, \.framesUnstamped, \.framesForeign, \.framesChecked,
            \.timeReversals,
        ]
        for sum in sums { self[keyPath: sum] += other[keyPath: sum] }
        longestPause = max(longestPause, other.longestPause)
        latency.merge(other.latency)
    }
}

/// A tally that all viewers of an event loop add to.
package final class SharedTally {
    package var counts = LiveTally()

    package init() {}

    /// The counts so far; counting begins anew.
    package func take() -> LiveTally {
        let taken = counts
        counts = LiveTally()
        return taken
    }
}
