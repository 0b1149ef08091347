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
    private var path: MediaPath?
    private var group: ViewerGroup
    /// Where it is to go over to.
    private var next: ViewerGroup?
    private let choice: Choice
    private var policy: QualityPolicy
    private var congestions: UInt64 = 0
    private let audioFormat: AudioFormat?
    private var audio: (stream: AudioStream, leave: () -> Void)?
    private var stream: ViewerStream?
    private var answered = AnsweredNumbers()
    private var nextReport: Instant
    /// Of the newest sender report: how receiver reports name it, and when it was sent.
    private var lastReport: (name: UInt32, at: Instant)?
    private var counted = ViewerStream.Counts()
    /// Of the newest receiver report, 0…1; and what of it is in the metrics.
    private var lossRatio: Double?
    private var countedLoss: Double?

    /// What it can go over to, and who counts that.
    struct Choice {
        var group: (CameraStream) -> ViewerGroup?
        var onChange: (CameraStream) -> Void
        var now: () -> Instant
    }

    /// - Parameter group: the viewers that this one is to join; it waits for this one from now on.
    init(
        _ opening: Opening, format: ViewerFormat, audio: AudioFormat?, group: ViewerGroup,
        policy: QualityPolicy, choice: Choice, at now: Instant
    ) {
        self.format = format
        audioFormat = audio
        self.group = group
        self.policy = policy
        self.choice = choice
        nextReport = now
        super.init(opening)
        group.expect()
    }

    override func connected(
        _ keys: KeyingMaterial, on loop: LiveLoop, at now: Instant
    ) throws(SRTPError) {
        guard let path else { return peer.close() }
        let random = loop.shared.world.random()
        let stream = try ViewerStream(
            format: format, keys: keys, path: path, scratch: loop.scratch,
            timeOffset: group.timeOffset, source: group.source.stream,
            isFar: peer.handshakeTime.map { $0 > Limits.farAway } ?? false,
            firstSequence: UInt16(truncatingIfNeeded: random))
        self.stream = stream
        group.join(stream)
        if let audioFormat {
            let audio = try AudioStream(
                format: audioFormat, keys: keys, path: path, scratch: loop.scratch,
                random: loop.shared.world.random())
            loop.listen(audio, to: cameraID)
            self.audio = (audio, { [weak loop, cameraID] in loop?.unlisten(audio, to: cameraID) })
        }
        report(at: now)
    }

    override func moved(to path: MediaPath) {
        self.path = path
        stream?.path = path
        audio?.stream.path = path
    }

    /// What a report of the viewer asks for.
    override func receive(_ reports: [RTCPPacket], at now: Instant) {
        guard let stream else { return }
        for packet in reports {
            switch packet {
            case .nack(let nack) where nack.media == format.ssrc:
                stream.resend(answered.take(nack.lost, at: now), from: group.window)
            case .pictureLoss(let loss) where loss.media == format.ssrc:
                stream.lostPicture(at: now)
            case .fullIntra(let request)
            where request.entries.contains { $0.media == format.ssrc }:
                stream.lostPicture(at: now)
            case .receiverReport(let report): note(report.reports, at: now)
            case .senderReport(let report): note(report.reports, at: now)
            case .remb(let limit):
                guard let needed = group.window.bitsPerSecond else { break }
                policy.canReceive(limit.bitsPerSecond, needed: needed, at: now)
            case .pictureLoss, .fullIntra, .nack, .sdes, .bye, .unknown: break
            }
        }
        choose(at: now)
        replay(at: now)
    }

    private func replay(at now: Instant) {
        if let stream, stream.takeReplay(at: now) { group.replay(stream) }
    }

    override func isDue(at now: Instant) -> Bool {
        nextReport <= now || (stream?.replayDue.map { $0 <= now } ?? false)
            || super.isDue(at: now)
    }

    override func advance(to now: Instant) {
        super.advance(to: now)
        replay(at: now)
        guard nextReport <= now else { return }
        report(at: now)
        choose(at: now)
    }

    // MARK: The choice of the stream

    private func note(_ reports: [ReportBlock], at now: Instant) {
        for report in reports where report.ssrc == format.ssrc {
            let ratio = Double(report.fractionLost) / 256
            lossRatio = ratio
            policy.lost(ratio, at: now)
            guard let lastReport, report.lastSenderReport == lastReport.name else { continue }
            // RFC 3550 §6.4.1; what the viewer says of its own delay may be anything.
            let held = Duration.seconds(1) * Int(report.delaySinceLastSenderReport) / 65_536
            answered.roundTrip = max(now - lastReport.at - held, .zero)
        }
    }

    private func choose(at now: Instant) {
        guard let stream else { return }
        while congestions < stream.counts.congestions {
            congestions += 1
            policy.congested(at: now)
        }
        if stream.source == .sub, group.isInterrupted { policy.subInterrupted(at: now) }
        policy.advance(to: now)
        guard policy.wanted != stream.source else {
            next?.leave(stream, at: now)
            next = nil
            return
        }
        guard next == nil, let wanted = choice.group(policy.wanted) else { return }
        next = wanted
        wanted.admit(stream) { [weak self] in self?.arrived() }
    }

    private func arrived() {
        guard let next else { return }
        group.leave(stream, at: choice.now())
        group = next
        self.next = nil
        choice.onChange(next.source.stream)
    }

    // MARK: Reports

    private func report(at now: Instant) {
        nextReport = now + Limits.senderReportInterval
        guard let stream else { return }
        var reports: [RTCPPacket] = []
        if let newest = group.window.last, let wallTime = newest.wallTime {
            let report = stream.senderReport(at: wallTime, decodeTime: newest.decodeTime)
            lastReport = (report.ntpTime.middle32, now)
            reports += [
                .senderReport(report), .sdes(ssrc: format.ssrc, cname: LiveShared.canonicalName),
            ]
        }
        if let audio, let report = audio.stream.senderReport {
            let ssrc = audio.stream.format.ssrc
            reports += [report, .sdes(ssrc: ssrc, cname: LiveShared.canonicalName)]
        }
        if !reports.isEmpty { peer.send(reports) }
    }

    override func count(into metrics: LiveMetrics) {
        guard let stream else { return }
        metrics.add(stream.counts, since: counted)
        counted = stream.counts
        metrics.loss(from: countedLoss, to: lossRatio)
        countedLoss = lossRatio
    }

    override func ended(at now: Instant) {
        group.leave(stream, at: now)
        next?.leave(stream, at: now)
        next = nil
        audio?.leave()
        lossRatio = nil
    }
}
