// Who may watch for how long: tokens, heartbeats, ends.
// SPDX-License-Identifier: Apache-2.0

import Domain
import Live
import Primitives
import Synchronization
import Testing

/// A clock that the test moves, and random numbers that only count.
final class ManualClock: Sendable {
    private let nanoseconds = Mutex<Int64>(1_000_000_000)
    private let counter = Mutex<UInt64>(0)

    var now: Instant { Instant(nanoseconds: nanoseconds.withLock { $0 }) }

    func advance(_ duration: Duration) {
        nanoseconds.withLock { $0 += duration.saturatingNanoseconds }
    }

    private func next() -> UInt64 {
        counter.withLock { seed in
            seed += 1
            var random = SeededRandom(seed: seed)
            return random.next()
        }
    }

    var world: World {
        World(
            now: { self.now },
            wallTime: { WallTime(microseconds: self.now.nanoseconds / 1000) },
            random: { self.next() },
            secureRandomBytes: { count in
                (0..<count).map { _ in UInt8(truncatingIfNeeded: self.next()) }
            })
    }
}

@Suite struct ReservationTests {
    private final class Closed: Sendable {
        private let sessions = Mutex<[String]>([])
        var all: [String] { sessions.withLock { $0 } }
        func add(_ session: String) { sessions.withLock { $0.append(session) } }
    }

    /// A quota that grants everything and remembers who has a seat.
    private final class Seats: Sendable {
        private let taken = Mutex<Set<String>>([])
        let touches = Mutex<[String]>([])
        var count: Int { taken.withLock { $0.count } }

        var gate: SeatGate {
            SeatGate(
                take: { request in
                    let count = self.taken.withLock { taken in
                        taken.insert(request.reservation)
                        return taken.count
                    }
                    return SourceUsage(source: request.source, current: count, limit: 9)
                },
                giveBack: { id in self.taken.withLock { _ = $0.remove(id) } },
                touch: { id in self.touches.withLock { $0.append(id) } })
        }
    }

    private let clock = ManualClock()
    private let closed = Closed()
    private let seats = Seats()
    private let reservations: StreamReservations
    private let camera: CameraID
    private let source: Source

    init() throws {
        let closed = closed
        reservations = StreamReservations(world: clock.world, seats: seats.gate) {
            closed.add($0)
        }
        camera = try #require(CameraID("00000000-0000-4000-8000-000000000001"))
        source = try #require(Source("METRO"))
    }

    private func code(_ work: () async throws -> Void) async -> MarsadError.Code? {
        do {
            try await work()
            return nil
        } catch {
            return (error as? MarsadError)?.code
        }
    }

    private func check(_ token: String, for camera: CameraID? = nil) async -> MarsadError.Code? {
        let camera = camera ?? self.camera
        return await code { _ = try await reservations.check(token, for: camera) }
    }

    @Test("a token is good for its camera, until it ends")
    func tokens() async throws {
        let one = try await reservations.reserve(camera, source: source, duration: nil)
        let two = try await reservations.reserve(camera, source: source, duration: nil)
        let token = one.token.reveal()
        #expect(one.id != two.id)
        #expect(token != two.token.reveal())
        #expect(try await reservations.check(token, for: camera) == one.id)
        let other = try #require(CameraID("00000000-0000-4000-8000-000000000002"))
        #expect(await check(token, for: other) == .forbidden)
        #expect(await check("unknown") == .invalidToken)
        #expect(await check("") == .invalidToken)
        #expect(seats.count == 2)
        #expect(two.usage == SourceUsage(source: source, current: 2, limit: 9))
        clock.advance(.seconds(60))
        // Between its end and the next sweep, too.
        #expect(await check(token) == .tokenExpired)
        await reservations.expire()
        #expect(await check(token) == .tokenExpired)
        #expect(seats.count == 0)
        clock.advance(.seconds(600))
        await reservations.expire()
        #expect(await check(token) == .invalidToken)
    }

    @Test("what ran out ends its sessions, and no others")
    func expiry() async throws {
        let short = try await reservations.reserve(camera, source: source, duration: .seconds(10))
        let long = try await reservations.reserve(camera, source: source, duration: nil)
        #expect(short.expiresAt == WallTime(microseconds: 11_000_000))
        for session in ["b", "a", "gone"] {
            #expect(await reservations.bind(session, to: short.id))
        }
        #expect(await reservations.bind("c", to: long.id))
        await reservations.unbind("gone", from: short.id)
        #expect(await reservations.holds("a", by: short.id))
        #expect(await !reservations.holds("a", by: long.id))
        #expect(await !reservations.holds("gone", by: short.id))
        clock.advance(.milliseconds(9999))
        await reservations.expire()
        #expect(closed.all.isEmpty)
        clock.advance(.milliseconds(1))
        await reservations.expire()
        #expect(closed.all == ["a", "b"])
        #expect(await !reservations.bind("late", to: short.id))
        #expect(await !reservations.holds("a", by: short.id))
        await reservations.expire()
        #expect(closed.all == ["a", "b"])
    }

    @Test("heartbeats prolong by a minute, never beyond what was asked for")
    func heartbeats() async throws {
        let open = try await reservations.reserve(camera, source: source, duration: nil)
        let limited = try await reservations.reserve(
            camera, source: source, duration: .seconds(90))
        clock.advance(.seconds(50))
        #expect(try await reservations.heartbeat(open.id).1 == .seconds(60))
        let (renewed, left) = try await reservations.heartbeat(limited.id)
        #expect(left == .seconds(40))
        #expect(renewed.expiresAt == WallTime(microseconds: 91_000_000))
        clock.advance(.seconds(39))
        #expect(try await reservations.heartbeat(limited.id).1 == .seconds(1))
        clock.advance(.seconds(1))
        let late = await code { _ = try await reservations.heartbeat(limited.id) }
        #expect(late == .reservationNotFound)
        #expect(await check(limited.token.reveal()) == .tokenExpired)
        #expect(await check(open.token.reveal()) == nil)
        let unknown = await code { _ = try await reservations.heartbeat("unknown") }
        #expect(unknown == .reservationNotFound)
    }

    @Test("a day is the longest, an absurd duration included")
    func longest() async throws {
        let reservation = try await reservations.reserve(
            camera, source: source, duration: .seconds(Int64.max))
        var left = Duration.seconds(60)
        var total = Duration.zero
        while left == .seconds(60) {
            clock.advance(.seconds(50))
            total += .seconds(50)
            left = try await reservations.heartbeat(reservation.id).1
        }
        #expect(total + left == .seconds(86_400))
    }

    @Test("a released reservation ends its sessions once; twice is harmless")
    func release() async throws {
        let reservation = try await reservations.reserve(camera, source: source, duration: nil)
        #expect(await reservations.bind("a", to: reservation.id))
        await reservations.release(reservation.id)
        await reservations.release(reservation.id)
        await reservations.release("unknown")
        #expect(seats.count == 0)
        #expect(closed.all == ["a"])
        #expect(await check(reservation.token.reveal()) == .invalidToken)
        #expect(await !reservations.bind("b", to: reservation.id))
        let gone = await code { _ = try await reservations.heartbeat(reservation.id) }
        #expect(gone == .reservationNotFound)
    }

    @Test("a reservation whose seat was taken away ends its sessions, and its holder hears why")
    func preempted() async throws {
        let one = try await reservations.reserve(camera, source: source, duration: nil)
        let two = try await reservations.reserve(camera, source: source, duration: nil)
        #expect(await reservations.bind("a", to: one.id))
        await reservations.preempt([one.id, "unknown"])
        #expect(closed.all == ["a"])
        #expect(await check(one.token.reveal()) == .tokenExpired)
        await #expect(
            throws: MarsadError(.reservationNotFound, details: ["reason": "PREEMPTED"])
        ) { try await reservations.heartbeat(one.id) }
        #expect(try await reservations.heartbeat(two.id).1 == .seconds(60))
        #expect(seats.touches.withLock { $0 } == [one.id, two.id])
        clock.advance(.seconds(600))
        await reservations.expire()
        await #expect(throws: MarsadError(.reservationNotFound)) {
            try await reservations.heartbeat(one.id)
        }
    }
}
