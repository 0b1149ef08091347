// What a publisher sends, made whole and in order; and what it has to be told.
// SPDX-License-Identifier: Apache-2.0

package import NIOCore
package import Primitives
package import RTP

/// How the answer says a publisher's video looks.
package struct PublisherFormat: Sendable {
    package var payloadType: UInt8
    /// `nil` for a publisher that resends identical packets, or none.
    package var rtxPayloadType: UInt8?
    package var clockRate: Int
    package var hasNACK: Bool
    package var hasPLI: Bool

    package init(
        payloadType: UInt8, rtxPayloadType: UInt8?, clockRate: Int, hasNACK: Bool, hasPLI: Bool
    ) {
        self.payloadType = payloadType
        self.rtxPayloadType = rtxPayloadType
        self.clockRate = clockRate
        self.hasNACK = hasNACK
        self.hasPLI = hasPLI
    }
}

/// The receiving end of one published H.264 video, without sockets: reordering, requests for resends
/// and keyframes, and receiver reports.
///
/// Mutate, drain `poll(at:)` and `pollFeedback(at:)`, repeat at `deadline`.
package struct PublisherStream: Sendable {
    package private(set) var received: UInt64 = 0
    package private(set) var keyframesRequested: UInt64 = 0
    package private(set) var malformed: UInt64 = 0
    package var lost: UInt64 { buffer.lost }
    package var requested: UInt64 { buffer.requested }
    /// When a media packet came last; `nil` before the first.
    package private(set) var lastPacket: Instant?

    private let format: PublisherFormat
    private let ownSource: SSRC
    private let cname: String
    private var source: SSRC?
    private var receiver: Receiver
    private var buffer: ReorderBuffer
    private var lacksKeyframe = true
    private var lastPictureLoss: Instant?
    private var nextReport: Instant?

    package static let reportInterval = Duration.seconds(1)
    package static let pictureLossInterval = Duration.seconds(1)
    /// Another source takes over once the present one has been silent for this long.
    package static let sourcePatience = Duration.seconds(1)

    /// - Parameter ownSource: by which the publisher knows our reports.
    package init(format: PublisherFormat, ownSource: SSRC, cname: String) {
        self.format = format
        self.ownSource = ownSource
        self.cname = cname
        receiver = Receiver(clockRate: format.clockRate)
        buffer = ReorderBuffer(asksForResends: format.hasNACK)
    }

    /// When there may be output without another packet.
    package var deadline: Instant? {
        var all = [buffer.deadline, nextReport].compactMap { $0 }
        if source != nil, lacksKeyframe, format.hasPLI, let lastPictureLoss {
            all.append(lastPictureLoss + Self.pictureLossInterval)
        }
        return all.min()
    }

    /// Takes one authentic packet, of whatever stream of the session.
    package mutating func receive(_ bytes: ByteBuffer, at now: Instant) {
        let packet: Packet
        do {
            packet = try Packet(validating: bytes)
        } catch {
            malformed &+= 1
            return
        }
        if packet.payloadType == format.payloadType {
            receive(media: packet, at: now)
        } else if packet.payloadType == format.rtxPayloadType, let source,
            let original = packet.resent(payloadType: format.payloadType, ssrc: source)
        {
            buffer.insert(original, at: now)
        }
    }

    /// Takes the publisher's reports.
    package mutating func receive(_ packets: [RTCPPacket], at now: Instant) {
        for case .senderReport(let report) in packets where report.ssrc == source {
            receiver.receive(report, at: now)
        }
    }

    /// The next packet in order; the numbers of lost ones are missing between two.
    package mutating func poll(at now: Instant) -> Packet? {
        while let output = buffer.pop(at: now) {
            switch output {
            case .packet(let packet):
                if Self.beginsKeyframe(packet.payload) { lacksKeyframe = false }
                return packet
            case .lost:
                lacksKeyframe = true
            }
        }
        return nil
    }

    /// A compound to send to the publisher; `nil` when there is nothing to say.
    package mutating func pollFeedback(at now: Instant) -> [RTCPPacket]? {
        guard let source else { return nil }
        var packets: [RTCPPacket] = []
        let missing = buffer.request(at: now)
        if !missing.isEmpty {
            packets.append(.nack(GenericNACK(sender: ownSource, media: source, lost: missing)))
        }
        if asksForKeyframe(at: now) {
            packets.append(
                .pictureLoss(PictureLossIndication(sender: ownSource, media: source)))
        }
        let isDue = nextReport.map { $0 <= now } ?? false
        guard isDue || !packets.isEmpty else { return nil }
        // A compound begins with a report (RFC 3550 §6.1); one between the regular ones is without
        // blocks, which would cut the interval that the loss is measured over.
        var blocks: [ReportBlock] = []
        if isDue {
            nextReport = now + Self.reportInterval
            if let block = receiver.reportBlock(at: now) { blocks.append(block) }
        }
        return [
            .receiverReport(ReceiverReport(ssrc: ownSource, reports: blocks)),
            .sdes(ssrc: ownSource, cname: cname),
        ] + packets
    }

    // MARK: Inside

    private mutating func receive(media packet: Packet, at now: Instant) {
        if source != packet.ssrc {
            if source != nil, let lastPacket, now - lastPacket < Self.sourcePatience { return }
            if source == nil { nextReport = now + Self.reportInterval }
            buffer.reset()
            source = packet.ssrc
        }
        received &+= 1
        lastPacket = now
        _ = receiver.receive(packet, at: now)
        buffer.insert(packet, at: now)
    }

    /// Once a second at most: an encoder that makes a keyframe for each request has no bits left for
    /// pictures.
    private mutating func asksForKeyframe(at now: Instant) -> Bool {
        guard lacksKeyframe, format.hasPLI else { return false }
        if let lastPictureLoss, now - lastPictureLoss < Self.pictureLossInterval { return false }
        lastPictureLoss = now
        keyframesRequested &+= 1
        return true
    }

    /// Whether an IDR slice or the parameter sets before it are in a payload (RFC 6184 §5.4).
    private static func beginsKeyframe(_ payload: ByteBuffer) -> Bool {
        func begins(_ header: UInt8) -> Bool { [5, 7].contains(header & 0x1F) }
        var rest = payload
        guard let header = rest.readInteger(as: UInt8.self) else { return false }
        switch header & 0x1F {
        case 24:
            while let nal = rest.readLengthPrefixedSlice(as: UInt16.self) {
                if let first = nal.readableBytesView.first, begins(first) { return true }
            }
            return false
        case 28:
            guard let fragment = rest.readInteger(as: UInt8.self) else { return false }
            return fragment & 0x80 != 0 && begins(fragment)
        default:
            return begins(header)
        }
    }
}
