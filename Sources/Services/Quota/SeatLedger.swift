// The seats that this process has: who of its viewers share them, and what it knows of the others'.
// SPDX-License-Identifier: Apache-2.0

import Domain
import Primitives

/// A value: every change is one step, so that nothing can come between a check and what follows from it.
struct SeatLedger {
    struct Viewer {
        var priority: SeatPriority
        var usedAt: Instant
    }

    /// Seats by their viewers' reservations. No entry is empty.
    private(set) var held: [Seat: [String: Viewer]] = [:]
    private var seats: [String: Seat] = [:]
    /// By source: seats held, and those being asked for.
    private var mine: [Source: Int] = [:]
    private var allMine = 0
    /// Seats that only other processes have, when the store last said so.
    private var others: [Source: Int] = [:]
    private var allOthers = 0
    /// When the store last answered.
    private(set) var knownAt: Instant?

    func count(_ source: Source) -> Int { (mine[source] ?? 0) + (others[source] ?? 0) }
    var total: Int { allMine + allOthers }
    /// Without what other processes have.
    func mineOnly(_ source: Source) -> Int { mine[source] ?? 0 }
    var allMineOnly: Int { allMine }
    var sources: [Source] { Set(mine.keys).union(others.keys).sorted() }

    // MARK: Taking and giving back

    /// Counts a seat that is being asked for, so that no two viewers of this process get the last one.
    mutating func begin(_ seat: Seat) {
        mine[seat.source, default: 0] += 1
        allMine += 1
    }

    /// The seat was not granted.
    mutating func abandon(_ seat: Seat) { uncount(seat) }

    mutating func join(_ request: SeatRequest, _ seat: Seat, at now: Instant) {
        held[seat, default: [:]][request.reservation] = Viewer(
            priority: request.priority, usedAt: now)
        seats[request.reservation] = seat
    }

    /// Answers the seat when that was its last viewer.
    mutating func leave(_ reservation: String) -> Seat? {
        guard let seat = seats.removeValue(forKey: reservation) else { return nil }
        held[seat]?[reservation] = nil
        guard held[seat]?.isEmpty == true else { return nil }
        held[seat] = nil
        uncount(seat)
        return seat
    }

    /// Takes a seat from all its viewers; answers their reservations.
    mutating func evict(_ seat: Seat) -> [String] {
        guard let viewers = held.removeValue(forKey: seat) else { return [] }
        for reservation in viewers.keys { seats[reservation] = nil }
        uncount(seat)
        return viewers.keys.sorted()
    }

    mutating func touch(_ reservation: String, at now: Instant) {
        guard let seat = seats[reservation] else { return }
        held[seat]?[reservation]?.usedAt = now
    }

    private mutating func uncount(_ seat: Seat) {
        mine[seat.source, default: 0] -= 1
        allMine -= 1
    }

    func lease(_ seat: Seat, at now: Instant) -> SeatLease {
        let viewers = (held[seat] ?? [:]).values
        return SeatLease(
            seat: seat, priority: viewers.map(\.priority).max() ?? .normal,
            idle: viewers.map { now - $0.usedAt }.min() ?? .zero)
    }

    // MARK: What the store says

    mutating func learn(_ source: Source, _ counts: SeatCounts, at now: Instant) {
        others[source] = max(0, counts.source - (mine[source] ?? 0))
        allOthers = max(0, counts.total - allMine)
        knownAt = now
    }

    mutating func learn(_ usage: [Source: Int], at now: Instant) {
        others = [:]
        for (source, count) in usage { others[source] = max(0, count - (mine[source] ?? 0)) }
        allOthers = max(0, usage.values.reduce(0, +) - allMine)
        knownAt = now
    }
}
