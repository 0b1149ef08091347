// Live viewing: offers in, answers out, and the loops that carry the viewers.
// SPDX-License-Identifier: Apache-2.0

import CNetwork
package import Domain
import Glibc
package import NIOCore
import NIOPosix
package import Observability
import Primitives
import RTP
import WebRTC

/// The viewers of this node's cameras.
package final class LiveService: Sendable {
    let shared: LiveShared
    let identity: DTLSIdentity
    let loops: [LiveLoop.Handle]
    private let channels: [any Channel]
    let candidates: [Candidate]
    /// The port of all sessions, of UDP and of TCP.
    package let port: Int
    /// Why there is no TCP although it was asked for: the port is taken.
    package let tcpFailure: (any Error)?

    /// Opens the port on each loop.
    /// - Parameters:
    ///   - port: 0 takes a free one.
    ///   - hasTCP: whether connections are taken beside datagrams.
    ///   - addresses: numeric addresses at which viewers reach this machine, the best first.
    ///   - maxTranscodes: streams that are transcoded at once for viewers who cannot take what is sent.
    package init(
        world: World, registry: MetricsRegistry, eventLoops: [any EventLoop], port: Int,
        hasTCP: Bool, addresses: [String], maxTranscodes: Int = 4
    ) async throws {
        let shared = LiveShared(
            world: world, metrics: LiveMetrics(registry: registry), maxTranscodes: maxTranscodes)
        self.shared = shared
        identity = try DTLSIdentity()
        var loops: [LiveLoop.Handle] = []
        var channels: [any Channel] = []
        var bound = UInt16(clamping: port)
        let taken = bound == 0 ? 0 : marsad_udp_probe(bound)
        guard taken == 0 else { throw LivePortError(port: port, errorNumber: taken) }
        // More loops than letters for their fragments would serve no machine.
        for (index, eventLoop) in eventLoops.prefix(26).enumerated() {
            var isDual: Int32 = 0
            let descriptor = marsad_udp_open(bound, Int32(Limits.socketBytes), &isDual, &bound)
            guard descriptor >= 0 else {
                throw LivePortError(port: Int(bound), errorNumber: -descriptor)
            }
            let isDualStack = isDual != 0
            let (handle, channel) = try await Self.open(
                index, eventLoop, descriptor, isDualStack, shared)
            loops.append(handle)
            channels.append(channel)
        }
        self.loops = loops
        self.port = Int(bound)
        var transports = [TransportAddress.Transport.udp]
        var tcpFailure: (any Error)?
        if hasTCP {
            do {
                channels += try await LiveListener(shared.metrics).open(port: bound, loops)
                transports.append(.tcp)
            } catch {
                tcpFailure = error
            }
        }
        self.tcpFailure = tcpFailure
        self.channels = channels
        // Eight apart: TCP's priorities have three bits fewer for it.
        candidates = transports.flatMap { transport in
            addresses.enumerated().compactMap { index, host in
                TransportAddress(host: host, port: bound, transport: transport).map {
                    Candidate($0, preference: UInt16(clamping: 65_535 - 8 * index))
                }
            }
        }
        for loop in loops { loop.run { [loops] in $0.start(loops) } }
    }

    private static func open(
        _ index: Int, _ eventLoop: any EventLoop, _ descriptor: Int32, _ isDual: Bool,
        _ shared: LiveShared
    ) async throws -> (LiveLoop.Handle, any Channel) {
        // One descriptor for NIO to read and close, one to send past it.
        let sending = dup(descriptor)
        guard sending >= 0 else { throw LivePortError(port: 0, errorNumber: errno) }
        let handle = try await eventLoop.submit {
            LiveLoop.Handle(
                LiveLoop(
                    index: index, eventLoop: eventLoop,
                    socket: LiveSocket(descriptor: sending, isDual: isDual), shared: shared))
        }.get()
        let channel = try await DatagramBootstrap(group: eventLoop)
            .channelOption(.datagramVectorReadMessageCount, value: 16)
            .channelOption(
                .recvAllocator, value: FixedSizeRecvByteBufferAllocator(capacity: 16 * 2048)
            )
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try handle.withLoop { loop in
                        try channel.pipeline.syncOperations.addHandler(
                            LiveDatagramHandler(loop: loop))
                    }
                }
            }
            .withBoundSocket(descriptor).get()
        return (handle, channel)
    }

    /// Ends all sessions and closes the port.
    package func stop() async {
        for loop in loops { _ = try? await loop.submit { $0.stop() } }
        for channel in channels { try? await channel.close() }
    }

    /// What takes a camera's units for its viewers; call on the camera's loop.
    package func makeCamera(_ id: CameraID, on eventLoop: any EventLoop) -> LiveCamera {
        let shared = shared
        let source = LiveSource(id)
        let serial = shared.world.random()
        let camera = LiveCamera(
            source, shared: shared, on: eventLoop, timeOffset: UInt32(truncatingIfNeeded: serial)
        ) { shared.removeCamera(source, serial: serial) }
        shared.setCamera(LiveCamera.Handle(camera, serial: serial, on: eventLoop), source)
        return camera
    }

    /// The same for the sub-stream of a camera that was made, on the same loop.
    /// - Parameter want: is told there when the stream begins and ceases to be needed.
    package func makeSubCamera(
        _ id: CameraID, on eventLoop: any EventLoop, want: @escaping (Bool) -> Void
    ) -> LiveCamera {
        let shared = shared
        let source = LiveSource(id, .sub)
        let serial = shared.world.random()
        let main = shared.camera(LiveSource(id))?.value
        let camera = LiveCamera(
            source, shared: shared, on: eventLoop, timeOffset: main?.timeOffset ?? 0, main: main,
            want: want
        ) { shared.removeCamera(source, serial: serial) }
        shared.setCamera(LiveCamera.Handle(camera, serial: serial, on: eventLoop), source)
        return camera
    }

    /// Connected viewers by camera.
    package func viewers() -> [CameraID: Int] { shared.viewers() }

    // MARK: Sessions

    /// Answers a viewer's offer (WHEP POST).
    package func open(
        _ cameraID: CameraID, offer text: String, quality: StreamQuality = .auto
    ) async throws(MarsadError) -> ViewerAnswer {
        let offer = try Self.reading { () throws(OfferError) in
            try Offer(parsing: ByteBuffer(string: text))
        }
        guard let camera = shared.camera(LiveSource(cameraID)) else { throw .noPicture }
        let (codec, name) = try await codec(of: camera, for: offer)
        let sound = (try? await camera.submit { $0.sound.codec }) ?? nil
        let loop = loop(for: camera, cameraID)
        let world = shared.world
        let ssrc = SSRC(rawValue: UInt32(truncatingIfNeeded: world.random()))
        let rtxSSRC = SSRC(rawValue: UInt32(truncatingIfNeeded: world.random()))
        let audioSSRC = SSRC(rawValue: UInt32(truncatingIfNeeded: world.random()))
        let local = LiveShared.credentials(loop: loop.index, random: world.secureRandom)
        let answer = try Self.reading { () throws(OfferError) in
            try Answer.viewing(
                offer,
                video: VideoDescription(
                    codec: name, ssrc: ssrc, rtxSSRC: rtxSSRC,
                    cname: LiveShared.canonicalName, streamID: cameraID.rawValue),
                audio: sound.map { AudioDescription(codec: $0, ssrc: audioSSRC) }, ice: local,
                fingerprint: identity.fingerprint, candidates: candidates)
        }
        let format = ViewerFormat(
            payloadType: answer.payloadType, rtxPayloadType: answer.rtxPayloadType, ssrc: ssrc,
            rtxSSRC: rtxSSRC)
        let audio = sound.flatMap { codec in
            answer.audio.map {
                AudioFormat(codec: codec, payloadType: $0.codec.payloadType, ssrc: audioSSRC)
            }
        }
        let sub = shared.camera(LiveSource(cameraID, .sub))
        return try await begin(answer, local, .init(loop: loop, cameraID: cameraID)) {
            [shared] opening, loop, now in
            // The first picture is the main stream's: the other one has to be connected to first. But
            // who asked for little is not given much.
            let group =
                if quality == .low, let sub {
                    loop.group(of: .init(source: LiveSource(cameraID, .sub), codec: codec), sub)
                } else {
                    loop.group(of: .init(source: LiveSource(cameraID), codec: codec), camera)
                }
            let choice = ViewerSession.Choice(
                group: { [weak loop] stream in
                    let source = LiveSource(cameraID, stream)
                    guard let loop, let camera = shared.camera(source) else { return nil }
                    return loop.group(of: .init(source: source, codec: codec), camera)
                },
                onChange: shared.metrics.switched, now: shared.world.now)
            return ViewerSession(
                opening, format: format, audio: audio, group: group,
                policy: QualityPolicy(quality, hasSub: sub != nil, at: now), choice: choice,
                at: now)
        }
    }

    /// Opens the session that was agreed on, where it is to live.
    func begin(
        _ answer: Answer, _ local: ICECredentials, _ place: LiveShared.Place,
        _ session:
            @escaping @Sendable (LiveSession.Opening, LiveLoop, Instant) -> LiveSession
    ) async throws(MarsadError) -> ViewerAnswer {
        let world = shared.world
        let id = world.secureRandomBytes(16).hex
        try shared.admit(id, place)
        let etag = world.secureRandomBytes(8).hex
        let identity = identity
        _ = try? await place.loop.submit { loop in
            let now = world.now()
            let peer = PeerSession(
                local: local, remote: answer.remoteICE,
                remoteFingerprint: answer.remoteFingerprint, identity: identity,
                isDTLSServer: answer.isDTLSServer, at: now, random: world.secureRandom)
            let opening = LiveSession.Opening(
                id: id, cameraID: place.cameraID, etag: etag, answer: answer, peer: peer)
            loop.add(session(opening, loop, now))
        }
        return ViewerAnswer(
            sessionID: id, etag: etag,
            description: String(decoding: answer.serialize().readableBytesView, as: UTF8.self))
    }

    /// Trickled candidates, or an ICE restart (WHEP PATCH; RFC 9725 §4.3).
    package func patch(
        _ id: String, of cameraID: CameraID, fragment text: String, ifMatch: String?
    ) async throws(MarsadError) -> ViewerPatch {
        try await patch(id, of: cameraID, as: .viewer, fragment: text, ifMatch: ifMatch)
    }

    func patch(
        _ id: String, of cameraID: CameraID, as role: LiveShared.Role, fragment text: String,
        ifMatch: String?
    ) async throws(MarsadError) -> ViewerPatch {
        let fragment = try Self.reading { () throws(OfferError) in
            try TrickleFragment(parsing: ByteBuffer(string: text))
        }
        guard let place = shared.place(id), place.cameraID == cameraID, place.role == role else {
            throw MarsadError(.notFound)
        }
        guard let ifMatch else { throw MarsadError(.preconditionRequired) }
        let world = shared.world
        let newLocal = LiveShared.credentials(loop: place.loop.index, random: world.secureRandom)
        let newTag = world.secureRandomBytes(8).hex
        let result = try? await place.loop.submit { loop -> Result<ViewerPatch, MarsadError> in
            guard let session = loop.session(id) else { return .failure(MarsadError(.notFound)) }
            guard ifMatch == "*" || ifMatch == "\"\(session.etag)\"" else {
                return .failure(MarsadError(.preconditionFailed))
            }
            guard let remote = fragment.ice, remote.ufrag != session.remoteFragment else {
                // Our side is lite: it waits for checks and needs none of the candidates.
                return .success(.accepted)
            }
            session.remoteFragment = remote.ufrag
            session.etag = newTag
            session.peer.restart(local: newLocal, remote: remote, at: world.now())
            loop.index(session)
            let body = session.answer.restartFragment(ice: newLocal).serialize()
            return .success(
                .restarted(
                    etag: newTag,
                    fragment: String(decoding: body.readableBytesView, as: UTF8.self)))
        }
        guard let result else { throw MarsadError(.notFound) }
        return try result.get()
    }

    /// Ends a session; false where there is none.
    package func close(_ id: String) async -> Bool {
        guard let place = shared.place(id), place.role == .viewer else { return false }
        return (try? await place.loop.submit { $0.close(id) }) ?? false
    }

    /// The newest pair of RTP and wall time of a camera.
    package func clock(of id: CameraID) async -> LiveClock? {
        try? await shared.camera(LiveSource(id))?.submit { $0.pair }
    }

    /// What is wrong with a peer's description, as the API says it.
    static func reading<T>(_ work: () throws(OfferError) -> T) throws(MarsadError) -> T {
        do {
            return try work()
        } catch {
            throw MarsadError(error)
        }
    }

    /// The camera's own loop, until it has so many viewers that they are better shared.
    private func loop(for camera: LiveCamera.Handle, _ id: CameraID) -> LiveLoop.Handle {
        let own = loops.first { $0.eventLoop === camera.eventLoop } ?? loops[0]
        let load = shared.load(of: id)
        guard (load[own.index] ?? 0) >= Limits.viewersPerLoop else { return own }
        return loops.min { (load[$0.index] ?? 0) < (load[$1.index] ?? 0) } ?? own
    }
}

/// The live port could not be opened.
package struct LivePortError: Error, CustomStringConvertible {
    package var port: Int
    package var errorNumber: Int32

    package var description: String {
        "UDP port \(port): " + String(cString: strerror(errorNumber))
    }
}

extension MarsadError {
    /// The draft wants 409 here, where other calls answer 503 (integration, WHEP).
    static var noPicture: MarsadError {
        MarsadError(.cameraUnavailable, status: 409, details: ["retry_after": "2"])
    }

    static func hasPublisher(_ id: CameraID) -> MarsadError {
        MarsadError(.conflict, details: ["camera_id": id.rawValue, "retry_after": "5"])
    }

    init(_ error: OfferError) {
        switch error {
        case .malformed(let reason):
            self.init(.invalidSDP, details: ["reason": String(reason.prefix(200))])
        case .wrongDirection:
            self.init(
                .invalidSDP, details: ["reason": "the direction is not that of this address"])
        case .unsupported(let reason):
            self.init(.unprocessable, details: ["reason": String(reason.prefix(200))])
        }
    }
}

extension World {
    /// Eight bytes of the cryptographic source as a number.
    var secureRandom: @Sendable () -> UInt64 {
        let bytes = secureRandomBytes
        return { bytes(8).reduce(0) { $0 << 8 | UInt64($1) } }
    }
}
