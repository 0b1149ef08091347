// RTP: wrapping numbers, packets, RTCP, reception statistics.
// SPDX-License-Identifier: Apache-2.0

import NIOCore
import Primitives
import RTP
import Testing

@Suite struct RTPNumberTests {
    @Test("timestamps unwrap across the roll-over, and old ones do not move the reference")
    func timestamps() {
        var unwrapper = TimestampUnwrapper()
        #expect(unwrapper.unwrap(RTPTimestamp(rawValue: .max - 2999)) == 4_294_964_296)
        #expect(unwrapper.unwrap(RTPTimestamp(rawValue: 0)) == 4_294_967_296)
        #expect(unwrapper.unwrap(RTPTimestamp(rawValue: .max)) == 4_294_967_295)
        #expect(unwrapper.unwrap(RTPTimestamp(rawValue: 3000)) == 4_294_970_296)
    }

    @Test("sequence numbers unwrap across many roll-overs")
    func sequences() {
        var unwrapper = SequenceUnwrapper()
        for index in Int64(65_000)..<200_000 {
            let number = SequenceNumber(rawValue: UInt16(truncatingIfNeeded: index))
            #expect(unwrapper.unwrap(number) == index)
        }
        #expect(SequenceNumber(rawValue: 2).distance(from: SequenceNumber(rawValue: 65_534)) == 4)
    }
}

@Suite struct PacketTests {
    private let plain = Packet.serialize(
        marker: true, payloadType: 96, sequenceNumber: SequenceNumber(rawValue: 7),
        timestamp: RTPTimestamp(rawValue: 90_000), ssrc: SSRC(rawValue: 0xDEAD_BEEF),
        payload: ByteBuffer(bytes: [1, 2, 3]))

    @Test("a written packet reads back")
    func roundTrip() throws {
        let packet = try Packet(validating: plain)
        #expect(packet.marker)
        #expect(packet.payloadType == 96)
        #expect(packet.sequenceNumber.rawValue == 7)
        #expect(packet.timestamp.rawValue == 90_000)
        #expect(packet.ssrc.rawValue == 0xDEAD_BEEF)
        #expect(packet.payload == ByteBuffer(bytes: [1, 2, 3]))
    }

    @Test("contributors, extension and padding are not payload")
    func extras() throws {
        var bytes = ByteBuffer(bytes: [0xB1, 0x60, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3])
        bytes.writeBytes([9, 9, 9, 9])
        bytes.writeBytes([0xBE, 0xDE, 0, 1, 8, 8, 8, 8])
        bytes.writeBytes([5, 6, 0, 0, 3])
        #expect(try Packet(validating: bytes).payload == ByteBuffer(bytes: [5, 6]))
    }

    @Test("damage is refused with its place")
    func damage() {
        #expect(throws: RTPError(.truncated, at: 3)) {
            try Packet(validating: ByteBuffer(bytes: [0x80, 0, 0]))
        }
        var wrong = plain
        wrong.setInteger(UInt8(0x40), at: 0)
        #expect(throws: RTPError(.unsupportedVersion(1), at: 0)) { try Packet(validating: wrong) }
        wrong.setInteger(UInt8(0xA0), at: 0)
        wrong.setInteger(UInt8(200), at: 14)
        #expect(throws: RTPError(.invalidPadding, at: 15)) { try Packet(validating: wrong) }
    }

    @Test("no truncation or mutation of a packet or compound traps")
    func sweep() {
        var random = SeededRandom(seed: 1)
        for source in [plain, RTCPPacket.serialize(RTCPTests.compound)] {
            for length in 0...source.readableBytes {
                guard let cut = source.getSlice(at: 0, length: length) else { continue }
                _ = try? Packet(validating: cut)
                _ = try? RTCPPacket.parse(compound: cut)
            }
            for _ in 0..<1000 {
                var changed = source
                for _ in 0..<Int.random(in: 1...4, using: &random) {
                    let at = Int.random(in: 0..<source.readableBytes, using: &random)
                    changed.setInteger(UInt8.random(in: 0...255, using: &random), at: at)
                }
                _ = try? Packet(validating: changed)
                _ = try? RTCPPacket.parse(compound: changed)
            }
        }
    }
}

@Suite struct RTCPTests {
    static let compound: [RTCPPacket] = [
        .senderReport(
            SenderReport(
                ssrc: SSRC(rawValue: 1), ntpTime: NTPTimestamp(rawValue: 0xE4A0_0000_8000_0000),
                rtpTime: RTPTimestamp(rawValue: 5), packetCount: 6, octetCount: 7,
                reports: [
                    ReportBlock(
                        ssrc: SSRC(rawValue: 2), fractionLost: 3, cumulativeLost: -4,
                        extendedHighestSequence: 5, jitter: 6, lastSenderReport: 7,
                        delaySinceLastSenderReport: 8)
                ])),
        .receiverReport(ReceiverReport(ssrc: SSRC(rawValue: 9))),
        .sdes(ssrc: SSRC(rawValue: 1), cname: "camera@host"),
        .bye([SSRC(rawValue: 1), SSRC(rawValue: 2)]),
        .unknown(type: 205, count: 15, body: ByteBuffer(bytes: [1, 2, 3, 4])),
    ]

    @Test("a written compound reads back")
    func roundTrip() throws {
        let bytes = RTCPPacket.serialize(Self.compound)
        #expect(bytes.readableBytes % 4 == 0)
        #expect(try RTCPPacket.parse(compound: bytes) == Self.compound)
    }
}

@Suite struct ReceiverTests {
    private func packet(_ sequence: UInt16, ssrc: UInt32 = 1, time: UInt32 = 0) throws -> Packet {
        try Packet(
            validating: Packet.serialize(
                marker: false, payloadType: 96, sequenceNumber: SequenceNumber(rawValue: sequence),
                timestamp: RTPTimestamp(rawValue: time), ssrc: SSRC(rawValue: ssrc),
                payload: ByteBuffer()))
    }

    @Test("losses, duplicates, late packets and new sources are told apart")
    func arrivals() throws {
        var receiver = Receiver()
        let now = Instant(nanoseconds: 0)
        #expect(receiver.receive(try packet(65_534), at: now) == .first)
        #expect(receiver.receive(try packet(65_535), at: now) == .inOrder)
        #expect(receiver.receive(try packet(2), at: now) == .gap(lost: 2))
        #expect(receiver.receive(try packet(2), at: now) == .duplicate)
        #expect(receiver.receive(try packet(1), at: now) == .reordered)
        #expect(receiver.receive(try packet(20_000), at: now) == .restarted)
        #expect(receiver.receive(try packet(5, ssrc: 2), at: now) == .restarted)
        #expect(receiver.lost == 2)
        #expect(receiver.duplicated == 1)
        #expect(receiver.reordered == 1)
        #expect(receiver.restarts == 2)
    }

    @Test("the report block counts loss since the last one and echoes the sender report")
    func report() throws {
        var receiver = Receiver()
        let now = Instant(nanoseconds: 0)
        #expect(receiver.reportBlock() == nil)
        for sequence in [UInt16(0), 1, 3] {
            _ = receiver.receive(
                try packet(sequence, time: UInt32(sequence) * 90),
                at: now + .milliseconds(Int64(sequence)))
        }
        receiver.receive(
            SenderReport(
                ssrc: SSRC(rawValue: 1), ntpTime: NTPTimestamp(rawValue: 0x0001_0002_0003_0004),
                rtpTime: RTPTimestamp(rawValue: 0)), at: now)
        let block = receiver.reportBlock(at: now + .milliseconds(500))
        #expect(block?.fractionLost == 64)
        #expect(block?.cumulativeLost == 1)
        #expect(block?.extendedHighestSequence == 3)
        #expect(block?.lastSenderReport == 0x0002_0003)
        #expect(block?.delaySinceLastSenderReport == 32_768)
        #expect(block?.jitter == 0)
        #expect(receiver.reportBlock()?.fractionLost == 0)
    }
}
