// Who may watch for how long: tokens, heartbeats, ends.
// SPDX-License-Identifier: Apache-2.0

import Domain
import Live
import Primitives
import Synchronization
import Testing

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

    /// An audit log that remembers, and can be full.
    private final class Log: Sendable {
        private let events = Mutex<[AuditEvent]>([])
        let isFull = Mutex(false)
        var all: [AuditEvent] { events.withLock { $0 } }

        var auditing: Auditing {
            Auditing(
                record: { event throws(MarsadError) in try self.note(event) },
                note: { event throws(MarsadError) in try self.note(event) })
        }

        private func note(_ event: AuditEvent) throws(MarsadError) {
            guard !isFull.withLock({ $0 }) else { throw MarsadError(.storageUnavailable) }
            events.withLock { $0.append(event) }
        }
    }

    private let clock = ManualClock()
    private let log = Log()
    private let viewer = Caller.program("viewer")
    private let closed = Closed()
    private let seats = Seats()
    private let reservations: StreamReservations
    private let camera: CameraID
    private let source: Source

    init() throws {
        let closed = closed
        reservations = StreamReservations(
            world: clock.world, seats: seats.gate, auditing: log.auditing
        ) { closed.add($0) }
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

    /// Somebody who signed in at a second of the clock.
    private func person(_ number: Int, session: String, since second: Int64) throws -> Caller {
        let id = try #require(UserID("00000000-0000-4000-9000-" + padded(number, 12)))
        return Caller(
            actor: .user(id), sessionID: session, grants: [], visibility: .everything,
            issuedAt: WallTime(microseconds: second * 1_000_000),
            expiresAt: WallTime(microseconds: .max))
    }

    private func check(_ token: String, for camera: CameraID? = nil) async -> MarsadError.Code? {
        let camera = camera ?? self.camera
        return await code { _ = try await reservations.check(token, for: camera) }
    }

    @Test("a token is good for its camera, until it ends")
    func tokens() async throws {
        let one = try await reservations.reserve(camera, source: source, duration: nil, by: viewer)
        let two = try await reservations.reserve(camera, source: source, duration: nil, by: viewer)
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
        let short = try await reservations.reserve(
            camera, source: source, duration: .seconds(10),
            by: viewer)
        let long = try await reservations.reserve(camera, source: source, duration: nil, by: viewer)
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
        let open = try await reservations.reserve(camera, source: source, duration: nil, by: viewer)
        let limited = try await reservations.reserve(
            camera, source: source, duration: .seconds(90), by: viewer)
        clock.advance(.seconds(50))
        #expect(try await reservations.heartbeat(open.id, by: viewer).1 == .seconds(60))
        let (renewed, left) = try await reservations.heartbeat(limited.id, by: viewer)
        #expect(left == .seconds(40))
        #expect(renewed.expiresAt == WallTime(microseconds: 91_000_000))
        clock.advance(.seconds(39))
        #expect(try await reservations.heartbeat(limited.id, by: viewer).1 == .seconds(1))
        clock.advance(.seconds(1))
        let late = await code { _ = try await reservations.heartbeat(limited.id, by: viewer) }
        #expect(late == .reservationNotFound)
        #expect(await check(limited.token.reveal()) == .tokenExpired)
        #expect(await check(open.token.reveal()) == nil)
        let unknown = await code { _ = try await reservations.heartbeat("unknown", by: viewer) }
        #expect(unknown == .reservationNotFound)
    }

    @Test("a day is the longest, an absurd duration included")
    func longest() async throws {
        let reservation = try await reservations.reserve(
            camera, source: source, duration: .seconds(Int64.max), by: viewer)
        var left = Duration.seconds(60)
        var total = Duration.zero
        while left == .seconds(60) {
            clock.advance(.seconds(50))
            total += .seconds(50)
            left = try await reservations.heartbeat(reservation.id, by: viewer).1
        }
        #expect(total + left == .seconds(86_400))
    }

    @Test("a released reservation ends its sessions once; twice is harmless")
    func release() async throws {
        let reservation = try await reservations.reserve(
            camera, source: source, duration: nil, by: viewer)
        #expect(await reservations.bind("a", to: reservation.id))
        try await reservations.release(reservation.id, by: viewer)
        try await reservations.release(reservation.id, by: viewer)
        try await reservations.release("unknown", by: viewer)
        #expect(seats.count == 0)
        #expect(closed.all == ["a"])
        #expect(await check(reservation.token.reveal()) == .invalidToken)
        #expect(await !reservations.bind("b", to: reservation.id))
        let gone = await code { _ = try await reservations.heartbeat(reservation.id, by: viewer) }
        #expect(gone == .reservationNotFound)
    }

    @Test("a reservation whose seat was taken away ends its sessions, and its holder hears why")
    func preempted() async throws {
        let one = try await reservations.reserve(camera, source: source, duration: nil, by: viewer)
        let two = try await reservations.reserve(camera, source: source, duration: nil, by: viewer)
        #expect(await reservations.bind("a", to: one.id))
        await reservations.preempt([one.id, "unknown"])
        #expect(closed.all == ["a"])
        #expect(await check(one.token.reveal()) == .tokenExpired)
        await #expect(
            throws: MarsadError(.reservationNotFound, details: ["reason": "PREEMPTED"])
        ) { try await reservations.heartbeat(one.id, by: viewer) }
        #expect(try await reservations.heartbeat(two.id, by: viewer).1 == .seconds(60))
        #expect(seats.touches.withLock { $0 } == [one.id, two.id])
        clock.advance(.seconds(600))
        await reservations.expire()
        await #expect(throws: MarsadError(.reservationNotFound)) {
            try await reservations.heartbeat(one.id, by: viewer)
        }
    }

    @Test("a reservation is its holder's: nobody else keeps it or gives it back")
    func holders() async throws {
        let amina = try person(1, session: "a", since: 1)
        let badr = try person(2, session: "b", since: 1)
        let reservation = try await reservations.reserve(
            camera, source: source, duration: nil, by: amina)
        #expect(try await reservations.holder(of: reservation.token.reveal()).actor == amina.actor)
        for stranger in [badr, viewer] {
            #expect(
                await code { _ = try await reservations.heartbeat(reservation.id, by: stranger) }
                    == .reservationNotFound)
            #expect(
                await code { try await reservations.release(reservation.id, by: stranger) }
                    == .reservationNotFound)
        }
        // Of another window, too: the session is not what it belongs to.
        let again = try person(1, session: "c", since: 2)
        _ = try await reservations.heartbeat(reservation.id, by: again)
        try await reservations.release(reservation.id, by: again)
        #expect(seats.count == 0)
    }

    @Test("rights that end take their holder's reservations with them, and no others")
    func revocation() async throws {
        clock.advance(.seconds(10))
        let first = try person(1, session: "a", since: 1)
        let second = try person(1, session: "b", since: 9)
        let other = try person(2, session: "c", since: 1)
        var tokens: [String] = []
        for (caller, session) in [(first, "A"), (second, "B"), (other, "C"), (viewer, "D")] {
            let made = try await reservations.reserve(
                camera, source: source, duration: nil, by: caller)
            #expect(await reservations.bind(session, to: made.id))
            tokens.append(made.token.reveal())
        }
        await reservations.revoke(
            Revocation(.session("b"), notBefore: WallTime(microseconds: 10_000_000)))
        #expect(closed.all == ["B"])
        let user = try #require(first.actor.userID)
        await reservations.revoke(
            Revocation(.user(user), notBefore: WallTime(microseconds: 999_999)))
        #expect(closed.all == ["B"])
        await reservations.revoke(
            Revocation(.user(user), notBefore: WallTime(microseconds: 10_000_000)))
        #expect(closed.all == ["B", "A"])
        #expect(seats.count == 2)
        #expect(await check(tokens[0]) == .tokenExpired)
        #expect(await check(tokens[2]) == nil)
        #expect(await check(tokens[3]) == nil)
    }

    @Test("what is held can be listed and ended one by one")
    func held() async throws {
        let made = try await reservations.reserve(
            camera, source: source, duration: nil, by: viewer)
        let other = try await reservations.reserve(
            camera, source: source, duration: nil, by: viewer)
        #expect(await reservations.bind("A", to: made.id))
        #expect(await Set(reservations.held.map(\.id)) == [made.id, other.id])
        await reservations.revoke([made.id, "unknown"])
        #expect(await reservations.held.map(\.id) == [other.id])
        #expect(closed.all == ["A"])
        #expect(await check(made.token.reveal()) == .tokenExpired)
    }

    @Test("the audit log is told of each beginning and each end, with why")
    func audited() async throws {
        let amina = try person(1, session: "a", since: 1)
        var ids: [String] = []
        for _ in 0..<4 {
            ids.append(
                try await reservations.reserve(
                    camera, source: source, duration: .seconds(10), by: amina
                ).id)
        }
        try await reservations.release(ids[0], by: amina)
        try await reservations.release(ids[0], by: amina)
        await reservations.preempt([ids[1]])
        clock.advance(.seconds(10))
        await reservations.expire()
        #expect(log.all.count == 8)
        #expect(log.all.prefix(4).allSatisfy { $0.kind == .viewStarted })
        let ends = log.all.dropFirst(4)
        #expect(ends.allSatisfy { $0.kind == .viewStopped && $0.actor == amina.actor })
        #expect(
            ends.map { $0.details["reason"] } == ["RELEASED", "PREEMPTED", "EXPIRED", "EXPIRED"])
        #expect(ends.allSatisfy { $0.details["camera_id"] == camera.rawValue })
    }

    @Test("what cannot be told to the audit log does not begin, and what began still ends")
    func unaudited() async throws {
        let one = try await reservations.reserve(
            camera, source: source, duration: nil, by: viewer)
        log.isFull.withLock { $0 = true }
        let refused = await code {
            _ = try await reservations.reserve(camera, source: source, duration: nil, by: viewer)
        }
        #expect(refused == .storageUnavailable)
        #expect(seats.count == 1)
        try await reservations.release(one.id, by: viewer)
        #expect(seats.count == 0)
    }
}
