// One connection to one camera: bytes from the socket through the RTSP and RTP cores to access units.
// SPDX-License-Identifier: Apache-2.0

import H26x
import NIOCore
import Primitives
import RTP
import RTPFormats
import RTSP

/// What the connection tells its supervisor, on the camera's event loop.
protocol RTSPClientDelegate: AnyObject {
    func connectionIsPlaying(at now: Instant)
    func connectionReceived(_ unit: AccessUnit, _ parameterSets: ParameterSets, at now: Instant)
    func connectionDiscarded(reason: DiscardReason)
    /// A unit was given another time than the camera's, whose clock jumped or went back.
    func connectionRestamped()
    func connectionFailed(_ failure: CameraFailure, at now: Instant)
}

/// Why bytes of a camera were not used; each is counted.
enum DiscardReason: String, CaseIterable {
    case malformedPacket = "malformed_packet"
    case malformedPayload = "malformed_payload"
    case packetLoss = "packet_loss"
    case awaitingParameterSets = "awaiting_parameter_sets"
    case malformedReport = "malformed_report"
}

/// Runs the actions of `RTSP.ClientSession`; the packet path is plain calls on the camera's loop.
final class RTSPClientHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private var session: ClientSession
    private var depacketizer = H264Depacketizer(parameterSets: nil)
    private var receiver = Receiver()
    private let ownSource: SSRC
    private var nextReport: Instant
    private var unwrapper = TimestampUnwrapper()
    private var timeline = MediaTimeline()
    private var track: VideoTrack?
    private var hasFailed = false
    private var ticker: RepeatedTask?
    private weak var delegate: (any RTSPClientDelegate)?
    private let now: @Sendable () -> Instant
    private let wall: WallAnchor

    /// - Parameter ownSource: by which the camera knows our reports.
    init(
        session: ClientSession, ownSource: SSRC, delegate: any RTSPClientDelegate,
        wall: WallAnchor, now: @escaping @Sendable () -> Instant
    ) {
        self.session = session
        self.ownSource = ownSource
        nextReport = now() + Limits.receptionReportInterval
        self.delegate = delegate
        self.wall = wall
        self.now = now
    }

    func channelActive(context: ChannelHandlerContext) {
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

    /// Ends the session as a good client does, then closes.
    func close(context: ChannelHandlerContext) {
        hasFailed = true
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
                track = described
                depacketizer = H264Depacketizer(parameterSets: described.parameterSets)
            case .playing:
                delegate?.connectionIsPlaying(at: now)
            case .rtp(let bytes):
                receive(rtp: bytes, at: now)
            case .rtcp(let bytes):
                receive(rtcp: bytes, at: now)
            case .failed(let failure):
                fail(CameraFailure(failure), context: context, at: now)
            }
        }
        if wrote { context.flush() }
    }

    private func receive(rtp bytes: ByteBuffer, at now: Instant) {
        let packet: Packet
        do {
            packet = try Packet(validating: bytes)
        } catch {
            delegate?.connectionDiscarded(reason: .malformedPacket)
            return
        }
        guard let track, packet.payloadType == track.payloadType else { return }
        let lostBefore = receiver.lost
        switch receiver.receive(packet, at: now) {
        case .duplicate, .reordered: return
        case .first, .inOrder, .gap, .restarted: break
        }
        if receiver.lost > lostBefore {
            depacketizer.loss()
            delegate?.connectionDiscarded(reason: .packetLoss)
        }
        do {
            let cameraTime = unwrapper.unwrap(packet.timestamp)
            guard var unit = try depacketizer.push(packet, decodeTime: cameraTime) else { return }
            guard let parameterSets = depacketizer.parameterSets else {
                delegate?.connectionDiscarded(reason: .awaitingParameterSets)
                return
            }
            let restamped = timeline.restamped
            unit.decodeTime = timeline.decodeTime(for: unit.decodeTime)
            if timeline.restamped > restamped { delegate?.connectionRestamped() }
            unit.wallTime = wall.wallTime(at: now)
            delegate?.connectionReceived(unit, parameterSets, at: now)
        } catch {
            delegate?.connectionDiscarded(reason: .malformedPayload)
        }
    }

    private func receive(rtcp bytes: ByteBuffer, at now: Instant) {
        do {
            for case .senderReport(let report) in try RTCPPacket.parse(compound: bytes) {
                receiver.receive(report, at: now)
            }
        } catch {
            delegate?.connectionDiscarded(reason: .malformedReport)
        }
    }

    /// Some cameras end a session whose receiver never reports (RFC 3550 §6.2: every 5 s on average).
    private func reportReception(at now: Instant) {
        guard now >= nextReport, let block = receiver.reportBlock(at: now) else { return }
        nextReport = now + Limits.receptionReportInterval
        session.send(
            rtcp: RTCPPacket.serialize([
                .receiverReport(ReceiverReport(ssrc: ownSource, reports: [block])),
                .sdes(ssrc: ownSource, cname: "marsad"),
            ]))
    }

    private func fail(_ failure: CameraFailure, context: ChannelHandlerContext, at now: Instant) {
        guard !hasFailed else { return }
        hasFailed = true
        delegate?.connectionFailed(failure, at: now)
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

/// Wall time advanced by the monotonic clock, so that a step of the system's clock never reaches a
/// frame; re-anchored once a connection.
struct WallAnchor {
    let wallTime: WallTime
    let instant: Instant

    func wallTime(at now: Instant) -> WallTime { wallTime + (now - instant) }
}
