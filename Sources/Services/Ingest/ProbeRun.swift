// One probe of one camera, on its event loop.
// SPDX-License-Identifier: Apache-2.0

import Domain
import H26x
import NIOCore
import NIOPosix
import Primitives
import RTP
import RTPFormats
import RTSP

/// Connects like a camera's supervisor does, looks at what comes, and hangs up. It keeps itself until it
/// has answered.
final class ProbeRun: RTSPClientDelegate {
    private let url: RTSPURL
    private let world: World
    private let policy: NetworkPolicy
    private let loop: any EventLoop
    private let promise: EventLoopPromise<Result<ProbeReport, CameraFailure>>
    private let begun: Instant
    private var handler: RTSPClientHandler?
    private var channel: (any Channel)?
    private var timer: Scheduled<Void>?
    private var isOver = false
    private var playingAt: Instant?
    private var report = ProbeReport()
    /// Since the first keyframe.
    private var frames = 0
    private var bytes = 0
    private var firstTime: Int64 = 0
    private var lastTime: Int64 = 0
    private var keyframeAt: Instant?

    init(
        _ url: RTSPURL, world: World, policy: NetworkPolicy, loop: any EventLoop,
        _ promise: EventLoopPromise<Result<ProbeReport, CameraFailure>>
    ) {
        self.url = url
        self.world = world
        self.policy = policy
        self.loop = loop
        self.promise = promise
        begun = world.now()
    }

    func start(_ resolver: NIOThreadPool) {
        let bound = NIOLoopBound(self, eventLoop: loop)
        arm(Limits.connectTimeout)
        if let address = try? SocketAddress(ipAddress: url.host, port: url.port) {
            return connect(to: address)
        }
        let (host, port) = (url.host, url.port)
        resolver.runIfActive(eventLoop: loop) {
            try SocketAddress.makeAddressResolvingHost(host, port: port)
        }.whenComplete { result in
            switch result {
            case .success(let address): bound.value.connect(to: address)
            case .failure:
                bound.value.end(CameraFailure(.address, "the host name has no address"))
            }
        }
    }

    /// The address that passed the policy is the one connected to.
    private func connect(to address: SocketAddress) {
        guard !isOver else { return }
        guard policy.allows(address) else {
            return end(
                CameraFailure(.network, "the address is outside ingest.camera_networks"))
        }
        let session = ClientSession(
            url: url, credentials: url.credentials, userAgent: "Marsad",
            nonce: { [world] in world.secureRandomBytes(8).hex })
        let handler = RTSPClientHandler(
            session: session,
            ownSource: SSRC(rawValue: UInt32(truncatingIfNeeded: world.random())), attempt: 1,
            delegate: self, wall: WallAnchor(world: world), now: world.now)
        self.handler = handler
        let boundHandler = NIOLoopBound(handler, eventLoop: loop)
        let bound = NIOLoopBound(self, eventLoop: loop)
        ClientBootstrap(group: loop)
            .connectTimeout(.nanoseconds(Limits.connectTimeout.saturatingNanoseconds))
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(boundHandler.value)
                }
            }
            .connect(to: address)
            .whenComplete { bound.value.connected($0) }
    }

    private func connected(_ result: Result<any Channel, any Error>) {
        switch result {
        case .success(let channel):
            guard !isOver else { return channel.close(promise: nil) }
            self.channel = channel
        case .failure(let error):
            let isTimeout =
                if case .connectTimeout? = error as? ChannelError { true } else { false }
            end(
                isTimeout
                    ? CameraFailure(.timeout, "no TCP connection in time")
                    : CameraFailure(.refused, "the TCP connection was refused or unreachable"))
        }
    }

    /// When the phase under way has taken too long, or enough was seen.
    private func arm(_ duration: Duration) {
        timer?.cancel()
        let bound = NIOLoopBound(self, eventLoop: loop)
        timer = loop.scheduleTask(in: .nanoseconds(duration.saturatingNanoseconds)) {
            bound.value.timeIsUp()
        }
    }

    private func timeIsUp() {
        if keyframeAt != nil { return finish() }
        if playingAt != nil {
            return end(CameraFailure(.silent, "no keyframe in time after PLAY"))
        }
        end(CameraFailure(.timeout, "no answer to PLAY in time"))
    }

    // MARK: RTSPClientDelegate

    func connectionIsPlaying(attempt: UInt64, at now: Instant) {
        playingAt = now
        report.timeToPlay = now - begun
        report.authentication = handler?.authentication ?? "none"
        report.audio = handler?.offeredAudio
        arm(Limits.probeKeyframe)
    }

    func connectionReceived(
        _ unit: AccessUnit, _ parameterSets: ParameterSets, attempt: UInt64, at now: Instant
    ) {
        guard !isOver else { return }
        if keyframeAt == nil {
            guard unit.isRandomAccessPoint else { return }
            keyframeAt = now
            describe(parameterSets)
            report.timeToKeyframe = now - begun
            firstTime = unit.decodeTime
            arm(Limits.probeWatch)
        } else if unit.isRandomAccessPoint, report.gopLength == nil {
            report.gopLength = frames
        }
        frames += 1
        bytes += unit.avcc.readableBytes
        lastTime = unit.decodeTime
        if parameterSets.codec == .h264, unit.hasBSliceOfH264 { report.hasBFrames = true }
        if report.gopLength != nil, let keyframeAt, now - keyframeAt >= Limits.probeAtLeast {
            finish()
        }
    }

    private func describe(_ sets: ParameterSets) {
        report.codec = sets.sequence.codecString
        report.profile = sets.sequence.profileName
        report.width = sets.sequence.width
        report.height = sets.sequence.height
        report.announcedFramesPerSecond = sets.sequence.framesPerSecond
        report.hasBFrames = (sets.sequence.maxNumReorderFrames ?? 0) > 0
    }

    func connectionReceived(_ audio: AudioPacket, attempt: UInt64, at now: Instant) {}
    func connectionDiscarded(reason: DiscardReason) {}
    func connectionRestamped() {}

    func connectionFailed(_ failure: CameraFailure, attempt: UInt64, at now: Instant) {
        if keyframeAt != nil { return finish() }
        end(failure)
    }

    // MARK: Ending

    private func finish() {
        let seconds = Double(lastTime - firstTime) / 90_000
        if frames > 1, seconds > 0 {
            report.framesPerSecond = Double(frames - 1) / seconds
            report.bitsPerSecond = Int(min(Double(bytes) * 8 / seconds, 1e12))
        }
        end(.success(report))
    }

    private func end(_ failure: CameraFailure) { end(.failure(failure)) }

    private func end(_ result: Result<ProbeReport, CameraFailure>) {
        guard !isOver else { return }
        isOver = true
        timer?.cancel()
        if let channel, let handler {
            if let context = try? channel.pipeline.syncOperations.context(handler: handler) {
                handler.close(context: context)
            } else {
                channel.close(promise: nil)
            }
        } else {
            handler?.abandon()
        }
        // What goes on holds this object no longer.
        promise.succeed(result)
    }
}
