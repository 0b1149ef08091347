// One connection to one camera: bytes from the socket through the RTSP and RTP cores to access units.
// SPDX-License-Identifier: Apache-2.0

import Domain
import H26x
import NIOCore
import Primitives
import RTP
import RTPFormats
import RTSP

/// What the connection tells its supervisor, on the camera's event loop. The number of the attempt
/// tells a connection that was given up from the present one.
protocol RTSPClientDelegate: AnyObject {
    func connectionIsPlaying(attempt: UInt64, at now: Instant)
    func connectionReceived(
        _ unit: AccessUnit, _ parameterSets: ParameterSets, attempt: UInt64, at now: Instant)
    func connectionReceived(_ audio: AudioPacket, attempt: UInt64, at now: Instant)
    func connectionDiscarded(reason: DiscardReason)
    /// A unit was given another time than the camera's, whose clock jumped or went back.
    func connectionRestamped()
    func connectionFailed(_ failure: CameraFailure, attempt: UInt64, at now: Instant)
}

/// Runs the actions of `RTSP.ClientSession`; the packet path is plain calls on the camera's loop.
final class RTSPClientHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private var session: ClientSession
    private var reception: VideoReception?
    private var audioReception: AudioReception?
    private let ownSource: SSRC
    private var nextReport: Instant
    private let attempt: UInt64
    /// Failed, closed or given up: nothing of it counts any more.
    private var isOver = false
    private var ticker: RepeatedTask?
    private weak var delegate: (any RTSPClientDelegate)?
    private let now: @Sendable () -> Instant
    private var wall: WallAnchor

    /// - Parameter ownSource: by which the camera knows our reports.
    init(
        session: ClientSession, ownSource: SSRC, attempt: UInt64,
        delegate: any RTSPClientDelegate, wall: WallAnchor,
        now: @escaping @Sendable () -> Instant
    ) {
        self.session = session
        self.ownSource = ownSource
        self.attempt = attempt
        nextReport = now() + Limits.receptionReportInterval
        self.delegate = delegate
        self.wall = wall
        self.now = now
    }

    /// `none`, `basic` or `digest`.
    var authentication: String { session.authentication }

    /// The codec of the sound that the camera offers, taken or not.
    var offeredAudio: String? { session.offeredAudio.map { $0.codec.encoding } }

    func channelActive(context: ChannelHandlerContext) {
        guard !isOver else { return context.close(promise: nil) }
        let now = now()
        session.start(at: now)
        run(context: context, at: now)
        // Keep-alive deadlines are tens of seconds: a tick a second serves them, and no timer is
        // re-armed for each packet.
        let bound = NIOLoopBound((self, context), eventLoop: context.eventLoop)
        ticker = context.eventLoop.scheduleRepeatedTask(
            initialDelay: .seconds(1), delay: .seconds(1)
        ) {
            _ in
            let (handler, context) = bound.value
            let now = handler.now()
            handler.session.advance(to: now)
            handler.reportReception(at: now)
            handler.run(context: context, at: now)
        }
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard !isOver else { return }
        let now = now()
        session.receive(unwrapInboundIn(data), at: now)
        run(context: context, at: now)
    }

    func channelInactive(context: ChannelHandlerContext) {
        ticker?.cancel()
        ticker = nil
        session.disconnected(at: now())
        fail(
            CameraFailure(.closed, "the camera closed the connection"), context: context, at: now())
        context.fireChannelInactive()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        fail(CameraFailure(.closed, "the connection broke: \(error)"), context: context, at: now())
    }

    /// Nobody waits for this connection any more: whatever becomes of it is not reported.
    func abandon() {
        isOver = true
        delegate = nil
    }

    /// Ends the session as a good client does, then closes.
    func close(context: ChannelHandlerContext) {
        abandon()
        session.teardown(at: now())
        while let output = session.pollOutput() {
            if case .send(let bytes) = output {
                context.write(wrapOutboundOut(bytes), promise: nil)
            }
        }
        context.flush()
        context.close(promise: nil)
    }

    private func run(context: ChannelHandlerContext, at now: Instant) {
        var wrote = false
        while let output = session.pollOutput() {
            switch output {
            case .send(let bytes):
                context.write(wrapOutboundOut(bytes), promise: nil)
                wrote = true
            case .described(let described):
                reception = VideoReception(track: described)
            case .hasAudio(let track):
                audioReception = AudioReception(track: track)
            case .playing:
                delegate?.connectionIsPlaying(attempt: attempt, at: now)
            case .rtp(let bytes):
                receive(rtp: bytes, at: now)
            case .rtcp(let bytes):
                receive(rtcp: bytes, at: now)
            case .audio(let bytes):
                receive(audio: bytes, at: now)
            case .failed(let failure):
                fail(CameraFailure(failure), context: context, at: now)
            }
        }
        if wrote { context.flush() }
    }

    private func receive(rtp bytes: ByteBuffer, at now: Instant) {
        guard let outcome = reception?.receive(rtp: bytes, at: now) else { return }
        for reason in outcome.discarded { delegate?.connectionDiscarded(reason: reason) }
        if outcome.isRestamped { delegate?.connectionRestamped() }
        guard var unit = outcome.unit, let parameterSets = reception?.parameterSets else { return }
        unit.wallTime = wall.wallTime(at: now)
        delegate?.connectionReceived(unit, parameterSets, attempt: attempt, at: now)
    }

    private func receive(audio bytes: ByteBuffer, at now: Instant) {
        do {
            let packet = try audioReception?.receive(bytes, at: wall.wallTime(at: now))
            guard let packet else { return }
            delegate?.connectionReceived(packet, attempt: attempt, at: now)
        } catch {
            delegate?.connectionDiscarded(reason: .malformedPacket)
        }
    }

    private func receive(rtcp bytes: ByteBuffer, at now: Instant) {
        if reception?.receive(rtcp: bytes, at: now) == false {
            delegate?.connectionDiscarded(reason: .malformedReport)
        }
    }

    /// Some cameras end a session whose receiver never reports (RFC 3550 §6.2: every 5 s on average).
    private func reportReception(at now: Instant) {
        guard now >= nextReport, let block = reception?.reportBlock(at: now) else { return }
        nextReport = now + Limits.receptionReportInterval
        session.send(
            rtcp: RTCPPacket.serialize([
                .receiverReport(ReceiverReport(ssrc: ownSource, reports: [block])),
                .sdes(ssrc: ownSource, cname: "marsad"),
            ]))
    }

    private func fail(_ failure: CameraFailure, context: ChannelHandlerContext, at now: Instant) {
        guard !isOver else { return }
        isOver = true
        delegate?.connectionFailed(failure, attempt: attempt, at: now)
        context.close(promise: nil)
    }
}

extension CameraFailure {
    fileprivate init(_ failure: SessionFailure) {
        let kind: Kind =
            switch failure.kind {
            case .authentication: .authentication
            case .notFound: .notFound
            case .noVideo: .noVideo
            case .closed: .closed
            case .protocol: .protocolError
            }
        self.init(kind, failure.reason)
    }
}
