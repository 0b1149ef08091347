// One process's part in the quota: shared seats, lost stores, urgent viewers.
// SPDX-License-Identifier: Apache-2.0

import Domain
import Logging
import Observability
import Primitives
import Quota
import Synchronization
import Testing

/// A store in memory whose answers can be lost, before or after it did what it was asked.
final class FaultyStore: QuotaStore {
    enum Fault: Sendable {
        case none
        /// The question never comes.
        case question
        /// The answer never comes.
        case answer
        /// It is asked more than it answers.
        case busy
    }

    private let inner: MemoryQuotaStore
    private let fault = Mutex(Fault.none)
    private let asked = Mutex(0)
    private let beforeRenewal = Mutex<(@Sendable () async -> Void)?>(nil)
    private static let lost = QuotaStoreError(reason: "lost")

    /// How often it was asked for a seat.
    var acquisitions: Int { asked.withLock { $0 } }

    init(world: World) { inner = MemoryQuotaStore(world: world) }

    func fail(_ fault: Fault) { self.fault.withLock { $0 = fault } }

    /// What comes between a renewal's question and the store.
    func beforeRenewal(_ act: @escaping @Sendable () async -> Void) {
        beforeRenewal.withLock { $0 = act }
    }

    private func pass<Result>(_ work: () -> Result) throws(QuotaStoreError) -> Result {
        let fault = fault.withLock { $0 }
        if fault == .question { throw Self.lost }
        if fault == .busy { throw .busy }
        let result = work()
        if fault == .answer { throw Self.lost }
        return result
    }

    func acquire(
        _ lease: SeatLease, owner: String, sourceLimit: Int?, totalLimit: Int?, victim: Seat?
    ) async throws(QuotaStoreError) -> SeatOutcome {
        asked.withLock { $0 += 1 }
        // Another task of the service may come in between, as it does with a real store.
        await Task.yield()
        return try pass {
            inner.acquire(
                lease, owner: owner, sourceLimit: sourceLimit, totalLimit: totalLimit,
                victim: victim)
        }
    }

    func renew(
        _ leases: [SeatLease], owner: String
    ) async throws(QuotaStoreError) -> RenewalOutcome {
        await beforeRenewal.withLock { $0 }?()
        return try pass { inner.renew(leases, owner: owner) }
    }

    func release(_ seat: Seat, owner: String) async throws(QuotaStoreError) -> SeatCounts {
        try pass { inner.release(seat, owner: owner) }
    }

    func usage() async throws(QuotaStoreError) -> [Source: Int] { try pass { inner.usage() } }

    func candidates(of source: Source?) async throws(QuotaStoreError) -> [SeatCandidate] {
        try pass { inner.candidates(of: source) }
    }
}

@Suite struct ServiceTests {
    private let clock = ManualClock()
    private let store: FaultyStore
    private let registry = MetricsRegistry()
    private let metro: Source
    private let bus: Source

    init() throws {
        store = FaultyStore(world: clock.world)
        metro = try source("METRO")
        bus = try source("BUS")
    }

    private func service(
        metro limit: Int? = 2, total: Int? = nil, unit: SeatUnit = .camera
    ) -> QuotaService {
        QuotaService(
            store: store, unit: unit,
            limits: SeatLimits(
                agencies: [
                    metro: .init(limit: limit, nameEnglish: "Metro", nameArabic: "المترو")
                ], total: total), world: clock.world, registry: registry,
            logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
    }

    private func request(
        _ reservation: String, _ number: Int, _ source: Source? = nil,
        _ priority: SeatPriority = .normal
    ) throws -> SeatRequest {
        SeatRequest(
            reservation: reservation, cameraID: try camera(number), source: source ?? metro,
            priority: priority)
    }

    private func refusal(_ work: () async throws -> Void) async -> MarsadError? {
        do {
            try await work()
            return nil
        } catch {
            return error as? MarsadError
        }
    }

    @Test("a second viewer of a camera takes no seat; the last one gives it back")
    func shared() async throws {
        let quota = service()
        #expect(try await quota.take(request("a", 1)).current == 1)
        #expect(try await quota.take(request("b", 1)).current == 1)
        #expect(try await quota.take(request("c", 2)) == .init(source: metro, current: 2, limit: 2))
        let full = await refusal { _ = try await quota.take(request("d", 3)) }
        #expect(full?.code == .agencyLimitExceeded)
        #expect(
            full?.details == [
                "source": "METRO", "current": "2", "limit": "2", "retry_after": "10",
                "name_en": "Metro", "name_ar": "المترو",
            ])
        // A camera that somebody watches is open to all.
        #expect(try await quota.take(request("e", 2)).current == 2)
        await quota.giveBack("a")
        await quota.giveBack("a")
        #expect(await code { _ = try await quota.take(request("d", 3)) } == .agencyLimitExceeded)
        await quota.giveBack("b")
        #expect(try await quota.take(request("d", 3)).current == 2)
        #expect(try await store.usage() == [metro: 2])
    }

    @Test("where viewers are counted, each takes a seat")
    func viewers() async throws {
        let quota = service(unit: .viewer)
        for name in ["a", "b"] { _ = try await quota.take(request(name, 1)) }
        #expect(await code { _ = try await quota.take(request("c", 1)) } == .agencyLimitExceeded)
    }

    @Test("the total bounds all sources together")
    func total() async throws {
        let quota = service(metro: nil, total: 2)
        _ = try await quota.take(request("a", 1))
        _ = try await quota.take(request("b", 2, bus))
        let full = await refusal { _ = try await quota.take(request("c", 3)) }
        #expect(full?.code == .viewerLimitExceeded)
        #expect(full?.details["current"] == "2" && full?.details["limit"] == "2")
    }

    @Test("two hundred viewers race for the last seat: one wins, and those of its camera")
    func race() async throws {
        let quota = service(metro: 10)
        for number in 0..<9 { _ = try await quota.take(request("r\(number)", number)) }
        let won = try await withThrowingTaskGroup(of: Int?.self, returning: [Int].self) { group in
            for client in 0..<200 {
                let wish = try request("c\(client)", 100 + client % 100)
                group.addTask {
                    await code { _ = try await quota.take(wish) } == nil ? client : nil
                }
            }
            return try await group.reduce(into: [Int]()) {
                if let client = $1 { $0.append(client) }
            }
        }
        #expect((1...2).contains(won.count))
        #expect(Set(won.map { $0 % 100 }).count == 1)
        #expect(try await store.usage() == [metro: 10])
    }

    @Test("limits change while the program runs; nobody who watches has to go")
    func changed() async throws {
        let quota = service(metro: 1)
        var changes = quota.listen().makeAsyncIterator()
        _ = try await quota.take(request("a", 1))
        #expect(await changes.next() == .usage(.init(source: metro, current: 1, limit: 1)))
        await quota.setLimits(SeatLimits(agencies: [metro: .init(limit: 2)]))
        #expect(await changes.next() == .usage(.init(source: metro, current: 1, limit: 2)))
        _ = try await quota.take(request("b", 2))
        await quota.setLimits(SeatLimits(agencies: [metro: .init(limit: 0)], total: 9))
        await quota.renew()
        #expect(try await store.usage() == [metro: 2])
        let report = await quota.report()
        #expect(report.sources == [.init(source: metro, current: 2, limit: 0)])
        #expect(report.total == 2 && report.limits.total == 9)
        #expect(await code { _ = try await quota.take(request("c", 3)) } == .agencyLimitExceeded)
    }

    @Test(
        "without the store, grants are bounded by the last counts for half a minute, then refused")
    func degraded() async throws {
        let other = service(metro: 4)
        _ = try await other.take(request("o", 50))
        let quota = service(metro: 4)
        _ = try await quota.take(request("a", 1))
        store.fail(.question)
        #expect(try await quota.take(request("b", 2)).current == 3)
        #expect(try await quota.take(request("c", 3)).current == 4)
        #expect(await code { _ = try await quota.take(request("d", 4)) } == .agencyLimitExceeded)
        // No limit, nothing to exceed.
        #expect(try await quota.take(request("e", 5, bus)).current == 1)
        await quota.giveBack("a")
        _ = try await quota.take(request("d", 4))
        clock.advance(.seconds(31))
        await quota.giveBack("d")
        let late = await refusal { _ = try await quota.take(request("f", 6)) }
        #expect(late?.code == .overloaded)
        #expect(late?.details["retry_after"] == "5")
        // A camera that is watched here needs no store.
        #expect(try await quota.take(request("g", 3)).current == 3)
        store.fail(.none)
        await quota.renew()
        // The other process never renewed: its seat has ended meanwhile.
        #expect(try await store.usage() == [metro: 2, bus: 1])
        #expect(await quota.report().total == 3)
        #expect(try await quota.take(request("f", 6)).current == 3)
    }

    @Test("a store that is asked too much is not lost: nobody is let in without it")
    func busy() async throws {
        let quota = service()
        _ = try await quota.take(request("a", 1))
        store.fail(.busy)
        let refused = await refusal { _ = try await quota.take(request("b", 2)) }
        #expect(refused?.code == .overloaded)
        #expect(refused?.details == ["retry_after": "1"])
        #expect(await quota.report().total == 1)
        store.fail(.none)
        #expect(try await quota.take(request("b", 2)).current == 2)
    }

    @Test("an answer that is lost takes no seat for longer than a lease")
    func lostAnswer() async throws {
        let quota = service(metro: 1)
        store.fail(.answer)
        #expect(await code { _ = try await quota.take(request("a", 1)) } == .overloaded)
        store.fail(.none)
        #expect(try await store.usage() == [metro: 1])
        #expect(await code { _ = try await quota.take(request("b", 2)) } == .agencyLimitExceeded)
        for _ in 0..<4 {
            clock.advance(.seconds(5))
            await quota.renew()
        }
        #expect(try await quota.take(request("b", 2)).current == 1)
    }

    @Test("a store that forgot everything is told what is watched, within a renewal")
    func forgotten() async throws {
        let quota = service(metro: 2)
        _ = try await quota.take(request("a", 1))
        _ = try await quota.take(request("b", 2))
        // As long as a crash, for the store in memory: every lease ends.
        clock.advance(.seconds(25))
        #expect(try await store.usage().isEmpty)
        // Even before that, this process does not exceed the limit by itself.
        #expect(await code { _ = try await quota.take(request("c", 3)) } == .agencyLimitExceeded)
        await quota.renew()
        #expect(try await store.usage() == [metro: 2])
    }

    @Test("a seat that is given back while it is renewed stays free")
    func givenBackMeanwhile() async throws {
        let quota = service()
        _ = try await quota.take(request("a", 1))
        _ = try await quota.take(request("b", 2))
        store.beforeRenewal { await quota.giveBack("a") }
        await quota.renew()
        #expect(try await store.usage() == [metro: 1])
        #expect(await quota.report().total == 1)
        await quota.renew()
        #expect(try await store.usage() == [metro: 1])
    }

    @Test("an urgent viewer takes the seat that nobody used for longest; both are told")
    func preemption() async throws {
        let gone = Mutex<[String]>([])
        let quota = service(metro: 2)
        await quota.setPreemptionHandler { ids in gone.withLock { $0 += ids } }
        _ = try await quota.take(request("a", 1))
        _ = try await quota.take(request("a2", 1))
        clock.advance(.seconds(1))
        _ = try await quota.take(request("b", 2))
        clock.advance(.seconds(1))
        await quota.touch("a")
        await quota.renew()
        var changes = quota.listen().makeAsyncIterator()
        #expect(try await quota.take(request("x", 3, metro, .emergency)).current == 2)
        #expect(gone.withLock { $0 } == ["b"])
        #expect(
            await changes.next()
                == .preempted(
                    Preemption(
                        source: metro, seat: try camera(2).rawValue, reservations: ["b"],
                        takenBy: "x", idle: .seconds(1))))
        _ = try await quota.take(request("y", 4, metro, .emergency))
        #expect(gone.withLock { $0 } == ["b", "a", "a2"])
        // Nobody is less urgent any more.
        let full = await code { _ = try await quota.take(request("z", 5, metro, .emergency)) }
        #expect(full == .agencyLimitExceeded)
        #expect(try await store.usage() == [metro: 2])
    }

    @Test("a seat taken by another process's urgent viewer is given up at the next renewal")
    func preemptedElsewhere() async throws {
        let gone = Mutex<[String]>([])
        let quota = service(metro: 1)
        await quota.setPreemptionHandler { ids in gone.withLock { $0 += ids } }
        _ = try await quota.take(request("a", 1))
        let other = service(metro: 1)
        _ = try await other.take(request("x", 2, metro, .emergency))
        #expect(gone.withLock { $0.isEmpty })
        await quota.renew()
        #expect(gone.withLock { $0 } == ["a"])
        #expect(try await store.usage() == [metro: 1])
        #expect(await quota.report().sources.first?.current == 1)
    }

    @Test("outcomes are counted by source")
    func metrics() async throws {
        let quota = service(metro: 1)
        _ = try await quota.take(request("a", 1))
        _ = await code { _ = try await quota.take(request("b", 2)) }
        await quota.renew()
        let text = registry.render()
        for line in [
            #"cctv_streams_active{source="METRO"} 1"#, #"cctv_streams_limit{source="METRO"} 1"#,
            #"cctv_stream_limit_hits_total{source="METRO"} 1"#,
            #"cctv_stream_reservations_total{source="METRO",status="granted"} 1"#,
            #"cctv_stream_reservations_total{source="METRO",status="source_full"} 1"#,
        ] { #expect(text.contains(line + "\n"), "\(line)") }
    }
}
