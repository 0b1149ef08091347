// Packets made once for all viewers: what goes in comes out, and every unit can be decoded from.
// SPDX-License-Identifier: Apache-2.0

import H26x
import NIOCore
import Primitives
import RTP
import RTPFormats
import Testing

private func nal(_ header: UInt8, _ count: Int, _ random: inout SeededRandom) -> ByteBuffer {
    var bytes = ByteBuffer()
    bytes.writeInteger(header)
    // The first slice begins at macroblock 0.
    if count > 1 { bytes.writeInteger(UInt8(0x88)) }
    for _ in 0..<max(0, count - 2) { bytes.writeInteger(UInt8.random(in: 0...255, using: &random)) }
    return bytes
}

private func unit(_ nalUnits: [ByteBuffer], isRandomAccessPoint: Bool, time: Int64 = 0)
    -> AccessUnit
{
    AccessUnit(
        avcc: AVCC.serialize(nalUnits), decodeTime: time, isRandomAccessPoint: isRandomAccessPoint,
        wallTime: WallTime(microseconds: 7))
}

private func payloads(_ burst: PacketBurst) -> [ByteBuffer] {
    (0..<burst.packetCount).compactMap { packet in
        let range = burst.range(of: packet)
        return burst.payloads.getSlice(
            at: burst.payloads.readerIndex + range.lowerBound, length: range.count)
    }
}

/// What a viewer makes of a burst.
private func depacketize(
    _ burst: PacketBurst, with depacketizer: inout Depacketizer
) throws -> AccessUnit? {
    var result: AccessUnit?
    for (index, payload) in payloads(burst).enumerated() {
        let isLast = index == burst.packetCount - 1
        let packet = try Packet(
            validating: Packet.serialize(
                marker: isLast, payloadType: 96, sequenceNumber: SequenceNumber(rawValue: 0),
                timestamp: RTPTimestamp(rawValue: 0), ssrc: SSRC(rawValue: 1), payload: payload))
        result = try depacketizer.push(packet, decodeTime: burst.decodeTime)
        #expect((result != nil) == isLast)
    }
    return result
}

@Suite struct PacketBurstTests {
    private static let sps = ByteBuffer(bytes: [0x67, 66, 0xC0, 10, 0xDA, 0x02, 0x80, 0xF6, 0x40])
    /// Of the ids 0 and 1.
    private static let first = ByteBuffer(bytes: [0x68, 0xEE, 0x3C, 0x80])
    private static let second = ByteBuffer(bytes: [0x68, 0x4E, 0x3C, 0x80])
    private static let delimiter = ByteBuffer(bytes: [0x09, 0xF0])
    private static let slice = ByteBuffer(bytes: [0x65, 0x88, 1, 2, 3])

    private func sets(_ pictureSets: [ByteBuffer] = [first]) throws -> ParameterSets {
        try ParameterSets(sps: Self.sps, pictureParameterSets: pictureSets)
    }

    @Test("random units survive at any payload size", arguments: UInt64(1)...40)
    func roundTrip(seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        let maxPayload = Int.random(in: 64...1400, using: &random)
        var packetizer = BurstPacketizer(maxPayload: maxPayload)
        var depacketizer = Depacketizer(codec: .h264, parameterSets: nil)
        var nextPacket: Int64 = 0
        for frame in 0..<12 {
            let isRandomAccessPoint = Bool.random(using: &random)
            var nalUnits: [ByteBuffer] = Bool.random(using: &random) ? [Self.delimiter] : []
            if isRandomAccessPoint { nalUnits += [Self.sps, Self.first] }
            // Sizes at the edges of a payload and of its multiples are the ones that go wrong.
            let edges = [1, 2, 3, maxPayload - 3, maxPayload - 1, maxPayload, maxPayload + 1]
            for index in 0..<Int.random(in: 1...6, using: &random) {
                let isEdge = Bool.random(using: &random)
                let count =
                    isEdge
                    ? edges[Int.random(in: 0..<edges.count, using: &random)]
                        + Int.random(in: 0...3, using: &random) * (maxPayload - 2)
                    : Int.random(in: 2...5000, using: &random)
                let size = index == 0 ? max(2, count) : count
                nalUnits.append(nal(isRandomAccessPoint ? 0x65 : 0x41, size, &random))
            }
            let unit = unit(
                nalUnits, isRandomAccessPoint: isRandomAccessPoint, time: Int64(frame) * 3600)
            let burst = packetizer.next(unit, try sets())
            #expect(burst.frame == Int64(frame))
            #expect(burst.firstPacket == nextPacket)
            nextPacket = burst.endPacket
            #expect(burst.ends.last == burst.payloads.readableBytes)
            #expect(payloads(burst).allSatisfy { (1...maxPayload).contains($0.readableBytes) })
            let result = try depacketize(burst, with: &depacketizer)
            #expect(result?.avcc == unit.avcc, "seed \(seed)")
            #expect(result?.isRandomAccessPoint == isRandomAccessPoint)
            #expect(burst.isRandomAccessPoint == isRandomAccessPoint)
            #expect(burst.wallTime == unit.wallTime)
        }
    }

    @Test("all fragments of a unit but the last are of one size", arguments: [64, 100, 1160])
    func fragments(maxPayload: Int) throws {
        var random = SeededRandom(seed: 3)
        for count in [maxPayload + 1, 2 * maxPayload, 10 * (maxPayload - 2) + 1, 9999] {
            var packetizer = BurstPacketizer(maxPayload: maxPayload)
            let burst = packetizer.next(
                unit([nal(0x41, count, &random)], isRandomAccessPoint: false), try sets())
            let sizes = payloads(burst).map(\.readableBytes)
            #expect(sizes.count == (count - 1 + maxPayload - 3) / (maxPayload - 2))
            #expect(sizes.dropLast().allSatisfy { $0 == maxPayload })
            #expect((3...maxPayload).contains(sizes.last ?? 0))
        }
    }

    /// What a viewer gets for an IDR unit.
    private func units(_ nalUnits: [ByteBuffer], _ sets: ParameterSets) throws -> [ByteBuffer] {
        var packetizer = BurstPacketizer(maxPayload: 1160)
        var depacketizer = Depacketizer(codec: .h264, parameterSets: nil)
        let burst = packetizer.next(unit(nalUnits, isRandomAccessPoint: true), sets)
        return try #require(try depacketize(burst, with: &depacketizer)).nalUnits()
    }

    @Test("an IDR without parameter sets is given them, behind its delimiter")
    func inserts() throws {
        let sets = try sets([Self.first, Self.second])
        let expected = [Self.sps, Self.first, Self.second, Self.slice]
        #expect(try units([Self.slice], sets) == expected)
        #expect(try units([Self.delimiter, Self.slice], sets) == [Self.delimiter] + expected)
    }

    @Test("what an IDR brings itself is not doubled, and what it lacks of it is added")
    func completes() throws {
        let two = try sets([Self.first, Self.second])
        let whole = [Self.delimiter, Self.sps, Self.first, Self.second, Self.slice]
        #expect(try units(whole, two) == whole)
        #expect(try Set(units([Self.delimiter, Self.sps, Self.slice], two)) == Set(whole))
        #expect(try units([Self.delimiter, Self.first, Self.slice], two).count == whole.count)
        let partial = try units([Self.delimiter, Self.sps, Self.second, Self.slice], two)
        #expect(partial.count == whole.count)
        #expect(partial.prefix(2) == whole.prefix(2))
        #expect(partial.last == Self.slice)
    }

    @Test("an IDR with another sequence parameter set than the known one stays as it is")
    func foreign() throws {
        let other = ByteBuffer(bytes: [0x67, 66, 0xC0, 11, 0xDA, 0x02, 0x80, 0xF6, 0x40])
        #expect(try units([other, Self.slice], try sets()) == [other, Self.slice])
    }

    @Test("a unit that is no IDR is given nothing")
    func others() throws {
        var packetizer = BurstPacketizer(maxPayload: 1160)
        let plain = ByteBuffer(bytes: [0x41, 0x88, 1])
        let burst = packetizer.next(unit([plain], isRandomAccessPoint: false), try sets())
        #expect(payloads(burst) == [plain])
    }

    @Test("empty and malformed units make no packets and count as frames")
    func empty() throws {
        var packetizer = BurstPacketizer(maxPayload: 0)
        let malformed: [[UInt8]] = [[], [0, 0, 0, 0], [0, 0, 0, 9, 1], [1, 2]]
        for (index, avcc) in malformed.enumerated() {
            let unit = AccessUnit(
                avcc: ByteBuffer(bytes: avcc), decodeTime: 1, isRandomAccessPoint: false,
                wallTime: nil)
            let burst = packetizer.next(unit, try sets())
            #expect(burst.packetCount == 0)
            #expect(burst.firstPacket == burst.endPacket)
            #expect(burst.frame == Int64(index))
        }
        let idr = packetizer.next(unit([], isRandomAccessPoint: true), try sets())
        #expect(idr.packetCount == 1)
        let sliced = AccessUnit(
            avcc: AVCC.serialize([Self.delimiter, Self.slice]), decodeTime: 1,
            isRandomAccessPoint: false,
            wallTime: nil)
        #expect(packetizer.next(sliced, try sets()).firstPacket == 1)
    }
}
