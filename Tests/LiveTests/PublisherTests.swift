// A publisher on a real socket: from its offer to packets in order at its camera.
// SPDX-License-Identifier: Apache-2.0

import Domain
import Live
import NIOCore
import NIOPosix
import Observability
import Primitives
import RTP
import Synchronization
import Testing
import WebRTC

/// What a camera's loop was given; read from the test.
private final class Given: Sendable {
    struct Contents: Sendable {
        var payloadTypes: [UInt8] = []
        var numbers: [UInt16] = []
        var ends = 0
        var waiting: [(count: Int, ends: Int, promise: EventLoopPromise<Void>)] = []
    }

    let contents = Mutex(Contents())
    let eventLoop: any EventLoop

    init(on eventLoop: any EventLoop) { self.eventLoop = eventLoop }

    var sink: PublisherSink {
        PublisherSink(
            begin: { type, rate in
                #expect(rate == 90_000 && self.eventLoop.inEventLoop)
                self.update { $0.payloadTypes.append(type) }
            },
            receive: { packet, _ in
                self.update { $0.numbers.append(packet.sequenceNumber.rawValue) }
            },
            end: { _ in self.update { $0.ends += 1 } })
    }

    private func update(_ change: (inout Contents) -> Void) {
        let ready = contents.withLock { contents in
            change(&contents)
            let (count, ends) = (contents.numbers.count, contents.ends)
            let ready = contents.waiting.filter { $0.count <= count && $0.ends <= ends }
            contents.waiting.removeAll { $0.count <= count && $0.ends <= ends }
            return ready
        }
        for waiting in ready { waiting.promise.succeed() }
    }

    /// Returns once so many packets and ends have come; a test whose time is over fails instead.
    func wait(count: Int, ends: Int = 0) async throws {
        let promise = eventLoop.makePromise(of: Void.self)
        update { $0.waiting.append((count, ends, promise)) }
        try await withTaskCancellationHandler {
            try await promise.futureResult.get()
        } onCancel: {
            let lost = contents.withLock { contents in
                defer { contents.waiting = [] }
                return contents.waiting
            }
            for waiting in lost { waiting.promise.fail(CancellationError()) }
        }
    }
}

/// An encoder's end. Lives on its channel's loop.
private final class TestPublisher: ChannelInboundHandler {
    typealias InboundIn = AddressedEnvelope<ByteBuffer>
    typealias OutboundOut = AddressedEnvelope<ByteBuffer>

    static let ssrc: UInt32 = 0x77
    private let identity: DTLSIdentity
    private let credentials: ICECredentials
    private var ice: ICEClientAgent?
    private var dtls: DTLSEndpoint?
    private var fingerprint: Fingerprint?
    private var keys: KeyingMaterial?
    private var sealer: SRTPSealer?
    private var opener: SRTCPOpener?
    private var context: ChannelHandlerContext?
    private var ticker: RepeatedTask?
    /// Packets that were sent: sent again with each tick, as UDP may lose any of them. Who has one takes no
    /// second.
    private var sent: [ByteBuffer] = []
    private let connected: EventLoopPromise<Void>
    /// The numbers of the first request for resends.
    private let requested: EventLoopPromise<[UInt16]>
    private let keyframe: EventLoopPromise<Void>

    init(
        connected: EventLoopPromise<Void>, requested: EventLoopPromise<[UInt16]>,
        keyframe: EventLoopPromise<Void>
    ) throws {
        identity = try DTLSIdentity()
        var random = SystemRandomNumberGenerator()
        credentials = ICECredentials(random: { random.next() })
        self.connected = connected
        self.requested = requested
        self.keyframe = keyframe
    }

    private var now: Instant {
        Instant(nanoseconds: Int64(NIODeadline.now().uptimeNanoseconds))
    }

    var offer: String {
        let source = ClientOffer.Source(
            ssrc: SSRC(rawValue: Self.ssrc), rtxSSRC: SSRC(rawValue: 0x78), cname: "encoder")
        let offer = ClientOffer(
            ice: credentials, fingerprint: identity.fingerprint, source: source)
        return String(buffer: offer.serialize())
    }

    func handlerAdded(context: ChannelHandlerContext) { self.context = context }
    func handlerRemoved(context: ChannelHandlerContext) {
        ticker?.cancel()
        self.context = nil
        let gone = ChannelError.ioOnClosedChannel
        connected.fail(gone)
        requested.fail(gone)
        keyframe.fail(gone)
    }

    func accept(_ text: String) throws {
        let answer = try RemoteAnswer(parsing: ByteBuffer(string: text))
        #expect(answer.direction == .recvonly && answer.isDTLSClient)
        fingerprint = answer.fingerprint
        var random = SystemRandomNumberGenerator()
        ice = ICEClientAgent(
            local: credentials, remote: answer.ice, candidates: answer.candidates.map(\.address),
            at: now, random: { random.next() })
        guard let context else { return }
        let bound = NIOLoopBound(self, eventLoop: context.eventLoop)
        ticker = context.eventLoop.scheduleRepeatedTask(
            initialDelay: .zero, delay: .milliseconds(20)
        ) { _ in bound.value.tick() }
    }

    private func tick() {
        ice?.advance(to: now)
        dtls?.advance(to: now)
        for packet in sent { send(packet) }
        drain()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let envelope = unwrapInboundIn(data)
        let bytes = envelope.data
        switch bytes.getInteger(at: bytes.readerIndex, as: UInt8.self) ?? 255 {
        case 0...3:
            guard let port = envelope.remoteAddress.port else { return }
            ice?.receive(
                bytes, from: TransportAddress(ipv4: 0x7F00_0001, port: UInt16(port)), at: now)
        case 20...63: dtls?.receive(bytes, at: now)
        default: receive(report: bytes)
        }
        drain()
    }

    private func receive(report bytes: ByteBuffer) {
        guard let plain = try? opener?.open(bytes),
            let packets = try? RTCPPacket.parse(compound: plain)
        else { return }
        for packet in packets {
            if case .nack(let nack) = packet { requested.succeed(nack.lost.map(\.rawValue)) }
            if case .pictureLoss = packet { keyframe.succeed() }
        }
    }

    private func drain() {
        while let output = ice?.pollOutput() {
            switch output {
            case .send(let bytes, let address): send(bytes, to: address)
            case .selected:
                guard dtls == nil, let fingerprint else { break }
                dtls = try? DTLSEndpoint(
                    identity: identity, role: .client, expects: fingerprint, at: now)
            case .failed: connected.fail(ChannelError.connectPending)
            }
        }
        while let output = dtls?.pollOutput() {
            switch output {
            case .send(let bytes): send(bytes)
            case .connected(let material):
                keys = material
                sealer = try? SRTPSealer(profile: material.profile, keys: material.local)
                opener = try? SRTCPOpener(profile: material.profile, keys: material.remote)
                connected.succeed()
            case .failed(let failure): connected.fail(failure)
            case .closed: break
            }
        }
    }

    private func send(_ bytes: ByteBuffer, to address: TransportAddress? = nil) {
        guard let context, let target = address ?? ice?.selected,
            let remote = try? SocketAddress(ipAddress: "127.0.0.1", port: Int(target.port))
        else { return }
        let envelope = AddressedEnvelope(remoteAddress: remote, data: bytes)
        context.writeAndFlush(wrapOutboundOut(envelope), promise: nil)
    }

    /// One packet; as a resend of itself where that is wanted.
    func send(_ number: UInt16, _ payload: [UInt8], isResend: Bool = false) {
        guard let sealer else { return }
        let bytes = UnsafeMutableRawBufferPointer.allocate(byteCount: 2048, alignment: 16)
        defer { bytes.deallocate() }
        guard let base = bytes.baseAddress else { return }
        let count = payload.withUnsafeBytes {
            sealer.seal(
                marker: true, payloadType: isResend ? 97 : 96, index: UInt64(number),
                timestamp: UInt32(number) * 3600, ssrc: isResend ? 0x78 : Self.ssrc,
                prefix: isResend ? number : nil, payload: $0, into: base)
        }
        let packet = ByteBuffer(bytes: UnsafeRawBufferPointer(rebasing: bytes[..<count]))
        sent.append(packet)
        send(packet)
    }

    func leave() {
        sent = []
        dtls?.close()
        drain()
    }
}

@Suite struct PublisherTests {
    private static let keyframe: [UInt8] = [0x65, 0x88, 1]
    private static let slice: [UInt8] = [0x41, 0x9A, 1]

    /// A slow clock that can be put forward: what a busy machine delays is not late by it. A lost packet
    /// is waited for 200 ms.
    private final class Clock: Sendable {
        private let ahead = Mutex(Duration.zero)

        func jump(_ step: Duration) { ahead.withLock { $0 += step } }

        var world: World {
            World(
                now: {
                    Instant(nanoseconds: Int64(NIODeadline.now().uptimeNanoseconds) / 100)
                        + self.ahead.withLock { $0 }
                }, wallTime: { WallTime(microseconds: 1_000_000) },
                random: { UInt64.random(in: 0 ... .max) },
                secureRandomBytes: { count in (0..<count).map { _ in .random(in: 0...255) } })
        }
    }

    private struct Encoder {
        let channel: any Channel
        let publisher: NIOLoopBound<TestPublisher>
        let connected: EventLoopFuture<Void>
        let requested: EventLoopFuture<[UInt16]>
        let keyframe: EventLoopFuture<Void>

        /// What becomes of it; where the test's time is over, the encoder goes.
        func wait<Value: Sendable>(
            _ future: EventLoopFuture<Value>
        ) async throws -> Value {
            try await withTaskCancellationHandler {
                try await future.get()
            } onCancel: {
                channel.close(promise: nil)
            }
        }

        func run(_ work: @escaping @Sendable (TestPublisher) throws -> Void) async throws {
            try await channel.eventLoop.submit { [publisher] in try work(publisher.value) }.get()
        }

        func offer() async throws -> String {
            try await channel.eventLoop.submit { [publisher] in publisher.value.offer }.get()
        }
    }

    private func encoder(_ loop: any EventLoop) async throws -> Encoder {
        let connected = loop.makePromise(of: Void.self)
        let requested = loop.makePromise(of: [UInt16].self)
        let keyframe = loop.makePromise(of: Void.self)
        let publisher = try await loop.submit {
            NIOLoopBound(
                try TestPublisher(
                    connected: connected, requested: requested, keyframe: keyframe),
                eventLoop: loop)
        }.get()
        let channel = try await DatagramBootstrap(group: loop)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(publisher.value)
                }
            }
            .bind(host: "127.0.0.1", port: 0).get()
        return Encoder(
            channel: channel, publisher: publisher, connected: connected.futureResult,
            requested: requested.futureResult, keyframe: keyframe.futureResult)
    }

    private func service(_ clock: Clock, _ loops: [any EventLoop]) async throws -> LiveService {
        try await LiveService(
            world: clock.world, registry: MetricsRegistry(), eventLoops: loops, port: 0,
            hasTCP: false,
            addresses: ["127.0.0.1"])
    }

    private func id(_ last: Int = 1) throws -> CameraID {
        try #require(CameraID("3f2504e0-4f89-41d3-9a0c-00000000000\(last)"))
    }

    @Test(
        "packets come out in order, a lost one is asked for, and a keyframe",
        .timeLimit(.minutes(1)))
    func publishes() async throws {
        let group = MultiThreadedEventLoopGroup.singleton
        let loops = [group.next(), group.next()]
        let live = try await service(Clock(), loops)
        let given = Given(on: loops[1])
        let encoder = try await encoder(group.next())
        let answer = try await live.publish(
            try id(), offer: try await encoder.offer(), on: loops[1], to: given.sink)
        try await encoder.run { try $0.accept(answer.description) }
        try await encoder.wait(encoder.connected)
        // No keyframe yet: one is asked for.
        try await encoder.run { $0.send(1, Self.slice) }
        try await encoder.wait(encoder.keyframe)
        try await encoder.run {
            $0.send(2, Self.keyframe)
            $0.send(5, Self.slice)
            $0.send(4, Self.slice)
        }
        #expect(try await encoder.wait(encoder.requested).first == 3)
        try await encoder.run { $0.send(3, Self.slice, isResend: true) }
        try await given.wait(count: 5)
        #expect(given.contents.withLock { $0.numbers } == [1, 2, 3, 4, 5])
        #expect(given.contents.withLock { $0.payloadTypes } == [96])
        // A publisher is no viewer.
        #expect(live.viewers().isEmpty)
        try await encoder.run { $0.leave() }
        try await given.wait(count: 5, ends: 1)
        try await encoder.channel.close()
        await live.stop()
    }

    @Test(
        "a camera has one publisher, until that one leaves or falls silent",
        .timeLimit(.minutes(1)))
    func onlyOne() async throws {
        let group = MultiThreadedEventLoopGroup.singleton
        let loop = group.next()
        let clock = Clock()
        let live = try await service(clock, [loop])
        let given = Given(on: loop)
        let encoder = try await encoder(group.next())
        let offer = try await encoder.offer()
        let (first, second) = (try id(1), try id(2))
        let answer = try await live.publish(first, offer: offer, on: loop, to: given.sink)
        let refused = await #expect(throws: MarsadError.self) {
            try await live.publish(first, offer: offer, on: loop, to: given.sink)
        }
        #expect(refused?.code == .conflict)
        // Another camera's name opens nothing, and neither does a viewer's way to a publisher.
        #expect(await !live.closePublisher(answer.sessionID, of: second))
        #expect(await !live.close(answer.sessionID))
        #expect(await live.closePublisher(answer.sessionID, of: first))
        #expect(await !live.closePublisher(answer.sessionID, of: first))
        // The next one never comes; six seconds later another takes its place.
        let silent = try await live.publish(first, offer: offer, on: loop, to: given.sink)
        clock.jump(.seconds(6))
        let last = try await live.publish(first, offer: offer, on: loop, to: given.sink)
        #expect(await !live.closePublisher(silent.sessionID, of: first))
        await live.closePublisher(of: first)
        #expect(await !live.closePublisher(last.sessionID, of: first))
        // None of them was ever connected.
        #expect(given.contents.withLock { $0.ends } == 0)
        try await encoder.channel.close()
        await live.stop()
    }

    @Test("ICE restart, and offers that are no publisher's", .timeLimit(.minutes(1)))
    func requests() async throws {
        let group = MultiThreadedEventLoopGroup.singleton
        let loop = group.next()
        let live = try await service(Clock(), [loop])
        let given = Given(on: loop)
        let encoder = try await encoder(group.next())
        let id = try id()
        let offer = try await encoder.offer()
        let receiving = offer.replacing("sendonly", with: "recvonly")
        let refused = await #expect(throws: MarsadError.self) {
            try await live.publish(id, offer: receiving, on: loop, to: given.sink)
        }
        #expect(refused?.code == .invalidSDP)
        let answer = try await live.publish(id, offer: offer, on: loop, to: given.sink)
        let fragment = "a=ice-ufrag:other\r\na=ice-pwd:0123456789abcdefghijkl\r\n"
        let asViewer = await #expect(throws: MarsadError.self) {
            try await live.patch(answer.sessionID, of: id, fragment: fragment, ifMatch: "*")
        }
        #expect(asViewer?.code == .notFound)
        let result = try await live.patchPublisher(
            answer.sessionID, of: id, fragment: fragment, ifMatch: "\"\(answer.etag)\"")
        guard case .restarted(let etag, _) = result else {
            Issue.record("no restart")
            return
        }
        #expect(etag != answer.etag)
        try await encoder.channel.close()
        await live.stop()
    }
}
