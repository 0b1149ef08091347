// A camera that publishes, as the rest of the program sees it.
// SPDX-License-Identifier: Apache-2.0

import Domain
import H26x
import Ingest
import Logging
import NIOCore
import NIOPosix
import Observability
import Primitives
import RTP
import Synchronization
import Testing

private func packet(_ number: UInt16, _ payload: [UInt8]) throws -> Packet {
    try Packet(
        validating: Packet.serialize(
            marker: true, payloadType: 102, sequenceNumber: SequenceNumber(rawValue: number),
            timestamp: RTPTimestamp(rawValue: UInt32(number) * 3600), ssrc: SSRC(rawValue: 1),
            payload: ByteBuffer(bytes: payload)))
}

@Suite struct PublishedCameraTests {
    /// Parameter sets and an IDR slice in one aggregate (RFC 6184 §5.7.1).
    private static let keyframe: [UInt8] = {
        var bytes: [UInt8] = [0x78]
        let units: [[UInt8]] = [
            [0x67, 66, 0xC0, 10, 0xDA, 0x02, 0x80, 0xF6, 0x40], [0x68, 0xEE, 0x3C, 0x80],
            [0x65, 0x88, 1],
        ]
        for unit in units { bytes += [0, UInt8(unit.count)] + unit }
        return bytes
    }()
    private static let slice: [UInt8] = [0x41, 0x9A, 1]

    /// A service with one camera that publishes, and what its consumers were given.
    private final class Rig: Sendable {
        struct Contents: Sendable {
            var second: Int64 = 0
            var units: [Bool] = []
            var interruptions: [GapReason] = []
            var ends = 0
        }
        let contents = Mutex(Contents())

        var world: World {
            World(
                now: { Instant(nanoseconds: self.contents.withLock { $0.second } * 1_000_000_000) },
                wallTime: { WallTime(microseconds: 1_000_000) }, random: { 4 },
                secureRandomBytes: { (0..<$0).map { UInt8(truncatingIfNeeded: $0) } })
        }

        var now: Instant { world.now() }

        func pass(seconds: Int64) { contents.withLock { $0.second += seconds } }

        func service() -> IngestService {
            IngestService(
                world: world, policy: NetworkPolicy(blocks: []),
                group: MultiThreadedEventLoopGroup.singleton,
                resolver: NIOThreadPool(numberOfThreads: 1), registry: MetricsRegistry(),
                logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() },
                makeSinks: { _, _ in
                    [
                        FeedSink(
                            onAccessUnit: { unit, _, _ in
                                self.contents.withLock { $0.units.append(unit.isRandomAccessPoint) }
                            },
                            onInterruption: { reason, _ in
                                self.contents.withLock { $0.interruptions.append(reason) }
                            }, onEnd: { self.contents.withLock { $0.ends += 1 } })
                    ]
                })
        }
    }

    private func camera(_ origin: CameraOrigin = .whip, token: String? = nil) throws -> Camera {
        Camera(
            id: try #require(CameraID("3f2504e0-4f89-41d3-9a0c-000000000001")), name: "Drone",
            nameArabic: "", source: try #require(Source("METRO")), origin: origin,
            address: Redacted(""), publishTokenHash: token, createdAt: WallTime(microseconds: 1))
    }

    /// On the feed's loop, as the publisher's session does.
    private func on(_ feed: PublishedFeed, _ work: @escaping @Sendable () throws -> Void)
        async throws
    {
        try await feed.eventLoop.submit(work).get()
    }

    @Test("it connects, delivers while somebody publishes, and is interrupted when that one ends")
    func life() async throws {
        let rig = Rig()
        let service = rig.service()
        let camera = try camera()
        await service.assign(camera)
        let feed = try #require(service.published(camera.id))
        try await on(feed) {}
        var state = try #require(service.states()[camera.id])
        #expect(
            state.status == .connecting
                && state.lastFailure == CameraFailure(.unpublished, "nobody publishes"))
        try await on(feed) {
            feed.begin(payloadType: 102, clockRate: 90_000)
            // Without parameter sets nothing can be shown.
            feed.receive(try packet(1, Self.slice), at: rig.now)
            feed.receive(try packet(2, Self.keyframe), at: rig.now)
            feed.receive(try packet(3, Self.slice), at: rig.now)
            // Only padding.
            feed.receive(try packet(4, []), at: rig.now)
            feed.receive(try packet(5, Self.slice), at: rig.now)
        }
        state = try #require(service.states()[camera.id])
        #expect(state.status == .active && state.lastFailure == nil && state.width > 0)
        #expect(rig.contents.withLock { $0.units } == [true, false, false])
        try await on(feed) {
            feed.end(at: rig.now)
            // What comes late of the one that left counts no more.
            feed.receive(try packet(6, Self.slice), at: rig.now)
        }
        state = try #require(service.states()[camera.id])
        #expect(
            state.status == .connecting
                && state.lastFailure == CameraFailure(.closed, "the publisher left"))
        #expect(rig.contents.withLock { $0.interruptions } == [.sourceLost])
        #expect(rig.contents.withLock { $0.units.count } == 3)
        await service.unassign(camera.id)
        #expect(rig.contents.withLock { $0.ends } == 1)
        #expect(service.published(camera.id) == nil)
    }

    @Test("another name or group costs no picture; another agency makes its stream anew")
    func changes() async throws {
        let rig = Rig()
        let service = rig.service()
        var camera = try camera()
        await service.assign(camera)
        let feed = try #require(service.published(camera.id))
        try await on(feed) {
            feed.begin(payloadType: 102, clockRate: 90_000)
            feed.receive(try packet(1, Self.keyframe), at: rig.now)
        }
        camera.name = "Drone 2"
        camera.nameArabic = "طائرة"
        camera.folderID = FolderID("roofs")
        camera.externalID = "D-2"
        camera.retentionDays = 3
        camera.updatedAt = WallTime(microseconds: 2)
        await service.assign(camera)
        try await on(feed) { feed.receive(try packet(2, Self.slice), at: rig.now) }
        #expect(rig.contents.withLock { $0.units } == [true, false])
        #expect(rig.contents.withLock { $0.interruptions } == [])
        camera.source = try #require(Source("BUS"))
        await service.assign(camera)
        #expect(rig.contents.withLock { $0.ends } == 1)
        let anew = try #require(service.published(camera.id))
        try await on(anew) {
            anew.begin(payloadType: 102, clockRate: 90_000)
            anew.receive(try packet(1, Self.keyframe), at: rig.now)
        }
        #expect(rig.contents.withLock { $0.units } == [true, false, true])
        await service.stop()
    }

    @Test("one that sends nothing for five seconds is interrupted once, and may go on")
    func silence() async throws {
        let rig = Rig()
        let service = rig.service()
        let camera = try camera()
        await service.assign(camera)
        let feed = try #require(service.published(camera.id))
        try await on(feed) {
            feed.begin(payloadType: 102, clockRate: 90_000)
            feed.receive(try packet(1, Self.keyframe), at: rig.now)
            rig.pass(seconds: 4)
            feed.lookAtClock()
        }
        #expect(service.states()[camera.id]?.status == .active)
        try await on(feed) {
            rig.pass(seconds: 1)
            feed.lookAtClock()
            feed.lookAtClock()
        }
        #expect(service.states()[camera.id]?.status == .connecting)
        #expect(rig.contents.withLock { $0.interruptions } == [.sourceLost])
        try await on(feed) { feed.receive(try packet(2, Self.keyframe), at: rig.now) }
        #expect(service.states()[camera.id]?.status == .active)
        await service.stop()
    }

    @Test("a camera with an address takes no publisher")
    func otherOrigin() async throws {
        let service = Rig().service()
        let camera = try camera(.rtsp)
        await service.assign(camera)
        #expect(service.published(camera.id) == nil)
        await service.stop()
    }

    @Test("only its own token opens a camera, and only one that publishes")
    func tokens() throws {
        let token = PublishToken.make(world: Rig().world)
        #expect(token.reveal().count == 48)
        let hash = PublishToken.hash(token)
        #expect(
            PublishToken.hash(Redacted("abc"))
                == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
        #expect(try camera(token: hash).accepts(token))
        #expect(try !camera(token: hash).accepts(Redacted(token.reveal() + " ")))
        #expect(try !camera(token: hash).accepts(Redacted("")))
        #expect(try !camera(token: hash).accepts(Redacted(hash)))
        #expect(try !camera().accepts(token))
        #expect(try !camera(.rtsp, token: hash).accepts(token))
    }
}
