// The whole service in one process: an offer in, packets out, on real sockets and a clock of our own.
// SPDX-License-Identifier: Apache-2.0

import Domain
import H26x
import Live
import NIOCore
import NIOPosix
import Observability
import Primitives
import RTP
import Synchronization
import Testing
import WebRTC

/// A viewer: ICE, DTLS and a socket. Each step moves the common clock on.
private final class Viewer {
    static let identity = Result { () throws(DTLSFailure) in try DTLSIdentity() }

    let offer: String
    private(set) var packets: [Packet] = []
    private(set) var reports: [RTCPPacket] = []
    private(set) var keys: KeyingMaterial?
    private(set) var hasLeft = false
    private let clock: ManualClock
    private let local: ICECredentials
    private var receiver: Receiver
    private var port = 0
    private var ice: ICEClientAgent?
    private var dtls: DTLSEndpoint?
    private var fingerprint: Fingerprint?
    private var opener: SRTPOpener?
    private var resendOpener: SRTPOpener?
    private var reportOpener: SRTCPOpener?
    private var reportSealer: SRTCPSealer?
    private(set) var ssrc: SSRC?

    init(_ clock: ManualClock) throws {
        self.clock = clock
        receiver = try Receiver()
        local = ICECredentials(random: clock.world.random)
        let offer = ClientOffer(ice: local, fingerprint: try Self.identity.get().fingerprint)
        self.offer = String(buffer: offer.serialize())
    }

    func start(_ answer: ViewerAnswer) throws {
        let answer = try RemoteAnswer(parsing: ByteBuffer(string: answer.description))
        let address = try #require(answer.candidates.first).address
        port = Int(address.port)
        fingerprint = answer.fingerprint
        ssrc = answer.ssrc
        ice = ICEClientAgent(
            local: local, remote: answer.ice, candidates: [address], at: clock.now,
            random: clock.world.random)
    }

    /// Checks again with the credentials of a restart.
    func restart(_ local: ICECredentials, _ fragment: String) throws {
        let fragment = try TrickleFragment(parsing: ByteBuffer(string: fragment))
        let address = try #require(fragment.candidates.first).address
        ice = ICEClientAgent(
            local: local, remote: try #require(fragment.ice), candidates: [address],
            at: clock.now, random: clock.world.random)
    }

    func move() throws {
        receiver = try Receiver()
        ice?.renominate(at: clock.now)
    }

    func report(_ packets: [RTCPPacket]) throws {
        let keys = try #require(keys)
        // One for all reports: a number that comes again is taken for a replay.
        let sealer = try reportSealer ?? SRTCPSealer(profile: keys.profile, keys: keys.local)
        reportSealer = sealer
        receiver.send(try #require(sealer.seal(RTCPPacket.serialize(packets))), to: port)
    }

    /// Takes what came, does what is due.
    func step() throws {
        ice?.advance(to: clock.now)
        dtls?.advance(to: clock.now)
        try drain()
        receiver.wait(milliseconds: 5)
        let server = TransportAddress(ipv4: 0x7F00_0001, port: UInt16(clamping: port))
        for datagram in receiver.take() {
            switch datagram.getInteger(at: datagram.readerIndex, as: UInt8.self) ?? 255 {
            case 0...3: ice?.receive(datagram, from: server, at: clock.now)
            case 20...63: dtls?.receive(datagram, at: clock.now)
            default: try open(datagram)
            }
            try drain()
        }
        // Slower than the wait: a busy machine must not look like a viewer who is silent.
        clock.advance(.milliseconds(1))
    }

    private func open(_ datagram: ByteBuffer) throws {
        let type = datagram.getInteger(at: datagram.readerIndex + 1, as: UInt8.self) ?? 0
        if (192...223).contains(type) {
            if let plain = try reportOpener?.open(datagram) {
                reports += try RTCPPacket.parse(compound: plain)
            }
            return
        }
        let source = datagram.getInteger(at: datagram.readerIndex + 8, as: UInt32.self)
        let isResend = source != ssrc?.rawValue
        guard let plain = try (isResend ? resendOpener : opener)?.open(datagram) else { return }
        if !isResend { packets.append(try Packet(validating: plain)) }
    }

    private func drain() throws {
        while let output = ice?.pollOutput() {
            switch output {
            case .send(let bytes, _): receiver.send(bytes, to: port)
            case .selected:
                guard dtls == nil, let fingerprint else { break }
                dtls = try DTLSEndpoint(
                    identity: try Self.identity.get(), role: .client, expects: fingerprint,
                    at: clock.now)
            case .failed: break
            }
        }
        while let output = dtls?.pollOutput() {
            switch output {
            case .send(let bytes): receiver.send(bytes, to: port)
            case .connected(let keys):
                self.keys = keys
                opener = try SRTPOpener(profile: keys.profile, keys: keys.remote)
                resendOpener = try SRTPOpener(profile: keys.profile, keys: keys.remote)
                reportOpener = try SRTCPOpener(profile: keys.profile, keys: keys.remote)
            case .failed, .closed: hasLeft = true
            }
        }
    }
}

/// A service with one camera on the last of two loops.
private final class Rig {
    let clock = ManualClock()
    let service: LiveService
    let id: CameraID
    private let loops: MultiThreadedEventLoopGroup
    private let camera: NIOLoopBound<LiveCamera>
    private let sub: NIOLoopBound<LiveCamera>
    private(set) var film: Film
    private var subFilm: Film
    private let loop: any EventLoop
    private let heard = Wishes()

    /// The wishes for the sub-stream, in order.
    private final class Wishes: Sendable {
        let list = Mutex<[Bool]>([])
    }

    var wishes: [Bool] { heard.list.withLock { $0 } }

    init() async throws {
        loops = MultiThreadedEventLoopGroup(numberOfThreads: 2)
        let all = Array(loops.makeIterator())
        let service = try await LiveService(
            world: clock.world, registry: MetricsRegistry(), eventLoops: all, port: 0,
            addresses: ["127.0.0.1"])
        let id = try #require(CameraID("00000000-0000-4000-8000-000000000001"))
        let loop = all[1]
        camera = try await loop.submit {
            NIOLoopBound(service.makeCamera(id, on: loop), eventLoop: loop)
        }.get()
        sub = try await loop.submit { [heard] in
            let sub = service.makeSubCamera(id, on: loop) { isWanted in
                heard.list.withLock { $0.append(isWanted) }
            }
            return NIOLoopBound(sub, eventLoop: loop)
        }.get()
        film = try Film()
        subFilm = try Film(seed: 6)
        self.service = service
        self.id = id
        self.loop = loop
    }

    func stop() async throws {
        await service.stop()
        try await loops.shutdownGracefully()
    }

    func play(_ count: Int = 1, isIDR: Bool = false) async throws {
        for index in 0..<count {
            let unit = film.unit(isIDR: isIDR && index == 0, packets: 3)
            let (sets, now) = (film.sets, clock.now)
            try await loop.submit { [camera] in camera.value.receive(unit, sets, at: now) }.get()
        }
    }

    func playSub(isIDR: Bool = false) async throws {
        let unit = subFilm.unit(isIDR: isIDR, packets: 2)
        let (sets, now) = (subFilm.sets, clock.now)
        try await loop.submit { [sub] in sub.value.receive(unit, sets, at: now) }.get()
    }

    func interruptSub() async throws {
        let now = clock.now
        try await loop.submit { [sub] in sub.value.interrupted(.sourceLost, at: now) }.get()
    }

    func interrupt() async throws {
        let now = clock.now
        try await loop.submit { [camera] in
            camera.value.interrupted(.sourceLost, at: now)
        }.get()
    }

    func end() async throws {
        try await loop.submit { [camera] in camera.value.end() }.get()
    }

    /// A viewer that gets packets.
    func watch(_ quality: StreamQuality = .auto) async throws -> (
        viewer: Viewer, answer: ViewerAnswer
    ) {
        let viewer = try Viewer(clock)
        let answer = try await service.open(id, offer: viewer.offer, quality: quality)
        try viewer.start(answer)
        try until(viewer) { !viewer.packets.isEmpty }
        return (viewer, answer)
    }

    func until(_ viewer: Viewer, _ isDone: () throws -> Bool) throws {
        var steps = 0
        while try !isDone() {
            steps += 1
            try #require(steps < 4000)
            try viewer.step()
        }
    }
}

@Suite struct LiveServiceTests {
    private func code(_ work: () async throws -> Void) async -> MarsadError? {
        do {
            try await work()
            return nil
        } catch {
            return error as? MarsadError
        }
    }

    private func expectRun(_ packets: [Packet]) {
        for (packet, next) in zip(packets, packets.dropFirst()) {
            #expect(next.sequenceNumber.distance(from: packet.sequenceNumber) == 1)
            #expect(next.timestamp.distance(from: packet.timestamp) >= 0)
        }
    }

    @Test("viewers on either loop get the present group, then what comes, and reports")
    func watches() async throws {
        let rig = try await Rig()
        try await rig.play(5, isIDR: true)
        var viewers: [Viewer] = []
        for _ in 0..<6 { viewers.append(try await rig.watch().viewer) }
        #expect(rig.service.viewers() == [rig.id: 6])
        try await rig.play(5)
        for viewer in viewers {
            try rig.until(viewer) { viewer.packets.count >= 30 && !viewer.reports.isEmpty }
            #expect(viewer.packets.count == 30)
            expectRun(viewer.packets)
            guard case .senderReport(let report)? = viewer.reports.first else {
                Issue.record("no sender report")
                continue
            }
            #expect(report.ssrc == viewer.ssrc)
        }
        #expect(
            await rig.service.clock(of: rig.id)?.rtpTime
                == viewers[0].packets[29].timestamp.rawValue)
        // A lost packet and a lost picture are answered.
        let viewer = viewers[0]
        let ssrc = try #require(viewer.ssrc)
        try viewer.report([
            .receiverReport(ReceiverReport(ssrc: SSRC(rawValue: 1))),
            .pictureLoss(PictureLossIndication(sender: SSRC(rawValue: 1), media: ssrc)),
        ])
        try rig.until(viewer) { viewer.packets.count >= 60 }
        #expect(viewer.packets.count == 60)
        expectRun(viewer.packets)
        try await rig.stop()
    }

    @Test("a camera without a picture is no camera to watch; a bad offer is refused")
    func refusals() async throws {
        let rig = try await Rig()
        let viewer = try Viewer(rig.clock)
        let early = await code { _ = try await rig.service.open(rig.id, offer: viewer.offer) }
        #expect(early?.code == .cameraUnavailable)
        #expect(early?.status == 409)
        let unknown = try #require(CameraID("00000000-0000-4000-8000-000000000002"))
        let none = await code { _ = try await rig.service.open(unknown, offer: viewer.offer) }
        #expect(none?.status == 409)
        try await rig.play(1, isIDR: true)
        for text in ["", "v=0\r\n", "nonsense"] {
            let bad = await code { _ = try await rig.service.open(rig.id, offer: text) }
            #expect(bad?.code == .invalidSDP)
        }
        // 64 handshakes at once, and no more until some of them are over.
        for _ in 0..<64 { _ = try await rig.service.open(rig.id, offer: viewer.offer) }
        let full = await code { _ = try await rig.service.open(rig.id, offer: viewer.offer) }
        #expect(full?.code == .overloaded)
        rig.clock.advance(.seconds(11))
        let receiver = try Receiver()
        var steps = 0
        while await code({ _ = try await rig.service.open(rig.id, offer: viewer.offer) }) != nil {
            receiver.wait(milliseconds: 20)
            steps += 1
            try #require(steps < 500)
        }
        try await rig.stop()
    }

    @Test("PATCH asks for the tag, takes candidates, and restarts without a break in the stream")
    func patch() async throws {
        let rig = try await Rig()
        try await rig.play(3, isIDR: true)
        let (viewer, answer) = try await rig.watch()
        let trickle = "a=mid:0\r\na=end-of-candidates\r\n"
        func patch(_ text: String, _ tag: String?, session: String? = nil) async throws
            -> ViewerPatch
        {
            try await rig.service.patch(
                session ?? answer.sessionID, of: rig.id, fragment: text, ifMatch: tag)
        }
        #expect(await code { _ = try await patch(trickle, nil) }?.code == .preconditionRequired)
        #expect(await code { _ = try await patch(trickle, "\"x\"") }?.code == .preconditionFailed)
        #expect(
            await code { _ = try await patch(trickle, answer.etag) }?.code == .preconditionFailed)
        #expect(await code { _ = try await patch("", "*") }?.code == .invalidSDP)
        #expect(await code { _ = try await patch(trickle, "*", session: "x") }?.code == .notFound)
        let tag = "\"\(answer.etag)\""
        guard case .accepted = try await patch(trickle, tag) else {
            Issue.record("a candidate was not accepted")
            return
        }
        let local = ICECredentials(random: rig.clock.world.random)
        let text = "a=ice-ufrag:\(local.ufrag)\r\na=ice-pwd:\(local.password.reveal())\r\n"
        guard case .restarted(let newTag, let fragment) = try await patch(text, tag) else {
            Issue.record("no restart")
            return
        }
        #expect(newTag != answer.etag)
        #expect(await code { _ = try await patch(trickle, tag) }?.code == .preconditionFailed)
        // The old path works until the viewer follows.
        try await rig.play(2)
        try rig.until(viewer) { viewer.packets.count >= 15 }
        try viewer.restart(local, fragment)
        try viewer.move()
        var played = 15
        for _ in 0..<5 {
            try await rig.play(1)
            played += 3
            for _ in 0..<10 { try viewer.step() }
        }
        let steps = viewer.packets.count
        try await rig.play(1)
        try rig.until(viewer) { viewer.packets.count > steps }
        #expect(viewer.packets.count <= played + 3)
        #expect(rig.service.viewers() == [rig.id: 1])
        try await rig.stop()
    }

    @Test("packets follow a viewer to a new address")
    func moves() async throws {
        let rig = try await Rig()
        try await rig.play(3, isIDR: true)
        let (viewer, _) = try await rig.watch()
        for _ in 0..<4 {
            try viewer.move()
            let count = viewer.packets.count
            var pictures = 0
            // What was sent to the old address is lost.
            while viewer.packets.count < count + 6 {
                pictures += 1
                try #require(pictures < 500)
                try await rig.play(1)
                try viewer.step()
            }
        }
        for (packet, next) in zip(viewer.packets, viewer.packets.dropFirst()) {
            #expect(next.sequenceNumber.distance(from: packet.sequenceNumber) >= 1)
        }
        try await rig.stop()
    }

    @Test("a closed session says goodbye, and its viewer gets no more")
    func close() async throws {
        let rig = try await Rig()
        try await rig.play(3, isIDR: true)
        let (viewer, answer) = try await rig.watch()
        let (other, _) = try await rig.watch()
        #expect(await rig.service.close(answer.sessionID))
        #expect(await !rig.service.close(answer.sessionID))
        #expect(rig.service.viewers() == [rig.id: 1])
        try rig.until(viewer) { viewer.hasLeft }
        let count = viewer.packets.count
        try await rig.play(3)
        try rig.until(other) { other.packets.count >= 18 }
        try viewer.step()
        #expect(viewer.packets.count == count)
        let late = await code {
            _ = try await rig.service.patch(
                answer.sessionID, of: rig.id, fragment: "a=mid:0\r\n", ifMatch: "*")
        }
        #expect(late?.code == .notFound)
        try await rig.stop()
    }

    @Test("a viewer that vanished is forgotten")
    func vanishes() async throws {
        let rig = try await Rig()
        try await rig.play(3, isIDR: true)
        let (viewer, answer) = try await rig.watch()
        let stranger = try Receiver()
        var steps = 0
        while !rig.service.viewers().isEmpty {
            stranger.wait(milliseconds: 20)
            rig.clock.advance(.milliseconds(100))
            steps += 1
            try #require(steps < 1000)
        }
        #expect(viewer.keys != nil)
        #expect(await !rig.service.close(answer.sessionID))
        try await rig.stop()
    }

    /// The viewer's reports of so many seconds, all with this share of packets lost.
    private func report(_ lost: UInt8, seconds: Int, by viewer: Viewer, in rig: Rig) throws {
        let ssrc = try #require(viewer.ssrc)
        for _ in 0..<seconds {
            var block = ReportBlock(ssrc: ssrc)
            block.fractionLost = lost
            try viewer.report([
                .receiverReport(ReceiverReport(ssrc: SSRC(rawValue: 1), reports: [block]))
            ])
            for _ in 0..<5 { try viewer.step() }
            rig.clock.advance(.seconds(1))
        }
    }

    @Test(
        "a viewer who loses much gets the sub-stream, and the main stream again after a good while")
    func quality() async throws {
        let rig = try await Rig()
        try await rig.play(3, isIDR: true)
        let (viewer, _) = try await rig.watch()
        try rig.until(viewer) { viewer.packets.count == 9 }
        try report(64, seconds: 3, by: viewer, in: rig)
        #expect(rig.wishes.isEmpty)
        try report(64, seconds: 2, by: viewer, in: rig)
        try rig.until(viewer) { rig.wishes == [true] }
        // The main stream goes on until the other one has a keyframe.
        try await rig.play(1)
        try rig.until(viewer) { viewer.packets.count == 12 }
        try await rig.playSub(isIDR: true)
        try await rig.play(1)
        try await rig.playSub()
        try rig.until(viewer) { viewer.packets.count == 16 }
        try report(0, seconds: 17, by: viewer, in: rig)
        try await rig.play(1)
        try await rig.playSub()
        try rig.until(viewer) { viewer.packets.count == 18 }
        try await rig.play(2, isIDR: true)
        try await rig.playSub()
        try rig.until(viewer) { viewer.packets.count == 24 }
        expectRun(viewer.packets)
        // Nobody needs the sub-stream any more.
        var steps = 0
        while rig.wishes != [true, false] {
            rig.clock.advance(.seconds(1))
            try report(0, seconds: 1, by: viewer, in: rig)
            steps += 1
            try #require(steps < 100)
        }
        try await rig.stop()
    }

    @Test("LOW begins with the sub-stream, MEDIUM goes over to it, and back while it is lost")
    func lowAndMedium() async throws {
        let rig = try await Rig()
        try await rig.play(3, isIDR: true)
        let low = try Viewer(rig.clock)
        let answer = try await rig.service.open(rig.id, offer: low.offer, quality: .low)
        try low.start(answer)
        try rig.until(low) { low.keys != nil && rig.wishes == [true] }
        let (medium, _) = try await rig.watch(.medium)
        try rig.until(medium) { medium.packets.count == 9 }
        try report(0, seconds: 3, by: medium, in: rig)
        try await rig.playSub(isIDR: true)
        try rig.until(low) { low.packets.count == 2 }
        try rig.until(medium) { medium.packets.count == 11 }
        try await rig.interruptSub()
        try report(0, seconds: 3, by: medium, in: rig)
        try await rig.play(1, isIDR: true)
        try rig.until(medium) { medium.packets.count == 14 }
        expectRun(medium.packets)
        #expect(low.packets.count == 2)
        try await rig.stop()
    }

    @Test("a camera's interruption leaves its viewers, and its end ends them")
    func cameraEnds() async throws {
        let rig = try await Rig()
        try await rig.play(3, isIDR: true)
        let (viewer, _) = try await rig.watch()
        try rig.until(viewer) { viewer.packets.count == 9 }
        try await rig.interrupt()
        rig.clock.advance(.seconds(2))
        try await rig.play(3, isIDR: true)
        try rig.until(viewer) { viewer.packets.count == 18 }
        expectRun(viewer.packets)
        // The camera's own times stood still; its viewers' did not.
        let pause = viewer.packets[9].timestamp.distance(from: viewer.packets[8].timestamp)
        #expect(pause >= 180_000)
        try await rig.end()
        try rig.until(viewer) { viewer.hasLeft }
        #expect(rig.service.viewers().isEmpty)
        let late = await code {
            _ = try await rig.service.open(rig.id, offer: try Viewer(rig.clock).offer)
        }
        #expect(late?.status == 409)
        try await rig.stop()
    }
}
