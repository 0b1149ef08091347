// The packet path of one camera: restarts of its source, and clocks of other rates.
// SPDX-License-Identifier: Apache-2.0

import H26x
import Ingest
import NIOCore
import Primitives
import RTSP
import Testing

private let now = Instant(nanoseconds: 0)

private func sets() throws -> ParameterSets {
    try ParameterSets(
        sps: ByteBuffer(bytes: [0x67, 66, 0xC0, 10, 0xDA, 0x02, 0x80, 0xF6, 0x40]),
        pps: ByteBuffer(bytes: [0x68, 0xEE, 0x3C, 0x80]))
}

private func reception(clockRate: Int = 90_000) throws -> VideoReception {
    VideoReception(
        track: VideoTrack(
            codec: .h264, payloadType: 96, clockRate: clockRate, parameterSets: try sets()))
}

/// An RTP packet (RFC 3550 §5.1) around one slice.
private func packet(
    _ number: UInt16, time: UInt32, source: UInt32 = 1, marker: Bool = true,
    slice: [UInt8] = [0x41, 0x88, 1]
) -> ByteBuffer {
    var bytes = ByteBuffer(bytes: [0x80, (marker ? 0x80 : 0) | 96])
    bytes.writeInteger(number)
    bytes.writeInteger(time)
    bytes.writeInteger(source)
    bytes.writeBytes(slice)
    return bytes
}

@Suite struct VideoReceptionTests {
    @Test("what a source owed when it began anew is never handed out as whole")
    func restart() throws {
        var reception = try reception()
        #expect(reception.receive(rtp: packet(1, time: 0), at: now).unit != nil)
        let half = reception.receive(rtp: packet(2, time: 3600, marker: false), at: now)
        #expect(half.unit == nil)
        let anew = reception.receive(rtp: packet(900, time: 7200, source: 2), at: now)
        #expect(anew.discarded == [.packetLoss])
        let unit = try #require(anew.unit)
        #expect(unit.avcc == AVCC.serialize([ByteBuffer(bytes: [0x41, 0x88, 1])]))
        #expect(unit.decodeTime == 7200)
        // Begun in the middle of a picture, that picture is no loss that may be shown either.
        let middle = reception.receive(
            rtp: packet(9000, time: 10_800, source: 3, slice: [0x41, 0x10, 1]), at: now)
        #expect(middle.unit == nil)
        #expect(middle.discarded == [.packetLoss, .malformedPayload])
    }

    @Test("media time is in ticks of 90 kHz whatever the camera counts in")
    func clockRate() throws {
        for (rate, step) in [(90_000, 3600), (48_000, 1920), (1000, 40), (1_000_000, 40_000)] {
            var reception = try reception(clockRate: rate)
            var times: [Int64] = []
            for index in 0..<5 {
                // The timestamps wrap on the way.
                let time = UInt32.max - UInt32(step) &+ UInt32(index * step) &- UInt32(step / 2)
                let outcome = reception.receive(
                    rtp: packet(UInt16(index), time: time), at: now)
                if let unit = outcome.unit { times.append(unit.decodeTime) }
            }
            let steps = zip(times.dropFirst(), times).map { $0 - $1 }
            // Rounded to whole ticks, no error adds up.
            #expect(steps.allSatisfy { abs($0 - 3600) <= 1 }, "\(rate): \(times)")
            #expect(abs((times.last ?? 0) - 4 * 3600) <= 1, "\(rate): \(times)")
        }
    }

    @Test("other payload types and repeats are passed over, damage is counted")
    func discards() throws {
        var reception = try reception()
        #expect(reception.receive(rtp: ByteBuffer(), at: now).discarded == [.malformedPacket])
        #expect(reception.receive(rtp: packet(1, time: 0), at: now).unit != nil)
        let again = reception.receive(rtp: packet(1, time: 0), at: now)
        #expect(again.unit == nil && again.discarded.isEmpty)
        var other = packet(2, time: 1)
        other.setInteger(UInt8(97), at: 1)
        let passed = reception.receive(rtp: other, at: now)
        #expect(passed.unit == nil && passed.discarded.isEmpty)
        let isReadable = reception.receive(rtcp: ByteBuffer(bytes: [1, 2]), at: now)
        #expect(!isReadable)
        var bare = VideoReception(
            track: VideoTrack(codec: .h264, payloadType: 96, clockRate: 0, parameterSets: nil))
        #expect(
            bare.receive(rtp: packet(1, time: 0), at: now).discarded == [.awaitingParameterSets])
    }
}
