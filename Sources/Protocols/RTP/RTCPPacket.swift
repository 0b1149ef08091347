// RTCP: sender and receiver reports, names, goodbyes, and the frame around feedback.
// SPDX-License-Identifier: Apache-2.0

package import NIOCore
package import Primitives

/// What a receiver says about one source (RFC 3550 §6.4.1).
package struct ReportBlock: Equatable, Sendable {
    package var ssrc: SSRC
    /// Share of packets lost since the report before, in 1/256.
    package var fractionLost: UInt8
    /// Packets lost in all, 24 bits, signed (duplicates count against losses).
    package var cumulativeLost: Int32
    package var extendedHighestSequence: UInt32
    /// Interarrival jitter in timestamp units.
    package var jitter: UInt32
    /// Middle 32 bits of the newest sender report's NTP time, or 0.
    package var lastSenderReport: UInt32
    /// Time since that report in 1/65536 s, or 0.
    package var delaySinceLastSenderReport: UInt32

    package init(
        ssrc: SSRC, fractionLost: UInt8 = 0, cumulativeLost: Int32 = 0,
        extendedHighestSequence: UInt32 = 0, jitter: UInt32 = 0, lastSenderReport: UInt32 = 0,
        delaySinceLastSenderReport: UInt32 = 0
    ) {
        self.ssrc = ssrc
        self.fractionLost = fractionLost
        self.cumulativeLost = cumulativeLost
        self.extendedHighestSequence = extendedHighestSequence
        self.jitter = jitter
        self.lastSenderReport = lastSenderReport
        self.delaySinceLastSenderReport = delaySinceLastSenderReport
    }
}

/// A source's own report: which wall time its RTP time stands for (RFC 3550 §6.4.1).
package struct SenderReport: Equatable, Sendable {
    package var ssrc: SSRC
    package var ntpTime: NTPTimestamp
    package var rtpTime: RTPTimestamp
    package var packetCount: UInt32
    package var octetCount: UInt32
    package var reports: [ReportBlock]

    package init(
        ssrc: SSRC, ntpTime: NTPTimestamp, rtpTime: RTPTimestamp, packetCount: UInt32 = 0,
        octetCount: UInt32 = 0, reports: [ReportBlock] = []
    ) {
        self.ssrc = ssrc
        self.ntpTime = ntpTime
        self.rtpTime = rtpTime
        self.packetCount = packetCount
        self.octetCount = octetCount
        self.reports = reports
    }
}

/// A report of someone who only receives (RFC 3550 §6.4.2).
package struct ReceiverReport: Equatable, Sendable {
    package var ssrc: SSRC
    package var reports: [ReportBlock]

    package init(ssrc: SSRC, reports: [ReportBlock] = []) {
        self.ssrc = ssrc
        self.reports = reports
    }
}

/// One packet of an RTCP compound (RFC 3550 §6).
package enum RTCPPacket: Equatable, Sendable {
    case senderReport(SenderReport)
    case receiverReport(ReceiverReport)
    /// The canonical name of a source (RFC 3550 §6.5.1); other items are not kept.
    case sdes(ssrc: SSRC, cname: String)
    /// The sources that leave (RFC 3550 §6.6).
    case bye([SSRC])
    /// Packets to send again (RFC 4585 §6.2.1).
    case nack(GenericNACK)
    /// A random access point is wanted (RFC 4585 §6.3.1).
    case pictureLoss(PictureLossIndication)
    /// A random access point is demanded of each named source (RFC 5104 §4.3.1).
    case fullIntra(FullIntraRequest)
    /// The receiver's estimate of its bandwidth (draft-alvestrand-rmcat-remb-03).
    case remb(ReceiverBitrate)
    /// A type that is not read here, with its body after the 4-byte header.
    case unknown(type: UInt8, count: UInt8, body: ByteBuffer)

    /// Reads every packet of a compound; one that starts with feedback (RFC 5506) is as good.
    package static func parse(compound: ByteBuffer) throws(RTPError) -> [RTCPPacket] {
        var rest = compound
        var packets: [RTCPPacket] = []
        while rest.readableBytes > 0 {
            let offset = compound.readableBytes - rest.readableBytes
            guard
                let (flags, type, words) = rest.readMultipleIntegers(
                    as: (UInt8, UInt8, UInt16).self)
            else { throw RTPError(.truncated, at: offset) }
            guard flags >> 6 == 2 else {
                throw RTPError(.unsupportedVersion(flags >> 6), at: offset)
            }
            guard var body = rest.readSlice(length: Int(words) * 4) else {
                throw RTPError(.lengthBeyondPacket, at: offset)
            }
            if flags & 0x20 != 0 {
                let last = body.getInteger(at: body.writerIndex &- 1, as: UInt8.self)
                guard let padding = last.map(Int.init), padding > 0,
                    padding <= body.readableBytes,
                    let unpadded = body.readSlice(length: body.readableBytes - padding)
                else { throw RTPError(.invalidPadding, at: offset) }
                body = unpadded
            }
            guard let packet = parse(type: type, count: flags & 0x1F, body: body) else {
                throw RTPError(.truncated, at: offset)
            }
            packets.append(packet)
        }
        return packets
    }

    /// The bytes of a compound.
    package static func serialize(_ packets: [RTCPPacket]) -> ByteBuffer {
        var bytes = ByteBuffer()
        for packet in packets { packet.write(to: &bytes) }
        return bytes
    }

    private static func parse(type: UInt8, count: UInt8, body: ByteBuffer) -> RTCPPacket? {
        var body = body
        switch type {
        case 200:
            guard
                let (ssrc, ntp, rtp, packets, octets) = body.readMultipleIntegers(
                    as: (UInt32, UInt64, UInt32, UInt32, UInt32).self),
                let reports = readReports(&body, count)
            else { return nil }
            return .senderReport(
                SenderReport(
                    ssrc: SSRC(rawValue: ssrc), ntpTime: NTPTimestamp(rawValue: ntp),
                    rtpTime: RTPTimestamp(rawValue: rtp), packetCount: packets, octetCount: octets,
                    reports: reports))
        case 201:
            guard let ssrc = body.readInteger(as: UInt32.self),
                let reports = readReports(&body, count)
            else { return nil }
            return .receiverReport(ReceiverReport(ssrc: SSRC(rawValue: ssrc), reports: reports))
        case 202:
            guard let named = readName(body) else {
                return .unknown(type: type, count: count, body: body)
            }
            return .sdes(ssrc: named.ssrc, cname: named.name)
        case 203:
            var sources: [SSRC] = []
            for _ in 0..<count {
                guard let source = body.readInteger(as: UInt32.self) else { return nil }
                sources.append(SSRC(rawValue: source))
            }
            return .bye(sources)
        case 205 where count == 1:
            return GenericNACK(body: body).map(RTCPPacket.nack)
        case 206 where count == 1:
            return PictureLossIndication(body: body).map(RTCPPacket.pictureLoss)
        case 206 where count == 4:
            return FullIntraRequest(body: body).map(RTCPPacket.fullIntra)
        case 206 where count == 15:
            return ReceiverBitrate(body: body).map(RTCPPacket.remb)
                ?? .unknown(type: type, count: count, body: body)
        default:
            return .unknown(type: type, count: count, body: body)
        }
    }

    private static func readReports(_ body: inout ByteBuffer, _ count: UInt8) -> [ReportBlock]? {
        var reports: [ReportBlock] = []
        for _ in 0..<count {
            guard
                let (ssrc, loss, highest, jitter, lsr, dlsr) = body.readMultipleIntegers(
                    as: (UInt32, UInt32, UInt32, UInt32, UInt32, UInt32).self)
            else { return nil }
            // Shift up and back down to extend the sign of the 24-bit field.
            let lost = Int32(bitPattern: loss << 8) >> 8
            reports.append(
                ReportBlock(
                    ssrc: SSRC(rawValue: ssrc), fractionLost: UInt8(loss >> 24),
                    cumulativeLost: lost, extendedHighestSequence: highest, jitter: jitter,
                    lastSenderReport: lsr, delaySinceLastSenderReport: dlsr))
        }
        return reports
    }

    private static func readName(_ body: ByteBuffer) -> (ssrc: SSRC, name: String)? {
        var body = body
        guard let ssrc = body.readInteger(as: UInt32.self) else { return nil }
        while let type = body.readInteger(as: UInt8.self), type != 0,
            let length = body.readInteger(as: UInt8.self),
            let text = body.readSlice(length: Int(length))
        {
            if type == 1 {
                let name = String(decoding: text.readableBytesView, as: UTF8.self)
                return (SSRC(rawValue: ssrc), name)
            }
        }
        return nil
    }

    private func write(to bytes: inout ByteBuffer) {
        var body = ByteBuffer()
        let head: (type: UInt8, count: UInt8)
        switch self {
        case .senderReport(let report):
            let reports = report.reports.prefix(31)
            head = (200, UInt8(reports.count))
            body.writeMultipleIntegers(
                report.ssrc.rawValue, report.ntpTime.rawValue, report.rtpTime.rawValue,
                report.packetCount, report.octetCount)
            for block in reports { block.write(to: &body) }
        case .receiverReport(let report):
            let reports = report.reports.prefix(31)
            head = (201, UInt8(reports.count))
            body.writeInteger(report.ssrc.rawValue)
            for block in reports { block.write(to: &body) }
        case .sdes(let ssrc, let cname):
            let name = Self.cut(cname, toBytes: 255)
            head = (202, 1)
            body.writeInteger(ssrc.rawValue)
            body.writeMultipleIntegers(UInt8(1), UInt8(name.count))
            body.writeBytes(name)
            // The item list ends with at least one zero byte and fills its word (RFC 3550 §6.5).
            body.writeRepeatingByte(0, count: 4 - body.readableBytes % 4)
        case .bye(let sources):
            head = (203, UInt8(sources.prefix(31).count))
            for source in sources.prefix(31) { body.writeInteger(source.rawValue) }
        case .nack(let request):
            head = (205, 1)
            request.write(to: &body)
        case .pictureLoss(let request):
            head = (206, 1)
            request.write(to: &body)
        case .fullIntra(let request):
            head = (206, 4)
            request.write(to: &body)
        case .remb(let estimate):
            head = (206, 15)
            estimate.write(to: &body)
        case .unknown(let type, let count, let unread):
            head = (type, count & 0x1F)
            body.writeImmutableBuffer(unread)
            body.writeRepeatingByte(0, count: (4 - body.readableBytes % 4) % 4)
        }
        let words = UInt16(truncatingIfNeeded: body.readableBytes / 4)
        bytes.writeMultipleIntegers(0x80 | head.count, head.type, words)
        bytes.writeBuffer(&body)
    }

    /// As many bytes of the text as fit without a part of a character (RFC 3550 §6.5: UTF-8).
    private static func cut(_ text: String, toBytes limit: Int) -> [UInt8] {
        var bytes = Array(text.utf8.prefix(limit + 1))
        guard bytes.count > limit else { return bytes }
        // Back over continuation bytes to the one that starts the character that does not fit.
        while let last = bytes.popLast(), last & 0xC0 == 0x80 {}
        return bytes
    }
}

extension ReportBlock {
    fileprivate func write(to bytes: inout ByteBuffer) {
        let lost = UInt32(bitPattern: min(max(cumulativeLost, -0x80_0000), 0x7F_FFFF)) & 0xFF_FFFF
        bytes.writeMultipleIntegers(
            ssrc.rawValue, UInt32(fractionLost) << 24 | lost, extendedHighestSequence, jitter,
            lastSenderReport, delaySinceLastSenderReport)
    }
}
