// One direction of a bad network, by a seed: loses, delays, reorders and doubles packets.
// SPDX-License-Identifier: Apache-2.0

package import NIOCore
package import Primitives

/// Packets in, packets out later, or twice, or not at all. Equal seeds treat equal rows alike.
package struct LossyLink: Sendable {
    /// What the network does to each packet; shares are 0…1.
    package struct Settings: Equatable, Sendable {
        package var loss = 0.0
        package var delay = Duration.zero
        /// Share of the packets that are held back for longer than the others.
        package var reordered = 0.0
        /// How much longer, at least and at most.
        package var holdBack = Duration.milliseconds(5)...Duration.milliseconds(25)
        package var duplicated = 0.0

        package init() {}
    }

    /// What was done so far.
    package struct Counts: Equatable, Sendable {
        package var passed: UInt64 = 0
        package var lost: UInt64 = 0
        package var reordered: UInt64 = 0
        package var duplicated: UInt64 = 0
        /// Those beyond `LossyLink.capacity`.
        package var overflowed: UInt64 = 0

        package static func += (sum: inout Counts, counts: Counts) {
            sum.passed &+= counts.passed
            sum.lost &+= counts.lost
            sum.reordered &+= counts.reordered
            sum.duplicated &+= counts.duplicated
            sum.overflowed &+= counts.overflowed
        }
    }

    /// Packets on their way at once.
    package static let capacity = 20_000
    /// How long after a packet its double comes.
    package static let doubleAfter = Duration.milliseconds(3)

    package private(set) var counts = Counts()
    private let settings: Settings
    private var random: SeededRandom
    /// By arrival; equal arrivals in the order of sending.
    private var onTheWay: CircularBuffer<(arrival: Instant, packet: ByteBuffer)> = []

    package init(_ settings: Settings, seed: UInt64) {
        self.settings = settings
        random = SeededRandom(seed: seed)
    }

    /// When the next packet arrives.
    package var deadline: Instant? { onTheWay.first?.arrival }

    /// Takes a packet at its sender's end.
    package mutating func send(_ packet: ByteBuffer, at now: Instant) {
        // One draw for each question, asked or not: a share changes nothing but its own effect.
        let (isLost, isLate, isDouble) = (
            chance(settings.loss), chance(settings.reordered), chance(settings.duplicated)
        )
        let holdBack = Duration.nanoseconds(
            Int64.random(
                in: settings.holdBack.lowerBound
                    .saturatingNanoseconds...settings.holdBack.upperBound.saturatingNanoseconds,
                using: &random))
        if isLost {
            counts.lost &+= 1
            return
        }
        let arrival = now + settings.delay + (isLate ? holdBack : .zero)
        if isLate { counts.reordered &+= 1 }
        insert(packet, arrival)
        counts.passed &+= 1
        if isDouble {
            counts.duplicated &+= 1
            insert(packet, arrival + Self.doubleAfter)
        }
    }

    /// The next packet that has arrived; `nil` when there is none yet.
    package mutating func receive(at now: Instant) -> ByteBuffer? {
        guard let first = onTheWay.first, first.arrival <= now else { return nil }
        return onTheWay.removeFirst().packet
    }

    private mutating func insert(_ packet: ByteBuffer, _ arrival: Instant) {
        guard onTheWay.count < Self.capacity else {
            counts.overflowed &+= 1
            return
        }
        // Most arrive last.
        var place = onTheWay.endIndex
        while place > onTheWay.startIndex {
            let before = onTheWay.index(before: place)
            if onTheWay[before].arrival <= arrival { break }
            place = before
        }
        onTheWay.insert((arrival, packet), at: place)
    }

    private mutating func chance(_ share: Double) -> Bool {
        Double.random(in: 0..<1, using: &random) < share
    }
}
