// Seats in this process's memory: the store of an installation that is one process.
// SPDX-License-Identifier: Apache-2.0

package import Domain
import Primitives
import Synchronization

package final class MemoryQuotaStore: QuotaStore {
    fileprivate struct Hold {
        var priority: SeatPriority
        var expires: Instant
        var usedAt: Instant
    }

    fileprivate struct State {
        /// By source and seat, then by owner. No entry is empty.
        var seats: [Source: [String: [String: Hold]]] = [:]
        var total = 0
        /// What owners have still to hear, and until when.
        var preempted: [String: [Seat: Instant]] = [:]
        /// Before this nothing can have ended.
        var earliestEnd = Instant(nanoseconds: .max)
    }

    private let now: @Sendable () -> Instant
    private let state = Mutex(State())

    package init(world: World) { now = world.now }

    package func acquire(
        _ lease: SeatLease, owner: String, sourceLimit: Int?, totalLimit: Int?, victim: Seat?
    ) -> SeatOutcome {
        let now = now()
        return state.withLock { state in
            state.tidy(at: now)
            let seat = lease.seat
            if state.seats[seat.source]?[seat.name] == nil {
                var missing = state.missing(seat.source, sourceLimit, totalLimit)
                if missing != nil, let victim {
                    guard state.has(victim) else {
                        return .victimGone(state.counts(seat.source))
                    }
                    missing = state.missing(
                        seat.source, sourceLimit, totalLimit, without: victim.source)
                    if missing == nil { state.preempt(victim, at: now) }
                }
                if let missing { return missing }
            }
            state.preempted[owner]?[seat] = nil
            state.put(lease, owner: owner, at: now)
            return .granted(state.counts(seat.source))
        }
    }

    package func renew(_ leases: [SeatLease], owner: String) -> RenewalOutcome {
        let now = now()
        return state.withLock { state in
            state.tidy(at: now)
            var outcome = RenewalOutcome()
            for lease in leases {
                if state.preempted[owner]?.removeValue(forKey: lease.seat) != nil {
                    outcome.preempted.append(lease.seat)
                    continue
                }
                let known = state.seats[lease.seat.source]?[lease.seat.name]?[owner]
                if known == nil { outcome.restored += 1 }
                state.put(lease, owner: owner, at: now)
            }
            return outcome
        }
    }

    package func release(_ seat: Seat, owner: String) -> SeatCounts {
        let now = now()
        return state.withLock { state in
            state.tidy(at: now)
            state.preempted[owner]?[seat] = nil
            state.remove(seat, owner: owner)
            return state.counts(seat.source)
        }
    }

    package func usage() -> [Source: Int] {
        let now = now()
        return state.withLock { state in
            state.tidy(at: now)
            return state.seats.mapValues(\.count)
        }
    }

    package func candidates(of source: Source?) -> [SeatCandidate] {
        let now = now()
        return state.withLock { state in
            state.tidy(at: now)
            return state.seats.filter { source == nil || $0.key == source }
                .flatMap { source, seats in
                    seats.map { name, holds in
                        SeatCandidate(
                            seat: Seat(source: source, name: name),
                            priority: holds.values.map(\.priority).max() ?? .normal,
                            idle: holds.values.map { now - $0.usedAt }.min() ?? .zero)
                    }
                }
        }
    }
}

extension MemoryQuotaStore.State {
    func counts(_ source: Source) -> SeatCounts {
        SeatCounts(source: seats[source]?.count ?? 0, total: total)
    }

    func has(_ seat: Seat) -> Bool { seats[seat.source]?[seat.name] != nil }

    /// Why one more seat of the source cannot be taken; `nil` where it can.
    /// - Parameter other: a source of which one seat gives way.
    func missing(
        _ source: Source, _ sourceLimit: Int?, _ totalLimit: Int?, without other: Source? = nil
    ) -> SeatOutcome? {
        let counts = counts(source)
        if let sourceLimit, counts.source - (other == source ? 1 : 0) >= sourceLimit {
            return .sourceFull(counts)
        }
        if let totalLimit, counts.total - (other == nil ? 0 : 1) >= totalLimit {
            return .totalFull(counts)
        }
        return nil
    }

    mutating func put(_ lease: SeatLease, owner: String, at now: Instant) {
        let seat = lease.seat
        if seats[seat.source]?[seat.name] == nil { total += 1 }
        let hold = MemoryQuotaStore.Hold(
            priority: lease.priority, expires: now + Limits.lease,
            usedAt: now + (.zero - lease.idle))
        seats[seat.source, default: [:]][seat.name, default: [:]][owner] = hold
        earliestEnd = min(earliestEnd, hold.expires)
    }

    mutating func remove(_ seat: Seat, owner: String) {
        guard seats[seat.source]?[seat.name]?.removeValue(forKey: owner) != nil else { return }
        if seats[seat.source]?[seat.name]?.isEmpty == true { drop(seat) }
    }

    /// Takes a seat from all its owners, who hear of it when they renew it.
    mutating func preempt(_ seat: Seat, at now: Instant) {
        for owner in (seats[seat.source]?[seat.name] ?? [:]).keys {
            preempted[owner, default: [:]][seat] = now + Limits.notice
            earliestEnd = min(earliestEnd, now + Limits.notice)
        }
        drop(seat)
    }

    private mutating func drop(_ seat: Seat) {
        guard seats[seat.source]?.removeValue(forKey: seat.name) != nil else { return }
        total -= 1
        if seats[seat.source]?.isEmpty == true { seats[seat.source] = nil }
    }

    /// Forgets what has ended.
    mutating func tidy(at now: Instant) {
        guard earliestEnd <= now else { return }
        earliestEnd = Instant(nanoseconds: .max)
        for (source, names) in seats {
            for (name, holds) in names {
                for (owner, hold) in holds {
                    if hold.expires <= now {
                        remove(Seat(source: source, name: name), owner: owner)
                    } else {
                        earliestEnd = min(earliestEnd, hold.expires)
                    }
                }
            }
        }
        preempted = preempted.compactMapValues { seats in
            let left = seats.filter { $0.value > now }
            for end in left.values { earliestEnd = min(earliestEnd, end) }
            return left.isEmpty ? nil : left
        }
    }
}
