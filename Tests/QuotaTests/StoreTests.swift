// What every store of the quota must do: one suite for both.
// SPDX-License-Identifier: Apache-2.0

import Domain
import NIOCore
import NIOPosix
import Primitives
import Quota
import Testing
import Valkey

/// Which store a test runs on, and how time passes in it.
enum StoreKind: String, CaseIterable, Sendable {
    case memory
    case valkey

    static var installed: [StoreKind] { ValkeyServer.isInstalled ? allCases : [.memory] }
}

/// A store with nothing in it, and the means to let leases end in it.
struct StoreRig: Sendable {
    var store: any QuotaStore
    let clock: ManualClock
    /// The server's, for faults; `nil` for the store in memory.
    var client: ValkeyClient?

    /// Lets a time pass: on Valkey, whose clock is its own, all that was written becomes older.
    func advance(_ duration: Duration) async throws {
        clock.advance(duration)
        guard let client else { return }
        let milliseconds = String(duration.saturatingNanoseconds / 1_000_000)
        _ = try await client.run(
            Self.age, keys: ["marsad:{quota}:camera:all"], arguments: [milliseconds])
    }

    /// Forgets everything.
    func clear() async throws {
        clock.advance(.seconds(120))
        _ = try await client?.command(["FLUSHALL"])
    }

    /// Moves every time of the store into the past (or, negative, the future), as its clock's step does.
    private static let age = ValkeyScript(
        """
        for _, key in ipairs(redis.call('KEYS', 'marsad:{quota}:*')) do
          if redis.call('TYPE', key).ok == 'zset' then
            local members = redis.call('ZRANGE', key, 0, -1, 'WITHSCORES')
            for i = 1, #members, 2 do
              redis.call('ZADD', key, members[i + 1] - ARGV[1], members[i])
            end
          else
            local fields = redis.call('HGETALL', key)
            for i = 1, #fields, 2 do
              local ends, rank, used = string.match(fields[i + 1], '^(%d+) (%d+) (%d+)$')
              redis.call('HSET', key, fields[i],
                string.format('%.0f %d %.0f', ends - ARGV[1], rank, used - ARGV[1]))
            end
          end
        end
        return redis.status_reply('OK')
        """)
}

func withStore(_ kind: StoreKind, _ body: (StoreRig) async throws -> Void) async throws {
    let clock = ManualClock()
    switch kind {
    case .memory:
        try await body(StoreRig(store: MemoryQuotaStore(world: clock.world), clock: clock))
    case .valkey:
        try await withValkeyServer { server in
            let client = try await ValkeyClient.open(
                try ValkeyURL(parsing: server.url),
                on: MultiThreadedEventLoopGroup.singleton.next(), timeout: .seconds(10))
            let store = ValkeyQuotaStore(client: client, unit: .camera, world: clock.world)
            do {
                try await body(StoreRig(store: store, clock: clock, client: client))
            } catch {
                await client.close()
                throw error
            }
            await client.close()
        }
    }
}

extension QuotaStore {
    /// With the limits of the test.
    func take(
        _ seat: Seat, by owner: String = "a", limit: Int? = nil, total: Int? = nil,
        priority: SeatPriority = .normal, idle: Duration = .zero, instead victim: Seat? = nil
    ) async throws -> SeatOutcome {
        try await acquire(
            SeatLease(seat: seat, priority: priority, idle: idle), owner: owner,
            sourceLimit: limit, totalLimit: total, victim: victim)
    }

    func current() async throws -> [Source: Int] { try await usage() }

    func renewed(_ seats: [Seat], by owner: String = "a") async throws -> RenewalOutcome {
        try await renew(seats.map { SeatLease(seat: $0, priority: .normal) }, owner: owner)
    }

    func free(_ seat: Seat, by owner: String = "a") async throws -> SeatCounts {
        try await release(seat, owner: owner)
    }
}

@Suite struct StoreTests {
    private let metro: Source
    private let bus: Source

    init() throws {
        metro = try source("METRO")
        bus = try source("BUS")
    }

    private func seat(_ name: String) -> Seat { Seat(source: metro, name: name) }

    @Test(
        "seats are counted once, by source and in all, up to their limits",
        arguments: StoreKind.installed)
    func limits(kind: StoreKind) async throws {
        try await withStore(kind) { (rig) async throws in
            let store = rig.store
            #expect(
                try await store.take(seat("1"), limit: 2) == .granted(.init(source: 1, total: 1)))
            #expect(
                try await store.take(seat("2"), limit: 2) == .granted(.init(source: 2, total: 2)))
            // Again, and by another: the same seat.
            #expect(
                try await store.take(seat("2"), limit: 2) == .granted(.init(source: 2, total: 2)))
            #expect(
                try await store.take(seat("2"), by: "b", limit: 2)
                    == .granted(.init(source: 2, total: 2)))
            #expect(
                try await store.take(seat("3"), limit: 2) == .sourceFull(.init(source: 2, total: 2))
            )
            let other = Seat(source: bus, name: "1")
            #expect(
                try await store.take(other, limit: 2, total: 2)
                    == .totalFull(.init(source: 0, total: 2)))
            #expect(
                try await store.take(other, limit: 1, total: 3)
                    == .granted(.init(source: 1, total: 3)))
            #expect(
                try await store.take(seat("4"), limit: 0) == .sourceFull(.init(source: 2, total: 3))
            )
            #expect(try await store.current() == [metro: 2, bus: 1])
        }
    }

    @Test(
        "a seat is free when its last owner gave it back; twice is harmless",
        arguments: StoreKind.installed)
    func releases(kind: StoreKind) async throws {
        try await withStore(kind) { (rig) async throws in
            let store = rig.store
            _ = try await store.take(seat("1"), by: "a")
            _ = try await store.take(seat("1"), by: "b")
            #expect(try await store.free(seat("1"), by: "a") == .init(source: 1, total: 1))
            #expect(try await store.free(seat("1"), by: "a") == .init(source: 1, total: 1))
            #expect(try await store.free(seat("1"), by: "c") == .init(source: 1, total: 1))
            #expect(try await store.free(seat("1"), by: "b") == .init(source: 0, total: 0))
            #expect(try await store.free(seat("1"), by: "b") == .init(source: 0, total: 0))
            #expect(try await store.current().isEmpty)
        }
    }

    @Test(
        "a lease that is not renewed ends; a renewed one does not", arguments: StoreKind.installed)
    func expiry(kind: StoreKind) async throws {
        try await withStore(kind) { (rig) async throws in
            let store = rig.store
            _ = try await store.take(seat("1"), by: "a")
            _ = try await store.take(seat("1"), by: "b")
            _ = try await store.take(seat("2"), by: "a")
            try await rig.advance(.seconds(15))
            #expect(try await store.renewed([seat("1")], by: "a") == RenewalOutcome())
            try await rig.advance(.seconds(10))
            #expect(try await store.current() == [metro: 1])
            // Of the first, one owner is left.
            #expect(try await store.free(seat("1"), by: "a") == .init(source: 0, total: 0))
            let outcome = try await store.renewed([seat("1"), seat("2")], by: "b")
            #expect(outcome.restored == 2)
            #expect(try await store.current() == [metro: 2])
            try await rig.advance(.seconds(25))
            #expect(try await store.current().isEmpty)
        }
    }

    @Test("hundreds of leases are renewed by one call", arguments: StoreKind.installed)
    func many(kind: StoreKind) async throws {
        try await withStore(kind) { (rig) async throws in
            let seats = (0..<350).map { seat("s\($0)") }
            #expect(try await rig.store.renewed(seats).restored == 350)
            #expect(try await rig.store.renewed(seats).restored == 0)
            #expect(try await rig.store.current() == [metro: 350])
            #expect(try await rig.store.renewed([]) == RenewalOutcome())
        }
    }

    @Test(
        "somebody more urgent takes the room of a seat; its owners are told once",
        arguments: StoreKind.installed)
    func preemption(kind: StoreKind) async throws {
        try await withStore(kind) { (rig) async throws in
            let store = rig.store
            _ = try await store.take(seat("1"), by: "a", idle: .seconds(9))
            _ = try await store.take(seat("1"), by: "b", idle: .seconds(7))
            _ = try await store.take(seat("2"), by: "a", priority: .emergency)
            let candidates = try await store.candidates(of: metro).sorted { $0.seat < $1.seat }
            #expect(candidates.map(\.seat) == [seat("1"), seat("2")])
            #expect(candidates.map(\.priority) == [.normal, .emergency])
            #expect(candidates[0].idle >= .seconds(7) && candidates[0].idle < .seconds(9))
            #expect(try await store.candidates(of: bus).isEmpty)
            #expect(try await store.candidates(of: nil).count == 2)
            // With room, nobody has to go.
            #expect(
                try await store.take(seat("3"), by: "c", limit: 3, instead: seat("1"))
                    == .granted(.init(source: 3, total: 3)))
            // Where one seat is not enough, nobody has to go either.
            #expect(
                try await store.take(seat("4"), by: "c", limit: 2, instead: seat("1"))
                    == .sourceFull(.init(source: 3, total: 3)))
            #expect(
                try await store.take(seat("4"), by: "c", limit: 3, instead: seat("1"))
                    == .granted(.init(source: 3, total: 3)))
            #expect(
                try await store.take(seat("5"), by: "c", limit: 3, instead: seat("1"))
                    == .victimGone(.init(source: 3, total: 3)))
            #expect(
                try await store.renewed([seat("1"), seat("2")], by: "a").preempted == [seat("1")])
            #expect(try await store.renewed([seat("2")], by: "a") == RenewalOutcome())
            // Its owner comes back to it as anybody does, and hears of nothing old.
            #expect(
                try await store.take(seat("1"), by: "b", limit: 4)
                    == .granted(.init(source: 4, total: 4)))
            #expect(try await store.renewed([seat("1")], by: "b") == RenewalOutcome())
            let other = Seat(source: bus, name: "1")
            #expect(
                try await store.take(other, total: 4, instead: seat("3"))
                    == .granted(.init(source: 1, total: 4)))
            #expect(try await store.current() == [metro: 3, bus: 1])
        }
    }

    @Test("two hundred race for the last seat: one wins", arguments: StoreKind.installed)
    func race(kind: StoreKind) async throws {
        try await withStore(kind) { (rig) async throws in
            for taken in 0..<49 { _ = try await rig.store.take(seat("s\(taken)"), limit: 50) }
            let outcomes = try await withThrowingTaskGroup(of: SeatOutcome.self) { group in
                for client in 0..<200 {
                    group.addTask {
                        try await rig.store.take(
                            Seat(source: metro, name: "c\(client)"), by: "o\(client)", limit: 50)
                    }
                }
                return try await group.reduce(into: []) { $0.append($1) }
            }
            let full = SeatOutcome.sourceFull(.init(source: 50, total: 50))
            #expect(outcomes.filter { $0 == .granted(.init(source: 50, total: 50)) }.count == 1)
            #expect(outcomes.filter { $0 == full }.count == 199)
        }
    }

    @Test(
        "more seats than one call forgets are not counted once they ended",
        arguments: StoreKind.installed)
    func manyEnded(kind: StoreKind) async throws {
        try await withStore(kind) { (rig) async throws in
            #expect(try await rig.store.renewed((0..<250).map { seat("s\($0)") }).restored == 250)
            try await rig.advance(.seconds(21))
            #expect(try await rig.store.take(seat("1")) == .granted(.init(source: 1, total: 1)))
            #expect(try await rig.store.current() == [metro: 1])
        }
    }

    @Test("a server whose clock goes back keeps no seat that nobody renews")
    func clockBack() async throws {
        guard ValkeyServer.isInstalled else { return }
        try await withStore(.valkey) { (rig) async throws in
            _ = try await rig.store.take(seat("1"))
            // An hour back: what was written lies an hour ahead.
            try await rig.advance(.seconds(-3600))
            #expect(try await rig.store.take(seat("2")) == .granted(.init(source: 1, total: 1)))
            #expect(try await rig.store.renewed([seat("1")]).preempted.isEmpty)
            #expect(try await rig.store.current() == [metro: 2])
            // A clock that is only set right takes none away.
            try await rig.advance(.seconds(-3))
            #expect(try await rig.store.current() == [metro: 2])
            try await rig.advance(.seconds(24))
            #expect(try await rig.store.current().isEmpty)
        }
    }
}
