// One publisher: its transport's session, its stream, and the camera that it is.
// SPDX-License-Identifier: Apache-2.0

import Domain
import NIOCore
package import Primitives
package import RTP
import RTPFormats
import WebRTC

/// Where a publisher's video goes. Called on the session's loop, which is the camera's own wherever live
/// sessions are served on it.
package struct PublisherSink: Sendable {
    /// Media may flow; with the number of its packets and their clock's rate.
    package var begin: @Sendable (_ payloadType: UInt8, _ clockRate: Int) -> Void
    /// The packets in order; a missing number is a lost packet.
    package var receive: @Sendable (Packet, Instant) -> Void
    /// The publisher left. Follows each `begin`.
    package var end: @Sendable (Instant) -> Void

    package init(
        begin: @escaping @Sendable (_ payloadType: UInt8, _ clockRate: Int) -> Void,
        receive: @escaping @Sendable (Packet, Instant) -> Void,
        end: @escaping @Sendable (Instant) -> Void
    ) {
        self.begin = begin
        self.receive = receive
        self.end = end
    }
}

/// Everything of one publisher on its loop.
final class PublisherSession: LiveSession {
    private var stream: PublisherStream
    private let format: PublisherFormat
    private let sink: PublisherSink
    private var hasBegun = false
    private let openedAt: Instant
    private var counted = LiveMetrics.Reception()

    init(_ opening: Opening, ownSource: SSRC, sink: PublisherSink, at now: Instant) {
        format = PublisherFormat(opening.answer)
        stream = PublisherStream(
            format: format, ownSource: ownSource, cname: LiveShared.canonicalName)
        self.sink = sink
        openedAt = now
        super.init(opening)
    }

    /// Whether another one may take this one's place: it sends nothing.
    func isSilent(at now: Instant) -> Bool {
        now - (stream.lastPacket ?? openedAt) > Limits.publisherSilence
    }

    override func connected(
        _ keys: KeyingMaterial, on loop: LiveLoop, at now: Instant
    ) throws(SRTPError) {
        hasBegun = true
        sink.begin(format.payloadType, format.clockRate)
    }

    override func receive(_ reports: [RTCPPacket], at now: Instant) {
        stream.receive(reports, at: now)
    }

    override func receive(rtp packet: ByteBuffer, at now: Instant) {
        stream.receive(packet, at: now)
        poll(at: now)
    }

    override func isDue(at now: Instant) -> Bool {
        (stream.deadline.map { $0 <= now } ?? false) || super.isDue(at: now)
    }

    override func advance(to now: Instant) {
        super.advance(to: now)
        poll(at: now)
    }

    /// Hands on what is in order now, and tells the publisher what is missing.
    private func poll(at now: Instant) {
        while let packet = stream.poll(at: now) { sink.receive(packet, now) }
        if let feedback = stream.pollFeedback(at: now) { peer.send(feedback) }
    }

    override func count(into metrics: LiveMetrics) {
        let counts = LiveMetrics.Reception(stream)
        metrics.add(counts, since: counted)
        counted = counts
    }

    override func ended(at now: Instant) {
        if hasBegun { sink.end(now) }
    }
}

extension PublisherFormat {
    fileprivate init(_ answer: Answer) {
        self.init(
            payloadType: answer.payloadType, rtxPayloadType: answer.rtxPayloadType,
            clockRate: answer.video.codec.clockRate, hasNACK: answer.feedback.contains(.nack),
            hasPLI: answer.feedback.contains(.pli))
    }
}
