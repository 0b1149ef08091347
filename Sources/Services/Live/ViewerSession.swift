// One viewer: its transport's session, its stream, and what both have to say to each other.
// SPDX-License-Identifier: Apache-2.0

import Domain
import NIOCore
import Primitives
import RTP
import RTPFormats
import WebRTC

/// Everything of one viewer on its loop.
final class ViewerSession: LiveSession {
    private let format: ViewerFormat
    private let group: ViewerGroup
    private var stream: ViewerStream?
    private var answered = AnsweredNumbers()
    private var nextReport: Instant

    /// - Parameter group: the viewers that this one is to join; it waits for this one from now on.
    init(_ opening: Opening, format: ViewerFormat, group: ViewerGroup, at now: Instant) {
        self.format = format
        self.group = group
        nextReport = now
        super.init(opening)
        group.expect()
    }

    override func connected(
        _ keys: KeyingMaterial, on loop: LiveLoop, at now: Instant
    ) throws(SRTPError) {
        guard let address else { return peer.close() }
        let random = loop.shared.world.random()
        let stream = try ViewerStream(
            format: format, keys: keys, address: address, socket: loop.socket,
            scratch: loop.scratch, timeOffset: group.timeOffset,
            firstSequence: UInt16(truncatingIfNeeded: random))
        self.stream = stream
        group.join(stream)
        report(at: now)
    }

    override func moved() {
        if let address { stream?.address = address }
    }

    /// What a report of the viewer asks for.
    override func receive(_ reports: [RTCPPacket], at now: Instant) {
        guard let stream else { return }
        var lostPicture = false
        for packet in reports {
            switch packet {
            case .nack(let nack) where nack.media == format.ssrc:
                stream.resend(answered.take(nack.lost, at: now), from: group.window)
            case .pictureLoss(let loss): lostPicture = lostPicture || loss.media == format.ssrc
            case .fullIntra(let request):
                lostPicture =
                    lostPicture || request.entries.contains { $0.media == format.ssrc }
            case .receiverReport, .senderReport, .remb, .nack, .sdes, .bye, .unknown: break
            }
        }
        if lostPicture, stream.mayReplay(at: now) { group.replay(stream) }
    }

    override func isDue(at now: Instant) -> Bool { nextReport <= now || super.isDue(at: now) }

    override func advance(to now: Instant) {
        super.advance(to: now)
        if nextReport <= now { report(at: now) }
    }

    private func report(at now: Instant) {
        nextReport = now + Limits.senderReportInterval
        guard let stream, let newest = group.window.last, let wallTime = newest.wallTime else {
            return
        }
        peer.send([
            stream.senderReport(at: wallTime, decodeTime: newest.decodeTime),
            .sdes(ssrc: format.ssrc, cname: LiveShared.canonicalName),
        ])
    }

    override func ended(_ metrics: LiveMetrics, at now: Instant) {
        super.ended(metrics, at: now)
        group.leave(stream, at: now)
        if let stream { metrics.add(stream) }
    }
}
