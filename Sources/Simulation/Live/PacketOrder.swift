// Puts a viewer's packets in order, and says which to ask for again.
// SPDX-License-Identifier: Apache-2.0

package import Primitives
package import RTP

/// Holds packets behind a hole until the missing one comes or is given up.
package struct PacketOrder {
    /// What comes out, in the order of the sequence.
    package enum Output {
        case packet(Packet)
        /// One packet less: it was given up.
        case gap
        /// The source began anew.
        case restart
    }

    /// How long a missing packet is worth waiting for.
    package static let patience = Duration.milliseconds(600)
    /// Time between two requests for the same packet; more than a round trip.
    package static let requestInterval = Duration.milliseconds(60)
    /// A leap above this is no loss (RFC 3550 §A.1).
    private static let maximumDropout = 3000

    private struct Hole {
        var requestAt: Instant
        var wasRequested = false
        let end: Instant
    }

    private var unwrapper = SequenceUnwrapper()
    /// The index that comes out next.
    private var next: Int64?
    private var highest: Int64 = 0
    private var held: [Int64: Packet] = [:]
    private var holes: [Int64: Hole] = [:]
    private var isRestarting = false

    package init() {}

    /// When `advance(to:)` or `requests(at:)` has something to do; `nil` while nothing is missing.
    package private(set) var deadline: Instant?

    /// Takes a packet; what is in order comes out of `pollOutput()`, except the packet itself when
    /// it is the one that was due: then the answer is true, and the caller has it already.
    package mutating func receive(
        _ packet: Packet, at now: Instant, counting tally: inout LiveTally
    ) -> Bool {
        let index = unwrapper.unwrap(packet.sequenceNumber)
        guard let next else {
            (self.next, highest) = (index + 1, index)
            return true
        }
        if index == next, holes.isEmpty, held.isEmpty {
            (self.next, highest) = (index + 1, index)
            return true
        }
        if abs(index - highest) > Self.maximumDropout {
            tally.restarts += 1
            restart(with: packet)
            return false
        }
        guard index >= next, held[index] == nil else {
            // Late after it was given up, or a second copy of one that was resent.
            tally.duplicated += 1
            return false
        }
        if index > highest {
            for missing in (highest + 1)..<index {
                holes[missing] = Hole(requestAt: now, end: now + Self.patience)
            }
            if index > highest + 1 { deadline = now }
            highest = index
        } else if let hole = holes.removeValue(forKey: index) {
            if hole.wasRequested { tally.recovered += 1 } else { tally.reordered += 1 }
        }
        held[index] = packet
        return false
    }

    /// The next thing that is in order; `nil` when the next one is still missing.
    package mutating func pollOutput(
        at now: Instant, counting tally: inout LiveTally
    ) -> Output? {
        if isRestarting {
            isRestarting = false
            return .restart
        }
        guard let index = next, index <= highest else { return nil }
        if let packet = held.removeValue(forKey: index) {
            next = index + 1
            return .packet(packet)
        }
        guard let hole = holes[index], hole.end <= now else { return nil }
        holes.removeValue(forKey: index)
        next = index + 1
        tally.lost += 1
        return .gap
    }

    /// The packets to ask for now, in order; to be called at `deadline`.
    package mutating func requests(at now: Instant) -> [SequenceNumber] {
        var due: [Int64] = []
        for (index, hole) in holes where hole.requestAt <= now {
            holes[index]?.requestAt = now + Self.requestInterval
            holes[index]?.wasRequested = true
            due.append(index)
        }
        due.sort()
        deadline = holes.values.map { min($0.requestAt, $0.end) }.min()
        return due.map { SequenceNumber(rawValue: UInt16(truncatingIfNeeded: $0)) }
    }

    private mutating func restart(with packet: Packet) {
        unwrapper = SequenceUnwrapper()
        let index = unwrapper.unwrap(packet.sequenceNumber)
        (next, highest) = (index, index)
        held = [index: packet]
        holes = [:]
        deadline = nil
        isRestarting = true
    }
}
