// Keeps one camera connected: runs the actions of its machine on the camera's event loop.
// SPDX-License-Identifier: Apache-2.0

import Domain
import H26x
import Logging
import NIOCore
import NIOPosix
import Observability
import Primitives
import RTP
import RTPFormats
import RTSP

/// Owns a camera's connection and feed. Created, used and dropped on one event loop.
final class CameraSupervisor: AssignedCamera, RTSPClientDelegate {
    private let camera: Camera
    private let address: Redacted<String>
    private let wantsAudio: Bool
    private let feed: CameraFeed
    private let status: CameraStatus
    private let shared: IngestShared
    private let eventLoop: any EventLoop
    private var machine: SupervisorMachine
    private var connection: Connection = .none
    private var timer: Scheduled<Void>?
    private var logger: Logger
    private let bytesReceived: Counter

    /// What stands between the camera and us at the moment. The number tells a late answer of an
    /// abandoned attempt from one of the present attempt.
    private enum Connection {
        case none
        case resolving(RTSPURL, attempt: UInt64)
        case connecting(RTSPClientHandler, attempt: UInt64)
        case open(any Channel, RTSPClientHandler)
    }
    private var isLookingUp = false
    private var holdsConnectPermit = false

    init(
        camera: Camera, stream: CameraStream = .main, status: CameraStatus, sinks: [FeedSink],
        shared: IngestShared, eventLoop: any EventLoop
    ) {
        self.camera = camera
        switch stream {
        case .main: address = camera.address
        case .sub: address = camera.subAddress ?? Redacted("")
        }
        wantsAudio = camera.hasAudio && stream == .main
        self.status = status
        self.shared = shared
        self.eventLoop = eventLoop
        feed = CameraFeed(status: status, sinks: sinks)
        machine = SupervisorMachine(seed: shared.world.random(), startAt: shared.world.now())
        logger = shared.logger
        bytesReceived = shared.metrics.bytes(camera.source)
        logger[metadataKey: "camera_id"] = "\(camera.id)"
        logger[metadataKey: "source"] = "\(camera.source)"
        if stream == .sub { logger[metadataKey: "stream"] = "sub" }
    }

    func start() { advance() }

    func stop() {
        machine.stop()
        timer?.cancel()
        releasePermit()
        closeConnection()
        feed.end()
        publish()
    }

    // MARK: The machine's clock

    private func advance() {
        let now = shared.world.now()
        switch machine.advance(to: now) {
        case .connect?:
            connect(at: now)
        case .disconnect(let failure)?:
            ended(failure, at: now)
        case nil:
            break
        }
        publish()
        armTimer()
    }

    /// While frames arrive the deadline moves with each; the timer is only re-armed when it fires.
    private func armTimer() {
        timer?.cancel()
        guard let deadline = machine.deadline else { return }
        let wait = max(0, (deadline - shared.world.now()).saturatingNanoseconds) + 1_000_000
        let bound = NIOLoopBound(self, eventLoop: eventLoop)
        timer = eventLoop.scheduleTask(in: .nanoseconds(wait)) { bound.value.advance() }
    }

    // MARK: Connecting

    private func connect(at now: Instant) {
        guard shared.takeConnectPermit() else {
            machine.postpone(until: now + .milliseconds(50))
            return
        }
        holdsConnectPermit = true
        let url: RTSPURL
        do throws(RTSPError) {
            url = try RTSPURL(parsing: address.reveal())
        } catch {
            let reason =
                error.reason == .unsupportedScheme
                ? "the address does not begin with rtsp:// (rtsps:// is not supported)"
                : "the address is not an rtsp URL"
            return ended(CameraFailure(.address, reason), at: now)
        }
        connection = .resolving(url, attempt: machine.attempt)
        if let address = try? SocketAddress(ipAddress: url.host, port: url.port) {
            return resolved(.success(address))
        }
        lookUp(url)
    }

    /// Resolution blocks, so it is done on a thread of its own; the address that passed the policy is
    /// the one connected to (no second look-up that could answer otherwise).
    ///
    /// A dead name server answers later than we give an attempt up. The look-up that is still under way
    /// then serves the next attempt: a camera never has two in the queue.
    private func lookUp(_ url: RTSPURL) {
        guard !isLookingUp else { return }
        isLookingUp = true
        let host = url.host
        let port = url.port
        let bound = NIOLoopBound(self, eventLoop: eventLoop)
        shared.resolver.runIfActive(eventLoop: eventLoop) {
            try SocketAddress.makeAddressResolvingHost(host, port: port)
        }.whenComplete { result in
            bound.value.isLookingUp = false
            bound.value.resolved(result)
        }
    }

    private func resolved(_ result: Result<SocketAddress, any Error>) {
        guard case .resolving(let url, let attempt) = connection else { return }
        let address: SocketAddress
        switch result {
        case .failure:
            return ended(
                CameraFailure(.address, "the host name has no address"), at: shared.world.now())
        case .success(let found):
            address = found
        }
        guard shared.policy.allows(address) else {
            let reason = "the address is outside ingest.camera_networks"
            return ended(CameraFailure(.network, reason), at: shared.world.now())
        }
        open(address, url, attempt: attempt)
    }

    private func open(_ address: SocketAddress, _ url: RTSPURL, attempt: UInt64) {
        let session = ClientSession(
            url: url, credentials: url.credentials, userAgent: "Marsad",
            wantsAudio: wantsAudio,
            nonce: { [world = shared.world] in world.secureRandomBytes(8).hex })
        let handler = RTSPClientHandler(
            session: session,
            ownSource: SSRC(rawValue: UInt32(truncatingIfNeeded: shared.world.random())),
            attempt: attempt, delegate: self, wall: WallAnchor(world: shared.world),
            now: shared.world.now)
        connection = .connecting(handler, attempt: attempt)
        let boundHandler = NIOLoopBound(handler, eventLoop: eventLoop)
        let bound = NIOLoopBound(self, eventLoop: eventLoop)
        ClientBootstrap(group: eventLoop)
            .connectTimeout(.nanoseconds(Limits.connectTimeout.saturatingNanoseconds))
            .channelOption(.socketOption(.so_keepalive), value: 1)
            .channelOption(.tcpOption(.tcp_nodelay), value: 1)
            .channelOption(
                .recvAllocator,
                value: AdaptiveRecvByteBufferAllocator(
                    minimum: 2048, initial: 16_384, maximum: 65_536)
            )
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(boundHandler.value)
                }
            }
            .connect(to: address)
            .whenComplete { result in
                bound.value.connected(result, handler: boundHandler.value, attempt: attempt)
            }
    }

    private func connected(
        _ result: Result<any Channel, any Error>, handler: RTSPClientHandler, attempt: UInt64
    ) {
        guard case .connecting(_, attempt) = connection else {
            if case .success(let channel) = result { channel.close(promise: nil) }
            return
        }
        switch result {
        case .success(let channel):
            guard channel.isActive else { return }
            connection = .open(channel, handler)
        case .failure(let error):
            let isTimeout =
                if case .connectTimeout? = error as? ChannelError { true } else { false }
            let failure =
                isTimeout
                ? CameraFailure(.timeout, "no TCP connection within 10 s")
                : CameraFailure(.refused, "the TCP connection was refused or unreachable")
            ended(failure, at: shared.world.now())
        }
    }

    // MARK: RTSPClientDelegate

    func connectionIsPlaying(attempt: UInt64, at now: Instant) {
        guard machine.isCurrent(attempt) else { return }
        releasePermit()
        machine.playing(at: now)
        armTimer()
    }

    func connectionReceived(
        _ unit: AccessUnit, _ parameterSets: ParameterSets, attempt: UInt64, at now: Instant
    ) {
        guard machine.isCurrent(attempt) else { return }
        let wasActive = machine.status == .active
        machine.frame(at: now)
        bytesReceived.increment(by: UInt64(unit.avcc.readableBytes))
        feed.publish(unit, parameterSets, at: now)
        guard !wasActive else { return }
        status.update {
            $0.stream.connectedAt = unit.wallTime
            $0.stream.lastFailure = nil
        }
        logger.info("camera is delivering", metadata: ["event": "camera_active"])
        publish()
        armTimer()
    }

    func connectionReceived(_ audio: AudioPacket, attempt: UInt64, at now: Instant) {
        guard machine.isCurrent(attempt) else { return }
        feed.publish(audio, at: now)
    }

    func connectionDiscarded(reason: DiscardReason) {
        shared.metrics.discarded(camera.source, reason).increment()
    }

    func connectionRestamped() { shared.metrics.restamped(camera.source).increment() }

    func connectionFailed(_ failure: CameraFailure, attempt: UInt64, at now: Instant) {
        guard machine.isCurrent(attempt) else { return }
        ended(failure, at: now)
    }

    // MARK: Ending

    /// After a failure that the machine reported, or learns of here (it takes each attempt's first only).
    private func ended(_ failure: CameraFailure, at now: Instant) {
        let wasDelivering = status.read().stream.status == .active
        machine.failed(failure, at: now)
        releasePermit()
        closeConnection()
        shared.metrics.failures(camera.source, failure.kind).increment()
        if wasDelivering { feed.interrupted(.sourceLost, at: now) }
        status.update { $0.stream.lastFailure = failure }
        logger.info(
            "camera failed",
            metadata: [
                "event": "camera_failed", "error": "\(failure.reason)",
                "reason": "\(failure.kind.rawValue)", "retry_count": "\(machine.retryCount)",
            ])
        publish()
        armTimer()
    }

    private func closeConnection() {
        // First, as closing may call back.
        let given = connection
        connection = .none
        switch given {
        case .none, .resolving:
            break
        case .connecting(let handler, _):
            handler.abandon()
        case .open(let channel, let handler):
            if let context = try? channel.pipeline.syncOperations.context(handler: handler) {
                handler.close(context: context)
            } else {
                handler.abandon()
                channel.close(promise: nil)
            }
        }
    }

    private func releasePermit() {
        guard holdsConnectPermit else { return }
        holdsConnectPermit = false
        shared.returnConnectPermit()
    }

    private func publish() {
        let machineStatus = machine.status
        let retries = machine.retryCount
        status.update {
            $0.stream.status = machineStatus
            $0.stream.retryCount = retries
        }
    }
}
