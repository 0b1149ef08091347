// One viewer: its transport's session, its stream, and what both have to say to each other.
// SPDX-License-Identifier: Apache-2.0

import Domain
import NIOCore
import Primitives
import RTP
import WebRTC

/// Everything of one viewer on its loop.
final class ViewerSession: LiveSession {
    var stream: ViewerStream?
    var keys: KeyingMaterial?
    let format: ViewerFormat
    private var answered = AnsweredNumbers()
    var nextReport: Instant
    /// Of the newest receiver report, 0…1.
    var lossRatio = 0.0
    /// What the viewer says it can take, in bits a second.
    var receivableBitsPerSecond: UInt64?

    init(
        id: String, cameraID: CameraID, etag: String, answer: Answer, peer: PeerSession,
        format: ViewerFormat, at now: Instant
    ) {
        self.format = format
        nextReport = now
        super.init(id: id, cameraID: cameraID, etag: etag, answer: answer, peer: peer)
    }

    override func isDue(at now: Instant) -> Bool { nextReport <= now || super.isDue(at: now) }

    /// What a report of the viewer asks for.
    func receive(_ packets: [RTCPPacket], in group: ViewerGroup, at now: Instant) {
        guard let stream else { return }
        var lostPicture = false
        for packet in packets {
            switch packet {
            case .receiverReport(let report): note(report.reports)
            case .senderReport(let report): note(report.reports)
            case .nack(let nack) where nack.media == format.ssrc:
                stream.resend(answered.take(nack.lost, at: now), from: group.window)
            case .pictureLoss(let loss): lostPicture = lostPicture || loss.media == format.ssrc
            case .fullIntra(let request):
                lostPicture =
                    lostPicture || request.entries.contains { $0.media == format.ssrc }
            case .remb(let limit): receivableBitsPerSecond = limit.bitsPerSecond
            case .nack, .sdes, .bye, .unknown: break
            }
        }
        if lostPicture, stream.mayReplay(at: now) { group.replay(stream) }
    }

    private func note(_ reports: [ReportBlock]) {
        for report in reports where report.ssrc == format.ssrc {
            lossRatio = Double(report.fractionLost) / 256
        }
    }
}
