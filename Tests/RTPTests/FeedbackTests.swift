// Feedback: resend and keyframe requests, bandwidth estimates, reduced-size compounds.
// SPDX-License-Identifier: Apache-2.0

import NIOCore
import Primitives
import RTP
import Testing

@Suite struct FeedbackTests {
    private static let ours = SSRC(rawValue: 0x0102_0304)
    private static let theirs = SSRC(rawValue: 0xA0B0_C0D0)

    private static func numbers(_ values: UInt16...) -> [SequenceNumber] {
        values.map(SequenceNumber.init(rawValue:))
    }

    /// Each packet with its bytes on the wire.
    private static let cases: [(packet: RTCPPacket, bytes: [UInt8])] = [
        (
            .nack(GenericNACK(sender: ours, media: theirs, lost: numbers(65_535, 0, 15, 40))),
            [0x81, 205, 0, 4, 1, 2, 3, 4, 0xA0, 0xB0, 0xC0, 0xD0]
                + [0xFF, 0xFF, 0x80, 0x01, 0, 40, 0, 0]
        ),
        (
            .pictureLoss(PictureLossIndication(sender: ours, media: theirs)),
            [0x81, 206, 0, 2, 1, 2, 3, 4, 0xA0, 0xB0, 0xC0, 0xD0]
        ),
        (
            .fullIntra(FullIntraRequest(sender: ours, entries: [.init(media: theirs, number: 7)])),
            [0x84, 206, 0, 4, 1, 2, 3, 4, 0, 0, 0, 0, 0xA0, 0xB0, 0xC0, 0xD0, 7, 0, 0, 0]
        ),
        (
            // 3 × 2^18 bit/s has two significant bits: mantissa 0x30000, exponent 2.
            .remb(ReceiverBitrate(sender: ours, bitsPerSecond: 0x30000 << 2, sources: [theirs])),
            [0x8F, 206, 0, 5, 1, 2, 3, 4, 0, 0, 0, 0, 0x52, 0x45, 0x4D, 0x42]
                + [1, 0x0B, 0, 0, 0xA0, 0xB0, 0xC0, 0xD0]
        ),
    ]

    @Test("each kind is written as the RFCs draw it, and reads back alone (RFC 5506)")
    func wire() throws {
        for (packet, bytes) in Self.cases {
            let written = RTCPPacket.serialize([packet])
            #expect(Array(written.readableBytesView) == bytes)
            #expect(try RTCPPacket.parse(compound: written) == [packet])
        }
    }

    @Test("feedback reads behind a receiver report and before anything else")
    func compound() throws {
        let packets =
            [.receiverReport(ReceiverReport(ssrc: Self.ours))] + Self.cases.map(\.packet)
            + [.sdes(ssrc: Self.ours, cname: "viewer")]
        #expect(try RTCPPacket.parse(compound: RTCPPacket.serialize(packets)) == packets)
    }

    @Test("a storm of sequence numbers is cut to the limit")
    func storm() throws {
        var bytes = ByteBuffer(bytes: [0x81, 205, 0x03, 0xEA])
        bytes.writeMultipleIntegers(UInt32(1), UInt32(2))
        for _ in 0..<1000 { bytes.writeMultipleIntegers(UInt16(9), UInt16(0xFFFF)) }
        guard case .nack(let nack)? = try RTCPPacket.parse(compound: bytes).first else {
            Issue.record("not read as a NACK")
            return
        }
        #expect(nack.lost.count == GenericNACK.maxNumbers)
        let again = try RTCPPacket.parse(compound: RTCPPacket.serialize([.nack(nack)]))
        #expect(again == [.nack(nack)])
    }

    @Test("a bitrate too large for 64 bits saturates, and every bitrate keeps 18 bits")
    func bitrates() throws {
        var bytes = ByteBuffer(bytes: [0x8F, 206, 0, 4])
        bytes.writeMultipleIntegers(UInt32(1), UInt32(0), UInt32(0x5245_4D42), UInt32(0x00FF_FFFF))
        let largest = ReceiverBitrate(sender: SSRC(rawValue: 1), bitsPerSecond: .max, sources: [])
        #expect(try RTCPPacket.parse(compound: bytes) == [.remb(largest)])
        for shift in 0..<64 {
            let bitrate = UInt64(0x2_0001) << shift
            let sent = ReceiverBitrate(sender: Self.ours, bitsPerSecond: bitrate, sources: [])
            let bytes = RTCPPacket.serialize([.remb(sent)])
            guard case .remb(let read)? = try RTCPPacket.parse(compound: bytes).first else {
                Issue.record("not read as REMB")
                return
            }
            #expect(read.bitsPerSecond <= bitrate)
            #expect(bitrate - read.bitsPerSecond <= bitrate >> 17)
        }
    }

    @Test("feedback that is cut short is refused; other application feedback is left unread")
    func damage() throws {
        for bytes in [
            [0x81, 205, 0, 2, 0, 0, 0, 1, 0, 0, 0, 2], [0x81, 206, 0, 1, 0, 0, 0, 1],
            [0x84, 206, 0, 2, 0, 0, 0, 1, 0, 0, 0, 2],
        ] as [[UInt8]] {
            #expect(throws: RTPError(.truncated, at: 0)) {
                try RTCPPacket.parse(compound: ByteBuffer(bytes: bytes))
            }
        }
        let other = RTCPPacket.unknown(
            type: 206, count: 15, body: ByteBuffer(bytes: [0, 0, 0, 1, 0, 0, 0, 2, 1, 2, 3, 4]))
        #expect(try RTCPPacket.parse(compound: RTCPPacket.serialize([other])) == [other])
    }

    @Test("a name too long is cut between characters")
    func names() throws {
        for (name, kept) in [
            (String(repeating: "a", count: 300), String(repeating: "a", count: 255)),
            (String(repeating: "é", count: 200), String(repeating: "é", count: 127)),
            (String(repeating: "م", count: 127) + "a", String(repeating: "م", count: 127) + "a"),
            ("a" + String(repeating: "📷", count: 80), "a" + String(repeating: "📷", count: 63)),
        ] {
            let bytes = RTCPPacket.serialize([.sdes(ssrc: Self.ours, cname: name)])
            #expect(
                try RTCPPacket.parse(compound: bytes) == [.sdes(ssrc: Self.ours, cname: kept)])
        }
    }

    @Test("no truncation or mutation of feedback traps, and what is read can be written")
    func sweep() throws {
        var random = SeededRandom(seed: 4585)
        let source = RTCPPacket.serialize(Self.cases.map(\.packet))
        for length in 0...source.readableBytes {
            guard let cut = source.getSlice(at: 0, length: length) else { continue }
            _ = try? RTCPPacket.parse(compound: cut)
        }
        for _ in 0..<3000 {
            var changed = source
            for _ in 0..<Int.random(in: 1...4, using: &random) {
                let at = Int.random(in: 0..<source.readableBytes, using: &random)
                changed.setInteger(UInt8.random(in: 0...255, using: &random), at: at)
            }
            guard let packets = try? RTCPPacket.parse(compound: changed) else { continue }
            _ = try RTCPPacket.parse(compound: RTCPPacket.serialize(packets))
        }
    }
}
