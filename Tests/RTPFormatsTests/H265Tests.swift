// H.265 over RTP: round trips, structures byte for byte, loss, malformed payloads.
// SPDX-License-Identifier: Apache-2.0

import H26x
import NIOCore
import Primitives
import RTP
import RTPFormats
import Testing

private func packet(_ payload: ByteBuffer, marker: Bool) throws -> Packet {
    try Packet(
        validating: Packet.serialize(
            marker: marker, payloadType: 96, sequenceNumber: SequenceNumber(rawValue: 0),
            timestamp: RTPTimestamp(rawValue: 0), ssrc: SSRC(rawValue: 1), payload: payload))
}

private func nal(_ type: UInt8, _ body: [UInt8], temporal: UInt8 = 1) -> ByteBuffer {
    ByteBuffer(bytes: [type << 1, temporal] + body)
}

/// What libx265 wrote.
private enum Sample {
    static let vps: [UInt8] = [
        0x40, 0x01, 0x0C, 0x01, 0xFF, 0xFF, 0x01, 0x60, 0, 0, 3, 0, 0x90, 0, 0, 3, 0, 0, 3, 0, 0x5D,
        0x92, 0x80, 0x90,
    ]
    static let sps: [UInt8] = [
        0x42, 0x01, 0x01, 0x01, 0x60, 0, 0, 3, 0, 0x90, 0, 0, 3, 0, 0, 3, 0, 0x5D, 0xA0, 0x02, 0x80,
        0x80, 0x2D, 0x16, 0x59, 0x2A, 0x49, 0x32, 0xB9, 0xA8, 0x30, 0x30, 0x37, 0x08, 0, 0, 3, 0, 8,
        0, 0, 3, 0, 0x50, 0x40,
    ]
    static let pps: [UInt8] = [0x44, 0x01, 0xC1, 0x72, 0xB4, 0x62, 0x40]
    static var all: [ByteBuffer] { [vps, sps, pps].map { ByteBuffer(bytes: $0) } }

    static func sets() throws -> ParameterSets { try ParameterSets(among: all, .h265) }
}

private func randomUnit(time: Int64, _ random: inout SeededRandom) -> AccessUnit {
    func bytes(_ maximum: Int) -> [UInt8] {
        (0..<Int.random(in: 1...maximum, using: &random)).map { _ in
            UInt8.random(in: 0...255, using: &random)
        }
    }
    let isRandomAccess = Bool.random(using: &random)
    var units: [ByteBuffer] = []
    if Bool.random(using: &random) { units.append(nal(35, [0x50])) }
    if isRandomAccess { units += Sample.all }
    if Bool.random(using: &random) { units.append(nal(39, bytes(60))) }
    let type: UInt8 = isRandomAccess ? [16, 19, 20, 21].randomElement(using: &random) ?? 19 : 1
    for index in 0..<Int.random(in: 1...4, using: &random) {
        let temporal = UInt8.random(in: 1...3, using: &random)
        units.append(nal(type, [index == 0 ? 0x80 : 0x20] + bytes(2500), temporal: temporal))
    }
    return AccessUnit(
        avcc: AVCC.serialize(units), decodeTime: time, isRandomAccessPoint: isRandomAccess,
        wallTime: nil)
}

@Suite struct H265Tests {
    @Test("random access units survive packetizing at any payload size", arguments: UInt64(1)...12)
    func roundTrip(seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        let packetizer = Packetizer(
            codec: .h265, maxPayload: Int.random(in: 16...3000, using: &random))
        var depacketizer = Depacketizer(codec: .h265, parameterSets: nil)
        for index in 0..<15 {
            let unit = randomUnit(time: Int64(index) * 3600, &random)
            let payloads = packetizer.packetize(unit)
            for (position, payload) in payloads.enumerated() {
                let isLast = position == payloads.count - 1
                let result = try depacketizer.push(
                    packet(payload, marker: isLast), decodeTime: unit.decodeTime)
                #expect((result != nil) == isLast)
                guard let result else { continue }
                #expect(result.avcc == unit.avcc)
                #expect(result.isRandomAccessPoint == unit.isRandomAccessPoint)
            }
        }
        #expect(depacketizer.parameterSets == (try Sample.sets()))
    }

    @Test("writes aggregates and fragments as RFC 7798 draws them")
    func structures() throws {
        let small = AccessUnit(
            avcc: AVCC.serialize([nal(39, [7], temporal: 3), nal(1, [0x80, 9], temporal: 2)]),
            decodeTime: 0, isRandomAccessPoint: false, wallTime: nil)
        let aggregate = try #require(Packetizer(codec: .h265).packetize(small).first)
        #expect(
            Array(aggregate.readableBytesView)
                == [48 << 1, 2, 0, 3, 39 << 1, 3, 7, 0, 4, 2, 2, 0x80, 9])
        let large = AccessUnit(
            avcc: AVCC.serialize([nal(19, [0x80] + (1...30).map { UInt8($0) })]), decodeTime: 0,
            isRandomAccessPoint: true, wallTime: nil)
        let fragments = Packetizer(codec: .h265, maxPayload: 16).packetize(large)
        #expect(fragments.map(\.readableBytes) == [16, 16, 8])
        let heads = fragments.map { Array($0.readableBytesView.prefix(3)) }
        #expect(heads == [[98, 1, 0x80 | 19], [98, 1, 19], [98, 1, 0x40 | 19]])
    }

    @Test("a keyframe that comes without parameter sets is given them, the delimiter first")
    func completed() throws {
        var packetizer = BurstPacketizer(maxPayload: 1160)
        let delimiter = nal(35, [0x50])
        let slice = nal(19, [0x80, 1, 2, 3])
        let burst = packetizer.next(
            AccessUnit(
                avcc: AVCC.serialize([delimiter, slice]), decodeTime: 0, isRandomAccessPoint: true,
                wallTime: nil),
            try Sample.sets())
        var depacketizer = Depacketizer(codec: .h265, parameterSets: nil)
        #expect(burst.packetCount == 1)
        let unit = try depacketizer.push(packet(burst.payloads, marker: true), decodeTime: 0)
        #expect(unit?.nalUnits() == [delimiter] + Sample.all + [slice])
        #expect(depacketizer.parameterSets == (try Sample.sets()))
    }

    @Test("parameter sets that come one by one wait for each other")
    func scattered() throws {
        var depacketizer = Depacketizer(codec: .h265, parameterSets: nil)
        for (index, set) in Sample.all.enumerated() {
            let time = Int64(index) * 3600
            _ = try depacketizer.push(packet(set, marker: false), decodeTime: time)
            let slice = nal(19, [0x80, 1])
            let unit = try depacketizer.push(packet(slice, marker: true), decodeTime: time)
            #expect(unit?.isRandomAccessPoint == true)
            #expect((depacketizer.parameterSets != nil) == (index == 2))
        }
    }

    @Test("after a loss a unit must begin with its first slice segment")
    func loss() throws {
        var depacketizer = Depacketizer(codec: .h265, parameterSets: nil)
        depacketizer.loss()
        #expect(throws: DepacketizeError.missingStart) {
            _ = try depacketizer.push(packet(nal(1, [0x20, 1]), marker: true), decodeTime: 0)
        }
        let unit = try depacketizer.push(packet(nal(1, [0x80, 1]), marker: true), decodeTime: 3600)
        #expect(unit != nil)
    }

    @Test("refuses what it does not read: PACI, broken fragments, cut aggregates")
    func refusals() throws {
        func push(_ bytes: [UInt8]) throws {
            var depacketizer = Depacketizer(codec: .h265, parameterSets: nil)
            _ = try depacketizer.push(
                packet(ByteBuffer(bytes: bytes), marker: true), decodeTime: 0)
        }
        #expect(throws: DepacketizeError.unsupportedType(50)) { try push([100, 1, 0, 0]) }
        #expect(throws: DepacketizeError.brokenFragment) { try push([98, 1, 19, 5]) }
        #expect(throws: DepacketizeError.truncated(offset: 2)) { try push([98, 1]) }
        #expect(throws: DepacketizeError.truncated(offset: 2)) { try push([96, 1, 0, 9, 1]) }
    }

    @Test("any bytes give units, errors or nothing, and units are whole", arguments: UInt64(1)...4)
    func malformed(seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        var depacketizer = Depacketizer(codec: .h265, parameterSets: nil)
        for round in 0..<5000 {
            var bytes = (0..<Int.random(in: 0...40, using: &random)).map { _ in
                UInt8.random(in: 0...255, using: &random)
            }
            if !bytes.isEmpty, round % 2 == 0 {
                bytes[0] = [96, 98, 38, 2].randomElement(using: &random) ?? 2
            }
            let payload = try packet(
                ByteBuffer(bytes: bytes), marker: Bool.random(using: &random))
            let unit = try? depacketizer.push(payload, decodeTime: Int64(round / 3) * 3600)
            if let unit { #expect((try? AVCC.nalUnits(in: unit.avcc)) != nil) }
        }
    }
}
