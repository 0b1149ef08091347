// Seats for viewers: granted by the store, shared in this process, bounded when the store is lost.
// SPDX-License-Identifier: Apache-2.0

package import Domain
package import Logging
package import Observability
import Primitives

/// This process's part in the quota. It is one owner of seats in the store; how many of its viewers share
/// a seat is its own affair, and so are their heartbeats.
package actor QuotaService {
    private typealias Waiter = CheckedContinuation<Result<SourceUsage, MarsadError>, Never>

    private let store: any QuotaStore
    private let unit: SeatUnit
    private let owner: String
    private let world: World
    private let metrics: QuotaMetrics
    private let logger: Logger
    private let changes = SeatChanges()
    private var onPreempted: @Sendable (_ reservations: [String]) async -> Void = { _ in }
    private var limits: SeatLimits
    private var ledger = SeatLedger()
    /// Seats asked for, and who else of this process wants them.
    private var asked: [Seat: [(SeatRequest, Waiter)]] = [:]
    private var isRenewing = false
    private var isStoreLost = false

    package init(
        store: any QuotaStore, unit: SeatUnit, limits: SeatLimits, world: World,
        registry: MetricsRegistry, logger: Logger
    ) {
        self.store = store
        self.unit = unit
        self.limits = limits
        self.world = world
        self.logger = logger
        owner = world.makeID()
        metrics = QuotaMetrics(registry: registry)
    }

    /// Between two calls of `renew()`.
    package static var renewalInterval: Duration { Limits.renewal }

    /// Who ends what is watched with reservations whose seat was taken away.
    package func setPreemptionHandler(
        _ handler: @escaping @Sendable (_ reservations: [String]) async -> Void
    ) { onPreempted = handler }

    /// What reservations need of this service.
    package nonisolated var gate: SeatGate {
        SeatGate(
            take: { (request) async throws(MarsadError) in try await self.take(request) },
            giveBack: { await self.giveBack($0) }, touch: { await self.touch($0) })
    }

    /// Changes from now on.
    /// - Parameter count: how many wait for a listener that is slow; it loses the oldest.
    package nonisolated func listen(keeping count: Int = Limits.changes) -> AsyncStream<SeatChange>
    {
        changes.listen(keeping: count)
    }

    // MARK: Taking a seat

    /// Takes a seat, or a part in one that this process has.
    package func take(_ request: SeatRequest) async throws(MarsadError) -> SourceUsage {
        let name = unit == .camera ? request.cameraID.rawValue : request.reservation
        let seat = Seat(source: request.source, name: name)
        if ledger.held[seat] != nil {
            ledger.join(request, seat, at: world.now())
            metrics.count(request.source, .joined)
            return usage(request.source)
        }
        if asked[seat] != nil {
            let result = await withCheckedContinuation { asked[seat]?.append((request, $0)) }
            return try result.get()
        }
        if request.priority == .normal, let full = full(for: request.source) { throw full }
        asked[seat] = []
        ledger.begin(seat)
        let result = await ask(request, seat)
        let waiting = asked.removeValue(forKey: seat) ?? []
        switch result {
        case .success:
            for viewer in [request] + waiting.map(\.0) {
                ledger.join(viewer, seat, at: world.now())
            }
            for _ in waiting { metrics.count(request.source, .joined) }
            tell(request.source)
        case .failure: ledger.abandon(seat)
        }
        let answer = result.map { usage(request.source) }
        for (_, waiter) in waiting { waiter.resume(returning: answer) }
        return try answer.get()
    }

    /// What this process alone fills: the store need not be asked, nor can it have forgotten.
    private func full(for source: Source) -> MarsadError? {
        if let limit = limits.limit(of: source), ledger.mineOnly(source) >= limit {
            return refuse(source, .sourceFull)
        }
        if let total = limits.total, ledger.allMineOnly >= total {
            return refuse(source, .totalFull)
        }
        return nil
    }

    private func ask(_ request: SeatRequest, _ seat: Seat) async -> Result<Void, MarsadError> {
        let source = request.source
        do throws(QuotaStoreError) {
            switch try await acquire(request, seat, victim: nil) {
            case .granted:
                metrics.count(source, .granted)
                return .success(())
            case .sourceFull where request.priority > .normal:
                return try await preempt(request, seat, in: source)
            case .totalFull where request.priority > .normal:
                return try await preempt(request, seat, in: nil)
            case .sourceFull: return .failure(refuse(source, .sourceFull))
            case .totalFull, .victimGone: return .failure(refuse(source, .totalFull))
            }
        } catch .busy {
            metrics.count(source, .unavailable)
            return .failure(MarsadError(.overloaded, details: ["retry_after": "1"]))
        } catch {
            lose(error)
            return degraded(source)
        }
    }

    private func acquire(
        _ request: SeatRequest, _ seat: Seat, victim: Seat?
    ) async throws(QuotaStoreError) -> SeatOutcome {
        let outcome = try await store.acquire(
            SeatLease(seat: seat, priority: request.priority), owner: owner,
            sourceLimit: limits.limit(of: request.source), totalLimit: limits.total,
            victim: victim)
        switch outcome {
        case .granted(let counts): ledger.learn(request.source, counts, at: world.now())
        case .sourceFull(var counts), .totalFull(var counts), .victimGone(var counts):
            // The one that was refused is still counted among this process's.
            counts.source += 1
            counts.total += 1
            ledger.learn(request.source, counts, at: world.now())
        }
        recover()
        return outcome
    }

    /// Room for somebody more urgent: the seat that nobody used for longest gives way.
    /// - Parameter source: whose seats are looked at; `nil` for all.
    private func preempt(
        _ request: SeatRequest, _ seat: Seat, in source: Source?
    ) async throws(QuotaStoreError) -> Result<Void, MarsadError> {
        for _ in 0..<Limits.preemptions {
            let candidates = try await store.candidates(of: source)
            let victim = candidates.filter { $0.priority < request.priority }
                .max { ($0.idle, $1.seat) < ($1.idle, $0.seat) }
            guard let victim else { break }
            let outcome = try await acquire(request, seat, victim: victim.seat)
            guard case .granted = outcome else { continue }
            metrics.count(request.source, .granted)
            await evict(victim.seat, for: request.reservation, idle: victim.idle)
            return .success(())
        }
        return .failure(refuse(request.source, source == nil ? .totalFull : .sourceFull))
    }

    /// Ends what this process's viewers watch in a seat that is not theirs any more.
    private func evict(_ seat: Seat, for reservation: String?, idle: Duration?) async {
        let reservations = ledger.evict(seat)
        metrics.count(seat.source, .preempted)
        let preemption = Preemption(
            source: seat.source, seat: seat.name, reservations: reservations,
            takenBy: reservation, idle: idle)
        logger.notice(
            "a seat was taken from its viewers for somebody more urgent",
            metadata: [
                "event": "seat_preempted", "source": "\(seat.source)", "seat": "\(seat.name)",
                "reservations": "\(reservations.count)", "taken_by": "\(reservation ?? "")",
            ])
        changes.send(.preempted(preemption))
        await onPreempted(reservations)
    }

    // MARK: Without the store

    /// Grants by what was known last, for a while. Where nothing is limited, nothing can be exceeded.
    private func degraded(_ source: Source) -> Result<Void, MarsadError> {
        let limit = limits.limit(of: source)
        if limit != nil || limits.total != nil {
            guard let knownAt = ledger.knownAt, world.now() - knownAt <= Limits.degraded else {
                metrics.count(source, .unavailable)
                return .failure(
                    MarsadError(
                        .overloaded,
                        details: [
                            "retry_after": String(Limits.retryAfterOutage),
                            "reason": "QUOTA_UNAVAILABLE",
                        ]))
            }
            // The seat that is asked for is counted already.
            if let limit, ledger.count(source) > limit {
                return .failure(refuse(source, .sourceFull))
            }
            if let total = limits.total, ledger.total > total {
                return .failure(refuse(source, .totalFull))
            }
        }
        metrics.count(source, .degraded)
        return .success(())
    }

    private func lose(_ error: QuotaStoreError) {
        guard !isStoreLost else { return }
        isStoreLost = true
        logger.warning(
            "the store of the quota does not answer",
            metadata: ["event": "quota_store_lost", "error": "\(error.reason)"])
    }

    private func recover() {
        guard isStoreLost else { return }
        isStoreLost = false
        logger.info(
            "the store of the quota answers again", metadata: ["event": "quota_store_found"])
    }

    // MARK: Keeping and giving back

    /// Gives a reservation's part of its seat back. Twice is harmless.
    package func giveBack(_ reservation: String) async {
        guard let seat = ledger.leave(reservation) else { return }
        metrics.count(seat.source, .released)
        do throws(QuotaStoreError) {
            let counts = try await store.release(seat, owner: owner)
            ledger.learn(seat.source, counts, at: world.now())
            recover()
        } catch {
            // The lease ends by itself.
            lose(error)
        }
        tell(seat.source)
    }

    package func touch(_ reservation: String) { ledger.touch(reservation, at: world.now()) }

    /// Says to the store what this process has, and hears what all have. To be called at every
    /// `renewalInterval`, and at once when the store is found again: it may have lost everything.
    package func renew() async {
        guard !isRenewing else { return }
        isRenewing = true
        defer { isRenewing = false }
        let now = world.now()
        let leases = ledger.held.keys.sorted().map { ledger.lease($0, at: now) }
        do throws(QuotaStoreError) {
            let outcome = try await store.renew(leases, owner: owner)
            // What was given back meanwhile may have been renewed after that.
            for lease in leases where ledger.held[lease.seat] == nil && asked[lease.seat] == nil {
                _ = try await store.release(lease.seat, owner: owner)
            }
            let usage = try await store.usage()
            let before = ledger.sources.map(self.usage)
            for seat in outcome.preempted where ledger.held[seat] != nil {
                await evict(seat, for: nil, idle: nil)
            }
            ledger.learn(usage, at: world.now())
            recover()
            if outcome.restored > 0 {
                logger.notice(
                    "the store of the quota had forgotten seats",
                    metadata: ["event": "quota_restored", "seats": "\(outcome.restored)"])
            }
            for source in ledger.sources where !before.contains(self.usage(source)) { tell(source) }
        } catch {
            lose(error)
        }
        metrics.set(report())
    }

    /// Gives back all that this process has; for its orderly end.
    package func close() async {
        for seat in ledger.held.keys.sorted() {
            _ = ledger.evict(seat)
            _ = try? await store.release(seat, owner: owner)
        }
    }

    // MARK: Limits and counts

    package func setLimits(_ limits: SeatLimits) {
        guard limits != self.limits else { return }
        self.limits = limits
        for source in Set(ledger.sources).union(limits.agencies.keys).sorted() { tell(source) }
        metrics.set(report())
    }

    /// By what the store said last and this process did since.
    package func report() -> SeatReport {
        let sources = Set(ledger.sources.filter { ledger.count($0) > 0 })
            .union(limits.agencies.keys).sorted()
        return SeatReport(sources: sources.map(usage), total: ledger.total, limits: limits)
    }

    private func usage(_ source: Source) -> SourceUsage {
        SourceUsage(
            source: source, current: ledger.count(source), limit: limits.limit(of: source))
    }

    private func tell(_ source: Source) { changes.send(.usage(usage(source))) }

    private func refuse(_ source: Source, _ status: QuotaMetrics.Status) -> MarsadError {
        metrics.count(source, status)
        var details = ["retry_after": String(Limits.retryAfterFull), "source": source.rawValue]
        guard status == .sourceFull else {
            details["current"] = String(min(ledger.total, limits.total ?? .max))
            details["limit"] = limits.total.map { String($0) }
            return MarsadError(.viewerLimitExceeded, details: details)
        }
        let limit = limits.limit(of: source)
        details["current"] = String(min(ledger.count(source), limit ?? .max))
        details["limit"] = limit.map { String($0) }
        details["name_en"] = limits.nameEnglish(of: source)
        details["name_ar"] = limits.nameArabic(of: source)
        return MarsadError(.agencyLimitExceeded, details: details)
    }
}
