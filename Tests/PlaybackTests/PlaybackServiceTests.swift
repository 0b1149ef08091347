// Playback sessions: what their links open, and when they end.
// SPDX-License-Identifier: Apache-2.0

import Domain
import NIOCore
import Observability
import Playback
import Primitives
import Synchronization
import Testing

/// A node without cameras, whose files are as full of zeros as they are long.
struct BlankNode: CameraNode {
    func assign(_ camera: Camera) async {}
    func unassign(_ id: CameraID) async {}
    func states() async -> [CameraID: StreamState] { [:] }
    func state(of id: CameraID) async -> StreamState? { nil }
    func keyframe(of id: CameraID) async -> Keyframe? { nil }
    func openSegments(of id: CameraID) async -> [Segment] { [] }
    func bytes(path: String, offset: UInt64, count: Int) async throws(MarsadError) -> [UInt8] {
        [UInt8](repeating: 0, count: count)
    }
    func openViewer(
        of id: CameraID, offer: String, quality: StreamQuality
    ) async throws(MarsadError) -> ViewerAnswer {
        throw MarsadError(.cameraUnavailable)
    }
    func patchViewer(
        _ session: String, of id: CameraID, fragment: String, ifMatch: String?
    ) async throws(MarsadError) -> ViewerPatch {
        throw MarsadError(.notFound)
    }
    func openPublisher(of id: CameraID, offer: String) async throws(MarsadError) -> ViewerAnswer {
        throw MarsadError(.cameraUnavailable)
    }
    func patchPublisher(
        _ session: String, of id: CameraID, fragment: String, ifMatch: String?
    ) async throws(MarsadError) -> ViewerPatch {
        throw MarsadError(.notFound)
    }
    func closePublisher(_ session: String, of id: CameraID) async -> Bool { false }
    func liveClock(of id: CameraID) async -> LiveClock? { nil }
    func closeViewer(_ session: String) async -> Bool { false }
    func viewers() async -> [CameraID: Int] { [:] }
}

@Suite struct PlaybackServiceTests {
    /// A recording, a clock, and how often the catalog was asked for what.
    private final class Rig: Sendable {
        private struct State {
            var second: Int64 = 0
            var random: UInt64 = 0
            var segments: [Segment] = []
            var lookUps = 0
            var wholeSegments = 0
            var events: [AuditEvent] = []
        }
        private let state = Mutex(State())

        init(_ segments: [Segment]) { state.withLock { $0.segments = segments } }

        var events: [AuditEvent] { state.withLock { $0.events } }
        var lookUps: Int { state.withLock { $0.lookUps } }
        var wholeSegments: Int { state.withLock { $0.wholeSegments } }

        func move(to second: Int64) { state.withLock { $0.second = second } }

        private func tell(_ event: AuditEvent) { state.withLock { $0.events.append(event) } }

        func service() -> PlaybackService {
            let world = World(
                now: { Instant(nanoseconds: 0) },
                wallTime: { [self] in Rows.origin + .seconds(state.withLock { $0.second }) },
                random: { 0 },
                secureRandomBytes: { [self] count in
                    let seed = state.withLock { state in
                        state.random += 1
                        return state.random
                    }
                    var random = SeededRandom(seed: seed)
                    return (0..<count).map { _ in UInt8(truncatingIfNeeded: random.next()) }
                })
            let catalog = RecordingCatalog(
                segments: { [self] _, range in
                    state.withLock { state in
                        let found = state.segments.filter { $0.range?.overlaps(range) ?? false }
                        state.wholeSegments += found.count
                        return found
                    }
                },
                spans: { [self] _, range in
                    state.withLock { $0.segments }.filter { $0.range?.overlaps(range) ?? false }
                        .map(\.span)
                },
                segment: { [self] camera, id in
                    state.withLock { state in
                        state.lookUps += 1
                        return state.segments.first { $0.id == id && $0.cameraID == camera }
                    }
                }, gaps: { _, _ in [] }, nearest: { _, _ in (nil, nil) })
            let auditing = Auditing(
                record: { event throws(MarsadError) in self.tell(event) },
                note: { event throws(MarsadError) in self.tell(event) })
            return PlaybackService(
                world: world, catalog: catalog, node: BlankNode(),
                signer: LinkSigner(key: [UInt8](repeating: 1, count: 32), keyID: "1"),
                auditing: auditing, registry: MetricsRegistry())
        }
    }

    private let viewer = Caller.program("viewer")

    /// A link of a playlist, taken apart.
    private struct Link {
        var session: String
        var name: String
        var token: String

        init(_ text: some StringProtocol) throws {
            let parts = text.split(separator: "?token=")
            token = String(try #require(parts.last))
            let path = try #require(parts.first).split(separator: "/")
            name = String(try #require(path.last))
            session = name.hasSuffix(".m3u8") ? String(name.dropLast(5)) : String(path[4])
        }
    }

    private func recording(hours: Int64) throws -> [Segment] {
        try (0..<(hours * 12)).map { index in
            try Rows.segment(
                "s\(index)", run: "r", from: index * 300, decodeTime: index * 27_000_000,
                sync: (0..<300).map { $0 % 2 == 0 })
        }
    }

    private func playlist(_ service: PlaybackService, _ range: TimeRange) async throws -> String {
        let prepared = try await service.prepare(Rows.cameraID(), range, by: viewer)
        let link = try Link(prepared.playlistPath)
        return try await service.playlist(link.session, token: link.token)
    }

    private func media(_ text: String) throws -> [Link] {
        try text.split(separator: "\n").filter { !$0.hasPrefix("#") }.map { try Link($0) }
    }

    /// `nil` for bytes that were found, if only to be no fragment.
    private func code(
        _ service: PlaybackService, _ session: String, _ name: String, _ token: String
    ) async throws -> MarsadError.Code? {
        do {
            _ = try await service.media(session, name: name, token: token)
            return nil
        } catch let error as MarsadError {
            return error.details["reason"] == "damaged fragment" ? nil : error.code
        }
    }

    @Test("a day is one playlist with every second of it, and is prepared without its fragments")
    func day() async throws {
        let rig = Rig(try recording(hours: 24))
        let service = rig.service()
        let prepared = try await service.prepare(Rows.cameraID(), Rows.range(0, 86_400), by: viewer)
        #expect(rig.wholeSegments == 0)
        let link = try Link(prepared.playlistPath)
        let text = try await service.playlist(link.session, token: link.token)
        let lines = text.split(separator: "\n")
        let seconds = lines.filter { $0.hasPrefix("#EXTINF:") }.compactMap {
            Double($0.dropFirst(8).dropLast())
        }
        #expect(seconds.reduce(0, +) == 86_400)
        #expect(seconds.count == 14_400)
        #expect(lines.count { $0.hasPrefix("#EXT-X-MAP") } == 1)
        #expect(!lines.contains("#EXT-X-DISCONTINUITY"))
        // Each file is read once, but for the one that lies across each query's beginning.
        #expect(rig.wholeSegments <= 288 + 24)
        #expect(text.utf8.count < 5_000_000)
    }

    @Test("an hour has pieces of two seconds")
    func hour() async throws {
        let rig = Rig(try recording(hours: 2))
        let text = try await playlist(rig.service(), Rows.range(100, 3700))
        #expect(try media(text).count == 1800)
    }

    @Test("each link opens its own piece, and the index is asked once a file")
    func links() async throws {
        let rig = Rig(try recording(hours: 1))
        let service = rig.service()
        let text = try await playlist(service, Rows.range(0, 900))
        for link in try media(text) {
            #expect(try await code(service, link.session, link.name, link.token) == nil)
        }
        #expect(rig.lookUps == 3)
        let map = try #require(text.split(separator: "\n").first { $0.hasPrefix("#EXT-X-MAP") })
        let head = try Link(map.dropFirst("#EXT-X-MAP:URI=\"".count).dropLast())
        let bytes = try await service.media(head.session, name: head.name, token: head.token)
        #expect(bytes.readableBytes == 700)
    }

    @Test(
        "a link of another file, session or place on the timeline is refused, a changed piece too")
    func refused() async throws {
        let rig = Rig(try recording(hours: 1))
        let service = rig.service()
        let range = try Rows.range(600, 1200)
        let links = try media(await playlist(service, range))
        let others = try media(await playlist(service, range))
        let link = try #require(links.first)
        let other = try #require(others.first)
        let last = try #require(links.last)
        func refusal(_ session: String, _ name: String, _ token: String) async throws
            -> MarsadError.Code?
        { try await code(service, session, name, token) }
        #expect(link.name == other.name && link.session != other.session)
        #expect(try await refusal(link.session, link.name, other.token) == .invalidSignature)
        #expect(try await refusal(other.session, link.name, link.token) == .invalidSignature)
        #expect(try await refusal(link.session, last.name, link.token) == .invalidSignature)
        #expect(try await refusal("unknown", link.name, link.token) == .notFound)
        let stem = link.name.prefix { $0 != "-" }.split(separator: ".").dropLast()
        let wanted = "s2." + stem.dropFirst().joined(separator: ".")
        #expect(link.name.hasPrefix(wanted))
        for name in ["s0.0.0-2.m4s", "s2.1.0-2.m4s", "init.mp4", "0.m4s", "", "...", "s2..0-2.m4s"]
        {
            #expect(try await refusal(link.session, name, link.token) == .invalidSignature)
        }
        // Inside the file the token is good for, only what the playlist cut is served.
        for fragments in ["1-3", "0-3", "2-2", "0-300", "300-302", "4000000000000-4000000000001"] {
            let name = wanted + "." + fragments + ".m4s"
            #expect(try await refusal(link.session, name, link.token) != nil, "\(fragments)")
        }
    }

    @Test("a link is expired after its time, also once its session has been forgotten")
    func expiry() async throws {
        let rig = Rig(try recording(hours: 1))
        let service = rig.service()
        let prepared = try await service.prepare(Rows.cameraID(), Rows.range(0, 60), by: viewer)
        let path = try Link(prepared.playlistPath)
        let text = try await service.playlist(path.session, token: path.token)
        let link = try #require(try media(text).first)
        rig.move(to: 299)
        _ = try await service.playlist(path.session, token: path.token)
        rig.move(to: 300)
        await #expect(throws: MarsadError(.linkExpired)) {
            try await service.playlist(path.session, token: path.token)
        }
        #expect(try await code(service, link.session, link.name, link.token) == nil)
        rig.move(to: 2200)
        // Somebody else's request makes room; the link is still known to have been one.
        _ = try await service.prepare(Rows.cameraID(), Rows.range(0, 60), by: viewer)
        rig.move(to: 2300)
        #expect(try await code(service, link.session, link.name, link.token) == .linkExpired)
        #expect(try await code(service, link.session, link.name, "1.9.00") == .invalidSignature)
        await #expect(throws: MarsadError(.linkExpired)) {
            try await service.status(link.session, by: viewer)
        }
        rig.move(to: 90_000)
        _ = try await service.prepare(Rows.cameraID(), Rows.range(0, 60), by: viewer)
        #expect(try await code(service, link.session, link.name, link.token) == .notFound)
    }

    @Test("the sessions of a camera that goes end with it")
    func cameraGone() async throws {
        let rig = Rig(try recording(hours: 1))
        let service = rig.service()
        let link = try #require(try media(await playlist(service, Rows.range(0, 60))).first)
        let other = try #require(CameraID("00000000-0000-0000-0000-000000000000"))
        await service.endSessions(of: other)
        #expect(try await code(service, link.session, link.name, link.token) == nil)
        try await service.endSessions(of: Rows.cameraID())
        #expect(try await code(service, link.session, link.name, link.token) == .linkExpired)
    }

    @Test("a session is its holder's, is told to the audit log, and ends with its holder's rights")
    func holders() async throws {
        let rig = Rig(try recording(hours: 1))
        let service = rig.service()
        let user = try #require(UserID("00000000-0000-4000-9000-000000000001"))
        let person = Caller(
            actor: .user(user), sessionID: "s", grants: [], visibility: .everything,
            issuedAt: WallTime(microseconds: 1), expiresAt: WallTime(microseconds: .max))
        let range = try Rows.range(0, 60)
        let prepared = try await service.prepare(Rows.cameraID(), range, by: person)
        let session = prepared.sessionID
        #expect(rig.events.map(\.kind) == [.playbackOpened])
        #expect(rig.events.first?.actor == person.actor)
        #expect(rig.events.first?.details["session_id"] == session)
        #expect(try await service.status(session, by: person).sessionID == session)
        await #expect(throws: MarsadError(.notFound)) {
            try await service.status(session, by: viewer)
        }
        let link = try Link(prepared.playlistPath)
        for (target, time) in [
            (Revocation.Target.session("t"), Int64(2)), (.user(user), 0),
        ] {
            await service.revoke(Revocation(target, notBefore: WallTime(microseconds: time)))
            _ = try await service.playlist(session, token: link.token)
        }
        await service.revoke(Revocation(.user(user), notBefore: WallTime(microseconds: 1)))
        await #expect(throws: MarsadError(.linkExpired)) {
            try await service.playlist(session, token: link.token)
        }
    }

    @Test("sessions are bounded, and those that expired make room")
    func bound() async throws {
        let rig = Rig(try recording(hours: 1))
        let service = rig.service()
        let id = try Rows.cameraID()
        let range = try Rows.range(0, 60)
        for _ in 0..<10_000 { _ = try await service.prepare(id, range, by: viewer) }
        await #expect(throws: MarsadError(.overloaded)) {
            try await service.prepare(id, range, by: viewer)
        }
        rig.move(to: 1801)
        for _ in 0..<3 { _ = try await service.prepare(id, range, by: viewer) }
    }
}
