// Packets of one source, out of a network that drops and swaps them, in the order they were sent.
// SPDX-License-Identifier: Apache-2.0

package import Primitives

/// Holds packets back while an earlier one may still come, and says which to ask for again.
///
/// Mutate, drain `pop(at:)`, ask for what `request(at:)` names, repeat at `deadline`. What is held is
/// bounded in packets and in time: a hole beyond either is given up.
package struct ReorderBuffer: Sendable {
    /// What comes next in the sender's order.
    package enum Output: Sendable {
        case packet(Packet)
        /// This many packets will not come.
        case lost(Int)
    }

    private struct Hole {
        var index: Int64
        var givenUpAt: Instant
        /// When it was noticed, or asked for last.
        var since: Instant
        var asked = 0
    }

    package private(set) var lost: UInt64 = 0
    /// Packets that came twice, or after they were given up.
    package private(set) var late: UInt64 = 0
    package private(set) var requested: UInt64 = 0

    private let patience: Duration
    private let asksForResends: Bool
    private var slots: [Packet?]
    /// The packet to hand out next; `nil` before the first.
    private var next: Int64?
    private var newest: Int64 = 0
    /// In rising order; all between `next` and `newest`.
    private var holes: [Hole] = []
    private var pendingLoss = 0

    /// A keyframe comes as hundreds of packets at once, and its first one may be the one that is missing.
    package static let capacity = 512
    /// Between two requests for one packet; in between the answer is on its way.
    package static let requestInterval = Duration.milliseconds(50)
    /// Swapped packets follow each other closely: asking for them at once would ask in vain.
    package static let requestDelay = Duration.milliseconds(5)
    private static let requestsPerPacket = 4
    private static let largestStep = 3000

    /// - Parameters:
    ///   - patience: how long a missing packet is waited for.
    ///   - asksForResends: whether the sender answers requests.
    package init(patience: Duration = .milliseconds(200), asksForResends: Bool = true) {
        self.patience = patience
        self.asksForResends = asksForResends
        slots = Array(repeating: nil, count: Self.capacity)
    }

    /// When `pop(at:)` or `request(at:)` may have something without another packet.
    package var deadline: Instant? {
        guard let first = holes.first else { return nil }
        return holes.reduce(first.givenUpAt) { earliest, hole in
            isExhausted(hole) ? earliest : min(earliest, nextRequest(hole))
        }
    }

    /// Takes one packet of the source.
    package mutating func insert(_ packet: Packet, at now: Instant) {
        guard next != nil else { return begin(with: packet) }
        let reference = SequenceNumber(rawValue: UInt16(truncatingIfNeeded: newest))
        let step = packet.sequenceNumber.distance(from: reference)
        guard abs(step) <= Self.largestStep else {
            // No loss is that long: the sender began anew (RFC 3550 §A.1).
            restart()
            return begin(with: packet)
        }
        let index = newest &+ Int64(step)
        guard index >= next ?? 0, slots[Self.slot(index)] == nil else {
            late &+= 1
            return
        }
        if index > newest {
            makeRoom(for: index)
            for missing in max(newest &+ 1, next ?? 0)..<index {
                holes.append(Hole(index: missing, givenUpAt: now + patience, since: now))
            }
            newest = index
        } else {
            holes.removeAll { $0.index == index }
        }
        slots[Self.slot(index)] = packet
    }

    /// The next packet in order, or the news that some will not come; `nil` while one is waited for.
    package mutating func pop(at now: Instant) -> Output? {
        giveUp(at: now)
        if pendingLoss > 0 {
            defer { pendingLoss = 0 }
            return .lost(pendingLoss)
        }
        guard let index = next, let packet = slots[Self.slot(index)] else { return nil }
        slots[Self.slot(index)] = nil
        next = index &+ 1
        return .packet(packet)
    }

    /// The packets to ask the sender for now (RFC 4585 §6.2.1); each is named a few times at most.
    package mutating func request(at now: Instant) -> [SequenceNumber] {
        guard asksForResends else { return [] }
        var numbers: [SequenceNumber] = []
        for place in holes.indices {
            guard !isExhausted(holes[place]), nextRequest(holes[place]) <= now else { continue }
            holes[place].asked += 1
            holes[place].since = now
            numbers.append(
                SequenceNumber(rawValue: UInt16(truncatingIfNeeded: holes[place].index)))
        }
        requested &+= UInt64(numbers.count)
        return numbers
    }

    /// Another source follows, with numbers of its own.
    package mutating func reset() {
        guard next != nil else { return }
        restart()
        next = nil
    }

    // MARK: Inside

    private static func slot(_ index: Int64) -> Int { Int(index & Int64(capacity - 1)) }

    private func isExhausted(_ hole: Hole) -> Bool {
        !asksForResends || hole.asked >= Self.requestsPerPacket
    }

    private func nextRequest(_ hole: Hole) -> Instant {
        hole.since + (hole.asked == 0 ? Self.requestDelay : Self.requestInterval)
    }

    private mutating func begin(with packet: Packet) {
        let index = Int64(packet.sequenceNumber.rawValue)
        next = index
        newest = index
        slots[Self.slot(index)] = packet
    }

    /// What the source still owed is lost, and what was held behind it is of no use.
    private mutating func restart() {
        pendingLoss += 1
        lost &+= UInt64(holes.count)
        holes.removeAll()
        for slot in slots.indices { slots[slot] = nil }
    }

    /// Gives up the head of what is held until `index` fits behind it.
    private mutating func makeRoom(for index: Int64) {
        let lowest = index &- Int64(Self.capacity) &+ 1
        guard let head = next, head < lowest else { return }
        // The packets between the holes go with them: one loss spoils their picture anyway.
        for passed in head..<max(head, min(lowest, newest &+ 1)) { slots[Self.slot(passed)] = nil }
        let given = Int(lowest &- head)
        pendingLoss += given
        lost &+= UInt64(given)
        holes.removeAll { $0.index < lowest }
        next = lowest
    }

    /// Passes over the holes at the head that were waited for in vain.
    private mutating func giveUp(at now: Instant) {
        while let index = next, let hole = holes.first, hole.index == index,
            hole.givenUpAt <= now
        {
            holes.removeFirst()
            pendingLoss += 1
            lost &+= 1
            next = index &+ 1
        }
    }
}
