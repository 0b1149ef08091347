// What a publisher is told, and what is made of its streams.
// SPDX-License-Identifier: Apache-2.0

import NIOCore
import Primitives
import RTP
import RTPFormats
import Testing

private let media: UInt32 = 0x1111
private let resends: UInt32 = 0x2222
private let own = SSRC(rawValue: 0x3333)
private let start = Instant(nanoseconds: 0)
private let keyframe: [UInt8] = [0x65, 0x88, 1]
private let slice: [UInt8] = [0x41, 0x9A, 1]

private func packet(
    _ number: UInt16, _ payload: [UInt8] = slice, type: UInt8 = 96, source: UInt32 = media
) -> ByteBuffer {
    Packet.serialize(
        marker: true, payloadType: type, sequenceNumber: SequenceNumber(rawValue: number),
        timestamp: RTPTimestamp(rawValue: 0), ssrc: SSRC(rawValue: source),
        payload: ByteBuffer(bytes: payload))
}

private func stream(hasNACK: Bool = true, hasPLI: Bool = true) -> PublisherStream {
    PublisherStream(
        format: PublisherFormat(
            payloadType: 96, rtxPayloadType: 97, clockRate: 90_000, hasNACK: hasNACK,
            hasPLI: hasPLI),
        ownSource: own, cname: "marsad")
}

@Suite struct PublisherStreamTests {
    private func numbers(_ stream: inout PublisherStream, at now: Instant) -> [UInt16] {
        var numbers: [UInt16] = []
        while let packet = stream.poll(at: now) {
            #expect(packet.payloadType == 96 && packet.ssrc.rawValue == media)
            numbers.append(packet.sequenceNumber.rawValue)
        }
        return numbers
    }

    private func asksForKeyframe(_ feedback: [RTCPPacket]?) -> Bool {
        feedback?.contains {
            if case .pictureLoss(let loss) = $0 { loss.media.rawValue == media } else { false }
        } ?? false
    }

    private func lost(_ feedback: [RTCPPacket]?) -> [UInt16] {
        feedback?.flatMap { packet -> [UInt16] in
            guard case .nack(let nack) = packet else { return [] }
            return nack.lost.map(\.rawValue)
        } ?? []
    }

    @Test("a hole is asked for and filled from the resend stream")
    func resend() throws {
        var stream = stream()
        stream.receive(packet(1, keyframe), at: start)
        stream.receive(packet(3), at: start)
        #expect(numbers(&stream, at: start) == [1])
        #expect(stream.pollFeedback(at: start) == nil)
        let later = start + .milliseconds(10)
        let told = stream.pollFeedback(at: later)
        let feedback = try #require(told)
        #expect(lost(feedback) == [2])
        // Read back as the publisher reads it: a compound that begins with a report.
        let read = try RTCPPacket.parse(compound: RTCPPacket.serialize(feedback))
        #expect(read == feedback)
        guard case .receiverReport(let report) = read[0] else {
            Issue.record("no report first")
            return
        }
        #expect(report.ssrc == own && report.reports.isEmpty)
        // A probe of the path is no packet.
        stream.receive(packet(8, [], type: 97, source: resends), at: later)
        stream.receive(packet(9, [0, 2] + slice, type: 97, source: resends), at: later)
        #expect(numbers(&stream, at: later) == [2, 3])
        #expect(stream.lost == 0 && stream.requested == 1 && stream.received == 2)
    }

    @Test("a keyframe is asked for while none came, and after a loss, once a second at most")
    func keyframes() {
        var stream = stream()
        stream.receive(packet(1), at: start)
        #expect(numbers(&stream, at: start) == [1])
        #expect(asksForKeyframe(stream.pollFeedback(at: start)))
        #expect(stream.deadline == start + .seconds(1))
        #expect(!asksForKeyframe(stream.pollFeedback(at: start + .milliseconds(999))))
        #expect(asksForKeyframe(stream.pollFeedback(at: start + .seconds(1))))
        // In an aggregate, behind an access unit delimiter.
        let aggregate: [UInt8] = [0x18, 0, 2, 0x09, 0xF0, 0, 2, 0x67, 66]
        stream.receive(packet(2, aggregate), at: start + .seconds(2))
        #expect(numbers(&stream, at: start + .seconds(2)) == [2])
        #expect(!asksForKeyframe(stream.pollFeedback(at: start + .seconds(3))))
        stream.receive(packet(4), at: start + .seconds(3))
        #expect(numbers(&stream, at: start + .milliseconds(3200)) == [4])
        #expect(asksForKeyframe(stream.pollFeedback(at: start + .milliseconds(3200))))
        // A keyframe in fragments.
        stream.receive(packet(5, [0x7C, 0x85, 1]), at: start + .seconds(4))
        #expect(numbers(&stream, at: start + .seconds(4)) == [5])
        #expect(!asksForKeyframe(stream.pollFeedback(at: start + .seconds(5))))
        #expect(stream.keyframesRequested == 3)
    }

    @Test("a publisher that offered no feedback is asked for nothing, but gets its reports")
    func withoutFeedback() throws {
        var stream = stream(hasNACK: false, hasPLI: false)
        #expect(stream.pollFeedback(at: start) == nil)
        stream.receive(packet(1), at: start)
        stream.receive(packet(3), at: start)
        #expect(stream.pollFeedback(at: start + .milliseconds(500)) == nil)
        let told = stream.pollFeedback(at: start + .seconds(1))
        let feedback = try #require(told)
        #expect(feedback.count == 2)
        guard case .receiverReport(let report) = feedback[0], let block = report.reports.first
        else {
            Issue.record("no report block")
            return
        }
        #expect(block.ssrc.rawValue == media && block.cumulativeLost == 1)
        #expect(stream.pollFeedback(at: start + .seconds(1)) == nil)
    }

    @Test("another source takes over only from one that fell silent")
    func takeOver() {
        var stream = stream()
        stream.receive(packet(100, keyframe), at: start)
        stream.receive(packet(90, source: 7), at: start)
        #expect(numbers(&stream, at: start) == [100])
        let later = start + .seconds(2)
        stream.receive(packet(90, keyframe, source: 7), at: later)
        #expect(stream.poll(at: later)?.ssrc.rawValue == 7)
        #expect(stream.received == 2)
    }

    @Test("bytes that are no packets, and other payloads, are passed over")
    func noise() {
        var stream = stream()
        stream.receive(ByteBuffer(bytes: [1, 2, 3]), at: start)
        stream.receive(packet(1, type: 111), at: start)
        stream.receive(packet(1, [0, 1, 0x41], type: 97, source: resends), at: start)
        #expect(stream.poll(at: start) == nil)
        #expect(stream.malformed == 1 && stream.received == 0 && stream.deadline == nil)
    }
}
