// The whole service with one camera, and viewers on real sockets with a clock of our own.
// SPDX-License-Identifier: Apache-2.0

import Domain
import H26x
import Live
import NIOCore
import NIOPosix
import Observability
import Primitives
import RTP
import RTPFormats
import Synchronization
import Testing
import WebRTC

/// A viewer's end of what carries its packets.
protocol ViewerSocket {
    func take() -> [ByteBuffer]
    func wait(milliseconds: Int32)
    func send(_ datagram: ByteBuffer, to port: Int)
}

extension Receiver: ViewerSocket {}

/// A viewer: ICE, DTLS and a socket. Each step moves the common clock on.
final class Viewer {
    static let identity = Result { () throws(DTLSFailure) in try DTLSIdentity() }

    let offer: String
    private(set) var packets: [Packet] = []
    private(set) var sound: [Packet] = []
    private(set) var reports: [RTCPPacket] = []
    private(set) var keys: KeyingMaterial?
    private(set) var hasLeft = false
    private let clock: ManualClock
    private let local: ICECredentials
    private let transport: TransportAddress.Transport
    private(set) var receiver: any ViewerSocket
    private var port = 0
    private var ice: ICEClientAgent?
    private var dtls: DTLSEndpoint?
    private var fingerprint: Fingerprint?
    private var opener: SRTPOpener?
    private var resendOpener: SRTPOpener?
    private var reportOpener: SRTCPOpener?
    private var reportSealer: SRTCPSealer?
    private(set) var ssrc: SSRC?
    private(set) var audioSSRC: SSRC?
    private var audioOpener: SRTPOpener?

    init(
        _ clock: ManualClock, _ transport: TransportAddress.Transport = .udp,
        hasAudio: Bool = false
    ) throws {
        self.clock = clock
        self.transport = transport
        receiver = try Receiver()
        local = ICECredentials(random: clock.world.random)
        let offer = ClientOffer(ice: local, fingerprint: try Self.identity.get().fingerprint)
        let text = String(buffer: offer.serialize())
        guard hasAudio else {
            self.offer = text
            return
        }
        // The same transport, in a second section.
        let audio =
            "m=audio 9 UDP/TLS/RTP/SAVPF 0 8\r\na=recvonly\r\na=rtcp-mux\r\na=setup:actpass\r\n"
            + "a=mid:sound\r\na=ice-ufrag:\(local.ufrag)\r\n"
            + "a=ice-pwd:\(local.password.reveal())\r\n"
        self.offer = text.replacing("BUNDLE 0", with: "BUNDLE 0 sound") + audio
    }

    func start(_ answer: ViewerAnswer) throws {
        let answer = try RemoteAnswer(parsing: ByteBuffer(string: answer.description))
        let address = try #require(
            answer.candidates.first { $0.address.transport == transport }
        ).address
        port = Int(address.port)
        if transport == .tcp { receiver = try Connection(port: port) }
        fingerprint = answer.fingerprint
        ssrc = answer.ssrc
        audioSSRC = answer.description.section(.audio)?.ssrc
        ice = ICEClientAgent(
            local: local, remote: answer.ice, candidates: [address], at: clock.now,
            random: clock.world.random)
    }

    /// Checks again with the credentials of a restart.
    func restart(_ local: ICECredentials, _ fragment: String) throws {
        let fragment = try TrickleFragment(parsing: ByteBuffer(string: fragment))
        let address = try #require(
            fragment.candidates.first { $0.address.transport == transport }
        ).address
        ice = ICEClientAgent(
            local: local, remote: try #require(fragment.ice), candidates: [address],
            at: clock.now, random: clock.world.random)
    }

    func move() throws {
        receiver = transport == .tcp ? try Connection(port: port) : try Receiver()
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
        let server = TransportAddress(
            ipv4: 0x7F00_0001, port: UInt16(clamping: port), transport: transport)
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
        if let audioSSRC, source == audioSSRC.rawValue {
            if let plain = try audioOpener?.open(datagram) {
                sound.append(try Packet(validating: plain))
            }
            return
        }
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
                audioOpener = try SRTPOpener(profile: keys.profile, keys: keys.remote)
                resendOpener = try SRTPOpener(profile: keys.profile, keys: keys.remote)
                reportOpener = try SRTCPOpener(profile: keys.profile, keys: keys.remote)
            case .failed, .closed: hasLeft = true
            }
        }
    }
}

/// A service with one camera on the last of two loops.
final class Rig {
    let clock = ManualClock()
    let registry = MetricsRegistry()
    let service: LiveService
    let id: CameraID
    private let loops: MultiThreadedEventLoopGroup
    private let camera: NIOLoopBound<LiveCamera>
    private let sub: NIOLoopBound<LiveCamera>
    private(set) var film: Film
    private var subFilm: Film
    private let loop: any EventLoop
    private let heard = Wishes()

    private final class Wishes: Sendable {
        let list = Mutex<[Bool]>([])
    }

    /// The wishes for the sub-stream, in order.
    var wishes: [Bool] { heard.list.withLock { $0 } }

    init(port: Int = 0, addresses: [String] = ["127.0.0.1"]) async throws {
        loops = MultiThreadedEventLoopGroup(numberOfThreads: 2)
        let all = Array(loops.makeIterator())
        let service = try await Self.service(clock, registry, all, port, addresses)
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

    /// Where any port will do, one whose number no other test has for TCP.
    private static func service(
        _ clock: ManualClock, _ registry: MetricsRegistry, _ eventLoops: [any EventLoop],
        _ port: Int, _ addresses: [String]
    ) async throws -> LiveService {
        while true {
            let service = try await LiveService(
                world: clock.world, registry: registry, eventLoops: eventLoops, port: port,
                hasTCP: true, addresses: addresses)
            guard port == 0, service.tcpFailure != nil else { return service }
            await service.stop()
        }
    }

    func stop() async throws {
        await service.stop()
        try await loops.shutdownGracefully()
    }

    func play(_ count: Int = 1, isRandomAccessPoint: Bool = false) async throws {
        for index in 0..<count {
            let unit = film.unit(isRandomAccessPoint: isRandomAccessPoint && index == 0, packets: 3)
            let (sets, now) = (film.sets, clock.now)
            try await loop.submit { [camera] in camera.value.receive(unit, sets, at: now) }.get()
        }
    }

    func playSub(isRandomAccessPoint: Bool = false) async throws {
        let unit = subFilm.unit(isRandomAccessPoint: isRandomAccessPoint, packets: 2)
        let (sets, now) = (subFilm.sets, clock.now)
        try await loop.submit { [sub] in sub.value.receive(unit, sets, at: now) }.get()
    }

    /// Packets of 20 ms of sound.
    func sing(_ times: ClosedRange<Int64>) async throws {
        for number in times {
            let packet = AudioPacket(
                codec: .pcma, payload: ByteBuffer(repeating: UInt8(number), count: 160),
                time: number * 160, marker: false, wallTime: WallTime(microseconds: number))
            let now = clock.now
            try await loop.submit { [camera] in camera.value.receive(packet, at: now) }.get()
        }
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
    func watch(
        _ transport: TransportAddress.Transport = .udp, quality: StreamQuality = .auto
    ) async throws -> (viewer: Viewer, answer: ViewerAnswer) {
        let viewer = try Viewer(clock, transport)
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

/// Numbers without a gap, and times that never go back.
func expectRun(_ packets: [Packet]) {
    for (packet, next) in zip(packets, packets.dropFirst()) {
        #expect(next.sequenceNumber.distance(from: packet.sequenceNumber) == 1)
        #expect(next.timestamp.distance(from: packet.timestamp) >= 0)
    }
}
