// H.264 over RTP: round trips, loss, quirks, malformed payloads.
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

private func nal(_ header: UInt8, _ body: [UInt8]) -> ByteBuffer {
    ByteBuffer(bytes: [header] + body)
}

/// A picture: perhaps small units first, then slices, the first of which begins at macroblock 0.
private func randomUnit(time: Int64, _ random: inout SeededRandom) -> AccessUnit {
    var units: [ByteBuffer] = []
    func bytes(_ maximum: Int) -> [UInt8] {
        (0..<Int.random(in: 1...maximum, using: &random)).map { _ in
            UInt8.random(in: 0...255, using: &random)
        }
    }
    let isRandomAccessPoint = Bool.random(using: &random)
    if Bool.random(using: &random) { units.append(nal(0x09, [0xF0])) }
    if isRandomAccessPoint { units.append(nal(0x67, bytes(20))) }
    if isRandomAccessPoint { units.append(nal(0x68, bytes(8))) }
    if Bool.random(using: &random) { units.append(nal(0x06, bytes(60))) }
    for index in 0..<Int.random(in: 1...4, using: &random) {
        units.append(
            nal(isRandomAccessPoint ? 0x65 : 0x41, [index == 0 ? 0x88 : 0x10] + bytes(2500)))
    }
    return AccessUnit(
        avcc: AVCC.serialize(units), decodeTime: time, isRandomAccessPoint: isRandomAccessPoint,
        wallTime: nil)
}

@Suite struct H264Tests {
    @Test("random access units survive packetizing at any payload size", arguments: UInt64(1)...12)
    func roundTrip(seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        let packetizer = Packetizer(
            codec: .h264, maxPayload: Int.random(in: 16...3000, using: &random))
        var depacketizer = Depacketizer(codec: .h264, parameterSets: nil)
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
                #expect(result.decodeTime == unit.decodeTime)
                #expect(result.isRandomAccessPoint == unit.isRandomAccessPoint)
            }
        }
    }

    @Test("without markers a unit ends with the next timestamp")
    func noMarkers() throws {
        var random = SeededRandom(seed: 99)
        let units = (0..<10).map { randomUnit(time: Int64($0) * 3600, &random) }
        var depacketizer = Depacketizer(codec: .h264, parameterSets: nil)
        var results: [AccessUnit] = []
        for unit in units {
            for payload in Packetizer(codec: .h264, maxPayload: 900).packetize(unit) {
                let result = try depacketizer.push(
                    packet(payload, marker: false), decodeTime: unit.decodeTime)
                if let result { results.append(result) }
            }
        }
        #expect(results.map(\.avcc) == units.dropLast().map(\.avcc))
        #expect(results.map(\.decodeTime) == units.dropLast().map(\.decodeTime))
    }

    @Test("a lost packet costs the unit it belonged to and no other", arguments: UInt64(1)...20)
    func loss(seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        let units = (0..<6).map { randomUnit(time: Int64($0) * 3600, &random) }
        let packetizer = Packetizer(codec: .h264, maxPayload: 700)
        let victim = Int.random(in: 1...4, using: &random)
        var depacketizer = Depacketizer(codec: .h264, parameterSets: nil)
        var times: [Int64] = []
        for (index, unit) in units.enumerated() {
            let payloads = packetizer.packetize(unit)
            let lost = Int.random(in: 0..<payloads.count, using: &random)
            var isGap = false
            for (position, payload) in payloads.enumerated() {
                if index == victim, position == lost {
                    isGap = true
                    continue
                }
                if isGap {
                    depacketizer.loss()
                    isGap = false
                }
                let last = position == payloads.count - 1
                let result = try? depacketizer.push(
                    packet(payload, marker: last), decodeTime: unit.decodeTime)
                if let result {
                    times.append(result.decodeTime)
                    if index != victim { #expect(result.avcc == unit.avcc) }
                }
            }
            // The gap shows only with the next packet when the last one was lost.
            if isGap { depacketizer.loss() }
        }
        let intact = units.map(\.decodeTime).filter { $0 != Int64(victim) * 3600 }
        #expect(times.filter { $0 != Int64(victim) * 3600 } == intact)
    }

    @Test("a slice after a gap that is not the first of its picture drops that picture only")
    func missingStart() throws {
        var depacketizer = Depacketizer(codec: .h264, parameterSets: nil)
        depacketizer.loss()
        #expect(throws: DepacketizeError.missingStart) {
            try depacketizer.push(packet(nal(0x41, [0x10, 1]), marker: true), decodeTime: 0)
        }
        let next = try depacketizer.push(
            packet(nal(0x41, [0x88, 1]), marker: true), decodeTime: 3600)
        #expect(next?.decodeTime == 3600)
    }

    @Test("keeps parameter sets whose packet spuriously has the marker with their picture")
    func spuriousMarker() throws {
        var depacketizer = Depacketizer(codec: .h264, parameterSets: nil)
        let sets = [nal(0x67, [1, 2, 3]), nal(0x68, [4])]
        for set in sets {
            #expect(try depacketizer.push(packet(set, marker: true), decodeTime: 5) == nil)
        }
        let slice = nal(0x65, [0x88, 9])
        let unit = try depacketizer.push(packet(slice, marker: true), decodeTime: 10)
        #expect(unit?.avcc == AVCC.serialize(sets + [slice]))
        #expect(unit?.decodeTime == 10)
        #expect(unit?.isRandomAccessPoint == true)
    }

    @Test("a whole unit behind a pending one comes out with the next packet")
    func twoAtOnce() throws {
        var depacketizer = Depacketizer(codec: .h264, parameterSets: nil)
        let slice = nal(0x41, [0x88, 1])
        #expect(try depacketizer.push(packet(slice, marker: false), decodeTime: 0) == nil)
        #expect(try depacketizer.push(packet(slice, marker: true), decodeTime: 1)?.decodeTime == 0)
        #expect(try depacketizer.push(packet(slice, marker: false), decodeTime: 2)?.decodeTime == 1)
        #expect(try depacketizer.push(packet(slice, marker: false), decodeTime: 3)?.decodeTime == 2)
    }

    @Test("learns parameter sets in band, and keeps the old ones when new ones are unreadable")
    func parameterSets() throws {
        let sps = ByteBuffer(bytes: [
            0x67, 0x4D, 0x00, 0x29, 0x9A, 0x64, 0x03, 0xC0, 0x11, 0x3F, 0x2C, 0xD4, 0x04, 0x04,
            0x05, 0x00, 0x00, 0x03, 0x03, 0xE8, 0x00, 0x00, 0xEA, 0x60, 0x04,
        ])
        let pps = ByteBuffer(bytes: [0x68, 0xEE, 0x3C, 0x80])
        var depacketizer = Depacketizer(codec: .h264, parameterSets: nil)
        for (time, first) in [(Int64(0), sps), (1, nal(0x67, [1]))] {
            let units = [first, pps, nal(0x65, [0x88, 9])]
            let unit = AccessUnit(
                avcc: AVCC.serialize(units), decodeTime: time, isRandomAccessPoint: true,
                wallTime: nil)
            for payload in Packetizer(codec: .h264).packetize(unit) {
                _ = try depacketizer.push(packet(payload, marker: true), decodeTime: time)
            }
            #expect(depacketizer.parameterSets?.sps == sps)
            #expect(depacketizer.parameterSets?.pps == pps)
        }
    }

    /// Sends an IDR behind `sets`, and answers what is in force then.
    private func setsInForce(
        _ depacketizer: inout Depacketizer, after sets: [ByteBuffer], time: Int64
    ) throws -> ParameterSets? {
        let unit = AccessUnit(
            avcc: AVCC.serialize(sets + [nal(0x65, [0x88, 9])]), decodeTime: time,
            isRandomAccessPoint: true,
            wallTime: nil)
        for payload in Packetizer(codec: .h264).packetize(unit) {
            _ = try depacketizer.push(packet(payload, marker: true), decodeTime: time)
        }
        return depacketizer.parameterSets
    }

    @Test("picture parameter sets with different ids stand side by side and do not alternate")
    func severalPictureSets() throws {
        let sps = ByteBuffer(bytes: [
            0x67, 0x4D, 0x00, 0x29, 0x9A, 0x64, 0x03, 0xC0, 0x11, 0x3F, 0x2C, 0xD4, 0x04, 0x04,
            0x05, 0x00, 0x00, 0x03, 0x03, 0xE8, 0x00, 0x00, 0xEA, 0x60, 0x04,
        ])
        var otherSPS = sps
        otherSPS.setInteger(UInt8(0x28), at: 3)
        let first = nal(0x68, [0xEE, 0x3C, 0x80])
        let second = nal(0x68, [0x4E, 0x3C, 0x80])
        var depacketizer = Depacketizer(codec: .h264, parameterSets: nil)
        let both = try setsInForce(&depacketizer, after: [sps, first, second], time: 0)
        #expect(both?.inBand == [sps, first, second])
        let repeats = [[sps, first, second], [sps, first], [second], [sps, second, first], []]
        for (index, sets) in repeats.enumerated() {
            let now = try setsInForce(&depacketizer, after: sets, time: Int64(index + 1) * 3600)
            #expect(now == both)
        }
        // A set that changes takes the place of the one with its id.
        let changed = nal(0x68, [0x4E, 0x3C, 0x81])
        let now = try setsInForce(&depacketizer, after: [changed], time: 90_000)
        #expect(now?.inBand == [sps, first, changed])
        // Another sequence set leaves behind what it did not bring along.
        let anew = try setsInForce(&depacketizer, after: [otherSPS, first], time: 180_000)
        #expect(anew?.inBand == [otherSPS, first])
        let alone = try setsInForce(&depacketizer, after: [sps], time: 270_000)
        #expect(alone?.inBand == [sps, first])
    }

    @Test("a unit beyond the limit is dropped and its memory with it")
    func limit() throws {
        var depacketizer = Depacketizer(codec: .h264, parameterSets: nil)
        let piece = ByteBuffer(repeating: 1, count: 60_000)
        var failures = 0
        for index in 0..<200 {
            var payload = ByteBuffer(bytes: [0x7C, index == 0 ? 0x85 : 0x05])
            if index == 0 { payload.writeInteger(UInt8(0x88)) }
            payload.writeImmutableBuffer(piece)
            do {
                _ = try depacketizer.push(packet(payload, marker: false), decodeTime: 0)
            } catch {
                failures += 1
                #expect(error as? DepacketizeError == .tooLarge)
            }
        }
        #expect(failures == 1)
    }

    @Test("no malformed payload traps", arguments: UInt64(1)...4)
    func sweep(seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        var depacketizer = Depacketizer(codec: .h264, parameterSets: nil)
        for index in 0..<300 {
            let unit = randomUnit(time: Int64(index / 3), &random)
            for var payload in Packetizer(codec: .h264, maxPayload: 1200).packetize(unit).prefix(3)
            {
                let at = Int.random(in: 0..<min(payload.readableBytes, 6), using: &random)
                payload.setInteger(UInt8.random(in: 0...255, using: &random), at: at)
                let length = Int.random(in: 0...payload.readableBytes, using: &random)
                guard let cut = payload.getSlice(at: 0, length: length) else { continue }
                let result = try? depacketizer.push(
                    packet(cut, marker: Bool.random(using: &random)), decodeTime: unit.decodeTime)
                if let result { #expect(result.nalUnits().count > 0) }
                if index % 17 == 0 { depacketizer.loss() }
            }
        }
    }
}
