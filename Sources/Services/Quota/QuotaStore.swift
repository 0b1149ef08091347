// Where the taken seats are counted: the protocol of the two stores.
// SPDX-License-Identifier: Apache-2.0

package import Domain

/// A seat of a source. Its name is a camera's id, or a reservation's where each viewer takes one.
package struct Seat: Hashable, Sendable, Comparable {
    package var source: Source
    package var name: String

    package init(source: Source, name: String) {
        self.source = source
        self.name = name
    }

    package static func < (a: Seat, b: Seat) -> Bool {
        (a.source, a.name) < (b.source, b.name)
    }
}

/// One process's hold on a seat, as it renews it.
package struct SeatLease: Sendable, Equatable {
    package var seat: Seat
    package var priority: SeatPriority
    /// For how long nobody has used it.
    package var idle: Duration

    package init(seat: Seat, priority: SeatPriority, idle: Duration = .zero) {
        self.seat = seat
        self.priority = priority
        self.idle = idle
    }
}

/// Taken seats: those of one source, and all.
package struct SeatCounts: Sendable, Equatable {
    package var source: Int
    package var total: Int

    package init(source: Int, total: Int) {
        self.source = source
        self.total = total
    }
}

/// What a store did with a wish for a seat.
package enum SeatOutcome: Sendable, Equatable {
    case granted(SeatCounts)
    case sourceFull(SeatCounts)
    case totalFull(SeatCounts)
    /// The seat that was to make room is not there any more.
    case victimGone(SeatCounts)
}

/// What became of the seats that an owner renewed.
package struct RenewalOutcome: Sendable, Equatable {
    /// Those the store did not know any more, and knows again.
    package var restored = 0
    /// Those that were taken away by somebody more urgent; they are not the owner's any more.
    package var preempted: [Seat] = []

    package init() {}
}

/// A seat that could make room.
package struct SeatCandidate: Sendable, Equatable {
    package var seat: Seat
    package var priority: SeatPriority
    package var idle: Duration

    package init(seat: Seat, priority: SeatPriority, idle: Duration) {
        self.seat = seat
        self.priority = priority
        self.idle = idle
    }
}

/// The store could not say. What it was asked may have been done.
package struct QuotaStoreError: Error, Sendable, Equatable {
    package var reason: String

    package init(reason: String) { self.reason = reason }

    /// The store answers, and more slowly than it is asked.
    package static let busy = QuotaStoreError(reason: "too many wait for the store")
}

/// Seats with their owners and ends. An owner is one process. Each call is atomic; repeated, it changes
/// nothing more. A seat is taken while any owner's lease on it lasts, and a lease that is not renewed ends
/// by itself: no crash and no lost answer can leak one.
package protocol QuotaStore: Sendable {
    /// Takes a seat for an owner, or joins those who have it. A limit of `nil` is none.
    /// - Parameter victim: a seat that gives way where there is no room otherwise.
    func acquire(
        _ lease: SeatLease, owner: String, sourceLimit: Int?, totalLimit: Int?, victim: Seat?
    ) async throws(QuotaStoreError) -> SeatOutcome

    /// Prolongs what an owner has, whatever the limits: what is being watched is counted.
    func renew(_ leases: [SeatLease], owner: String) async throws(QuotaStoreError) -> RenewalOutcome

    func release(_ seat: Seat, owner: String) async throws(QuotaStoreError) -> SeatCounts

    /// Taken seats by source; a source without any may be left out.
    func usage() async throws(QuotaStoreError) -> [Source: Int]

    /// Taken seats of a source, or of all, that could make room.
    func candidates(of source: Source?) async throws(QuotaStoreError) -> [SeatCandidate]
}
