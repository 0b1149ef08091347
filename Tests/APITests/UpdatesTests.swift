// Who is told what, in which order, and what waits for a client that does not read.
// SPDX-License-Identifier: Apache-2.0

import API
import Domain
import Foundation
import NIOCore
import NIOEmbedded
import Observability
import Primitives
import Synchronization
import Testing

/// A socket that keeps what it was sent, and is as writable as the test says.
private final class SocketDouble: TextSocket {
    var isWritable = true
    private(set) var messages: [[String: Any]] = []
    private(set) var closure: SocketClosure?
    private(set) var wakes: [Duration] = []

    func send(_ frames: ByteBuffer) {
        var frame = frames
        guard frame.readInteger(as: UInt8.self) == 0x81,
            let short = frame.readInteger(as: UInt8.self)
        else { return }
        if short == 126 { frame.moveReaderIndex(forwardBy: 2) }
        let object = try? JSONSerialization.jsonObject(with: Data(frame.readableBytesView))
        if let message = object as? [String: Any] { messages.append(message) }
    }

    func close(_ code: SocketClosure) { closure = closure ?? code }
    func wake(in delay: Duration) { wakes.append(delay) }

    func take() -> [[String: Any]] {
        defer { messages = [] }
        return messages
    }
}

private struct Rig {
    let loop = EmbeddedEventLoop()
    let hub: UpdatesHub
    let now = WallTime(microseconds: 1_800_000_000_000_000)
    /// Somebody whose rights ended a moment ago.
    static let shutOut = UserID("00000000-0000-4000-8000-000000000009")

    init() {
        let now = now
        let world = World(
            now: { Instant(nanoseconds: 0) }, wallTime: { now }, random: { 4 },
            secureRandomBytes: { [UInt8](repeating: 7, count: $0) })
        hub = UpdatesHub(
            world: world, registry: MetricsRegistry(), eventLoops: [loop],
            isRevoked: { $0.actor.userID == Self.shutOut })
    }

    func client(_ caller: Caller, topics: Set<UpdateTopic> = []) throws -> (
        UpdatesClient, SocketDouble
    ) {
        let socket = SocketDouble()
        let shard = try #require(hub.shard(on: loop))
        let client = UpdatesClient(caller, topics: topics, hub: hub, shard: shard)
        client.opened(socket)
        return (client, socket)
    }

    func caller(_ scopes: Set<CameraScope>, user: UserID? = nil, expires: Int64 = 3600) -> Caller {
        Caller(
            actor: user.map { .user($0) } ?? .program("test"), grants: [],
            visibility: Visibility(scopes: scopes), issuedAt: now,
            expiresAt: now + .seconds(expires))
    }

    func publish(_ update: Update) {
        hub.publish(update)
        loop.run()
    }
}

private func source(_ name: String) throws -> Source { try #require(Source(name)) }

private func camera(_ number: Int) throws -> CameraID {
    try #require(CameraID("00000000-0000-4000-8000-" + padded(number, 12)))
}

private func subscribe(_ topics: String) -> ByteBuffer {
    ByteBuffer(string: #"{"type":"subscribe","topics":[\#(topics)]}"#)
}

@Suite struct UpdatesTests {
    @Test("a snapshot comes first, then what changes, each with a higher number")
    func snapshot() throws {
        let rig = Rig()
        let metro = try source("METRO")
        rig.publish(.quota(metro, current: 4, limit: 50))
        rig.publish(.camera(try camera(1), metro, nil, status: "ONLINE"))
        let (client, socket) = try rig.client(rig.caller([.all]))
        #expect(socket.take().isEmpty)
        client.received(subscribe(#""quota","cameras""#))
        var told = socket.take()
        #expect(
            told.map { $0["type"] as? String } == [
                "SNAPSHOT", "AGENCY_LIMIT_UPDATE", "CAMERA_STATUS",
            ])
        #expect(told[0]["seq"] as? Int == 2)
        #expect(told[0]["count"] as? Int == 2)
        #expect(told[1]["limit"] as? Int == 50)
        rig.publish(.quota(metro, current: 5, limit: 50))
        told = socket.take()
        #expect(told.map { $0["seq"] as? Int } == [3])
        #expect(told[0]["current"] as? Int == 5)
    }

    @Test("what is known already is not told again, and a camera that is gone is told once")
    func unchanged() throws {
        let rig = Rig()
        let metro = try source("METRO")
        let (_, socket) = try rig.client(rig.caller([.all]), topics: [.cameras, .stats])
        _ = socket.take()
        for _ in 0..<3 {
            rig.publish(.camera(try camera(1), metro, nil, status: "ONLINE"))
            rig.publish(.stats([metro: 1]))
        }
        #expect(socket.take().count == 2)
        for _ in 0..<3 { rig.publish(.camera(try camera(1), metro, nil, status: nil)) }
        #expect(socket.take().map { $0["status"] as? String } == ["REMOVED"])
        let (_, late) = try rig.client(rig.caller([.all]), topics: [.cameras])
        #expect(late.take().map { $0["type"] as? String } == ["SNAPSHOT"])
    }

    @Test("nobody hears of what he may not see, neither as a message nor in a sum")
    func visibility() throws {
        let rig = Rig()
        let (metro, bus) = (try source("METRO"), try source("BUS"))
        let gates = try #require(FolderID("gates"))
        let (_, whole) = try rig.client(
            rig.caller([.source(metro)]), topics: Set(UpdateTopic.allCases))
        let (_, part) = try rig.client(
            rig.caller([.folder(metro, gates)]), topics: Set(UpdateTopic.allCases))
        _ = (whole.take(), part.take())
        rig.publish(.quota(bus, current: 1, limit: 2))
        rig.publish(.camera(try camera(1), bus, nil, status: "ONLINE"))
        rig.publish(
            .alert(.init(type: "STORAGE", english: "", arabic: "", severity: "HIGH", source: bus)))
        #expect(whole.take().isEmpty)
        rig.publish(.camera(try camera(2), metro, nil, status: "ONLINE"))
        rig.publish(.camera(try camera(3), metro, gates, status: "ONLINE"))
        #expect(whole.take().count == 2)
        #expect(part.take().count == 1)
        rig.publish(.stats([metro: 2, bus: 5]))
        let told = try #require(whole.take().first)
        #expect(told["active_streams"] as? Int == 2)
        #expect(told["per_source_count"] as? [String: Int] == ["METRO": 2])
    }

    @Test("a client that does not read costs one message a subject, and then gets the newest")
    func conflation() throws {
        let rig = Rig()
        let metro = try source("METRO")
        let (client, socket) = try rig.client(rig.caller([.all]), topics: [.quota, .cameras])
        _ = socket.take()
        socket.isWritable = false
        for count in 1...10_000 {
            rig.publish(.quota(metro, current: count, limit: nil))
            rig.publish(.camera(try camera(count % 3), metro, nil, status: "S\(count)"))
        }
        #expect(socket.take().isEmpty)
        socket.isWritable = true
        client.becameWritable()
        let told = socket.take()
        #expect(told.count == 4)
        #expect(told.compactMap { $0["current"] as? Int } == [10_000])
        let numbers = told.compactMap { $0["seq"] as? Int }
        #expect(numbers == numbers.sorted())
        rig.publish(.quota(metro, current: 1, limit: nil))
        #expect(socket.take().count == 1)
    }

    @Test("of the alerts that nobody read the newest 32 remain")
    func alerts() throws {
        let rig = Rig()
        let (client, socket) = try rig.client(rig.caller([.all]), topics: [.alerts])
        _ = socket.take()
        socket.isWritable = false
        for number in 1...100 {
            rig.publish(
                .alert(.init(type: "T\(number)", english: "", arabic: "", severity: "LOW")))
        }
        socket.isWritable = true
        client.becameWritable()
        let told = socket.take()
        #expect(told.count == 32)
        #expect(told.last?["alert_type"] as? String == "T100")
    }

    @Test("three messages that say nothing close the socket")
    func mistakes() throws {
        let rig = Rig()
        let (client, socket) = try rig.client(rig.caller([.all]))
        for text in ["{}", #"{"type":"subscribe","topics":["cameras","gossip"]}"#] {
            client.received(ByteBuffer(string: text))
        }
        #expect(socket.closure == nil)
        #expect(socket.messages.count == 2)
        #expect(socket.messages.allSatisfy { $0["type"] as? String == "ERROR" })
        client.received(ByteBuffer(string: "nonsense"))
        #expect(socket.closure == .policy)
    }

    @Test("a socket ends with its token, and with its user's rights")
    func endings() throws {
        let rig = Rig()
        let user = try #require(UserID("00000000-0000-4000-8000-000000000001"))
        let other = try #require(UserID("00000000-0000-4000-8000-000000000002"))
        let (_, expired) = try rig.client(rig.caller([.all], expires: 0))
        #expect(expired.closure == .unauthorized)
        let (_, program) = try rig.client(.program("local"))
        #expect(program.closure == nil)
        let (_, ending) = try rig.client(rig.caller([.all], user: user, expires: 90))
        #expect(ending.wakes == [.seconds(90)])
        let (_, staying) = try rig.client(rig.caller([.all], user: other))
        rig.hub.revoke(Revocation(.user(user), notBefore: rig.now))
        rig.loop.run()
        #expect(ending.closure == .unauthorized)
        #expect(staying.closure == nil)
        #expect(program.closure == nil)
    }

    @Test("a socket whose user's rights have changed is to come back, and no other")
    func changedRights() throws {
        let rig = Rig()
        let user = try #require(UserID("00000000-0000-4000-8000-000000000001"))
        let other = try #require(UserID("00000000-0000-4000-8000-000000000002"))
        let (_, changed) = try rig.client(rig.caller([.all], user: user))
        let (_, staying) = try rig.client(rig.caller([.all], user: other))
        let (_, program) = try rig.client(.program("local"))
        rig.hub.reconnect { $0.actor.userID == user }
        rig.loop.run()
        #expect(changed.closure == .restart)
        #expect(staying.closure == nil)
        #expect(program.closure == nil)
    }

    @Test("a socket whose caller's rights ended while it was being opened is closed at once")
    func endedBefore() throws {
        let rig = Rig()
        let (_, late) = try rig.client(
            rig.caller([.all], user: Rig.shutOut), topics: Set(UpdateTopic.allCases))
        #expect(late.closure == .unauthorized)
        #expect(late.take().isEmpty)
    }
}

@Suite struct SocketTicketTests {
    @Test("a ticket opens one socket, within its time, and not for whom was revoked")
    func tickets() throws {
        let clock = Clock()
        let world = World(
            now: { clock.now }, wallTime: { WallTime(microseconds: 0) }, random: { 1 },
            secureRandomBytes: { _ in clock.bytes() })
        let tickets = SocketTickets(world: world)
        let first = try tickets.issue(to: .program("local"))
        #expect(try tickets.redeem(first).actor == .program("local"))
        #expect(throws: MarsadError(.invalidToken)) { try tickets.redeem(first) }
        let late = try tickets.issue(to: .program("local"))
        clock.advance(.seconds(30))
        #expect(throws: MarsadError(.invalidToken)) { try tickets.redeem(late) }
        #expect(throws: MarsadError(.invalidToken)) { try tickets.redeem(Redacted("")) }
    }

    @Test("the list of subprotocols names at most one credential")
    func credentials() throws {
        #expect(try SocketCredential(nil) == nil)
        #expect(try SocketCredential("marsad") == nil)
        guard case .ticket(let ticket) = try SocketCredential("marsad, ticket.abc") else {
            Issue.record("no ticket was found")
            return
        }
        #expect(ticket.reveal() == "abc")
        #expect(throws: MarsadError(.invalidToken)) {
            try SocketCredential("marsad, ticket.a, bearer.b")
        }
    }
}

extension SocketCredential? {
    fileprivate static func == (value: Self, _: _OptionalNilComparisonType) -> Bool {
        if case .none = value { true } else { false }
    }
}

/// Time and randomness that a test turns by hand.
private final class Clock: Sendable {
    private let state = Mutex((now: Int64(0), made: UInt8(0)))

    var now: Instant { Instant(nanoseconds: state.withLock { $0.now }) }

    func advance(_ time: Duration) {
        state.withLock { $0.now += time.saturatingNanoseconds }
    }

    func bytes() -> [UInt8] {
        state.withLock {
            $0.made += 1
            return [UInt8](repeating: $0.made, count: 24)
        }
    }
}
