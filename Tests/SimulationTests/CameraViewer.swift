// A small RTSP viewer over a real socket, for the tests of the camera server.
// SPDX-License-Identifier: Apache-2.0

import H26x
import NIOCore
import NIOPosix
import Primitives
import RTP
import RTPFormats
import RTSP

/// What a viewer saw until it had enough, or why it saw nothing.
struct Viewing: Sendable {
    var units: [AccessUnit] = []
    var reports: [SenderReport] = []
    /// Payloads of the sound.
    var sound: [ByteBuffer] = []
    var lost = 0
    var failure: SessionFailure?
    var track: VideoTrack?
}

/// Plays one camera until `frames` units have come or the session ends.
final class CameraViewer: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private var session: ClientSession
    private var depacketizer = Depacketizer(codec: .h264, parameterSets: nil)
    private var unwrapper = TimestampUnwrapper()
    private var receiver = Receiver()
    private var viewing = Viewing()
    private let frames: Int
    private let whenFirst: @Sendable () -> Void
    private let done: EventLoopPromise<Viewing>

    init(
        session: ClientSession, frames: Int, whenFirst: @escaping @Sendable () -> Void,
        done: EventLoopPromise<Viewing>
    ) {
        self.session = session
        self.frames = frames
        self.whenFirst = whenFirst
        self.done = done
    }

    /// `whenFirst` is called at the first unit, when the camera plays for certain.
    static func watch(
        _ url: String, frames: Int, credentials: Credentials? = nil,
        group: any EventLoopGroup, whenFirst: @escaping @Sendable () -> Void = {}
    ) async throws -> Viewing {
        let target = try RTSPURL(parsing: url)
        let loop = group.next()
        let done = loop.makePromise(of: Viewing.self)
        let channel = try await ClientBootstrap(group: loop)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    let session = ClientSession(
                        url: target, credentials: credentials, userAgent: "test",
                        wantsAudio: true, nonce: { "0123456789abcdef" })
                    try channel.pipeline.syncOperations.addHandler(
                        CameraViewer(
                            session: session, frames: frames, whenFirst: whenFirst, done: done))
                }
            }
            .connect(host: target.host, port: target.port).get()
        let viewing = try await done.futureResult.get()
        try? await channel.close().get()
        return viewing
    }

    private var now: Instant {
        Instant(nanoseconds: Int64(NIODeadline.now().uptimeNanoseconds))
    }

    func channelActive(context: ChannelHandlerContext) {
        session.start(at: now)
        drain(context)
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        session.receive(unwrapInboundIn(data), at: now)
        drain(context)
    }

    func channelInactive(context: ChannelHandlerContext) {
        session.disconnected(at: now)
        drain(context)
        done.succeed(viewing)
    }

    private func drain(_ context: ChannelHandlerContext) {
        while let output = session.pollOutput() {
            switch output {
            case .send(let bytes): context.writeAndFlush(wrapOutboundOut(bytes), promise: nil)
            case .described(let track): viewing.track = track
            case .playing, .hasAudio: break
            case .audio(let bytes):
                if let packet = try? Packet(validating: bytes) {
                    viewing.sound.append(packet.payload)
                }
            case .rtp(let bytes): receive(bytes)
            case .rtcp(let bytes):
                for case .senderReport(let report) in (try? RTCPPacket.parse(compound: bytes)) ?? []
                {
                    viewing.reports.append(report)
                }
            case .failed(let failure):
                viewing.failure = failure
                done.succeed(viewing)
            }
        }
    }

    private func receive(_ bytes: ByteBuffer) {
        guard viewing.units.count < frames, let packet = try? Packet(validating: bytes) else {
            return
        }
        _ = receiver.receive(packet, at: now)
        let time = unwrapper.unwrap(packet.timestamp)
        if let unit = try? depacketizer.push(packet, decodeTime: time) {
            viewing.units.append(unit)
            if viewing.units.count == 1 { whenFirst() }
        }
        viewing.lost = receiver.lost
        if viewing.units.count == frames { done.succeed(viewing) }
    }
}
