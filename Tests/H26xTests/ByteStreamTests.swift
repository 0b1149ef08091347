// NAL units between start codes, behind lengths, and inside SEI messages.
// SPDX-License-Identifier: Apache-2.0

import H26x
import NIOCore
import Primitives
import Testing

private func buffers(_ units: [[UInt8]]) -> [ByteBuffer] { units.map { ByteBuffer(bytes: $0) } }

@Suite("Annex B and AVCC")
struct ByteStreamTests {
    private let units = buffers([[0x67, 1, 2], [0x68, 3], [0x65, 0, 0, 3, 1, 9]])

    @Test("splits what it wrote")
    func roundTrips() throws {
        #expect(AnnexB.nalUnits(in: AnnexB.serialize(units)) == units)
        #expect(try AVCC.nalUnits(in: AVCC.serialize(units)) == units)
        #expect(AnnexB.nalUnits(in: ByteBuffer()).isEmpty)
        #expect(try AVCC.nalUnits(in: ByteBuffer()).isEmpty)
    }

    @Test("takes three-byte start codes, leading junk, trailing zeros and empty units")
    func tolerant() {
        let stream = ByteBuffer(bytes: [
            9, 9, 0, 0, 1, 0x67, 1, 0, 0, 0, 0, 1, 0x68, 2, 0, 0, 1, 0, 0, 1, 0x65, 7, 0, 0,
        ])
        #expect(AnnexB.nalUnits(in: stream) == buffers([[0x67, 1], [0x68, 2], [0x65, 7]]))
    }

    @Test("splits a stream that does not start at the buffer's first byte")
    func offsetReader() {
        var stream = ByteBuffer(bytes: [1, 2, 3])
        stream.writeImmutableBuffer(AnnexB.serialize(units))
        stream.moveReaderIndex(forwardBy: 3)
        #expect(AnnexB.nalUnits(in: stream) == units)
    }

    @Test("refuses a length past the end or of zero, and an access unit ends its list there")
    func malformedTail() {
        var sample = AVCC.serialize(units)
        sample.writeInteger(UInt32.max)
        sample.writeInteger(UInt8(0x65))
        #expect(throws: H26xError.truncated(offset: 23)) { try AVCC.nalUnits(in: sample) }
        let unit = AccessUnit(avcc: sample, decodeTime: 0, isRandomAccessPoint: true, wallTime: nil)
        #expect(unit.nalUnits() == units)
        #expect(throws: H26xError.invalidValue(field: "NAL unit length", offset: 0)) {
            try AVCC.nalUnits(in: ByteBuffer(bytes: [0, 0, 0, 0]))
        }
    }

    @Test("survives 5,000 seeded streams, and never finds a start code inside a unit")
    func malformed() {
        var random = SeededRandom(seed: 0xA88)
        for _ in 0..<5_000 {
            let bytes = (0..<Int.random(in: 0...40, using: &random)).map { _ in
                UInt8.random(in: 0...3, using: &random)
            }
            let stream = ByteBuffer(bytes: bytes)
            for unit in AnnexB.nalUnits(in: stream) {
                #expect(unit.readableBytes > 0)
                #expect(AnnexB.nalUnits(in: unit).isEmpty)
            }
            _ = try? AVCC.nalUnits(in: stream)
            _ = AccessUnit(avcc: stream, decodeTime: 0, isRandomAccessPoint: false, wallTime: nil)
                .nalUnits()
        }
    }
}

@Suite("Emulation prevention and SEI")
struct SupplementalEnhancementTests {
    private let uuid = (0..<16).map { UInt8($0) }

    @Test("escapes golden bytes")
    func escapes() {
        #expect(RBSP.escape([0, 0, 0, 0, 0, 1]) == [0, 0, 3, 0, 0, 3, 0, 1])
        #expect(RBSP.escape([0, 0, 4, 0, 0, 3]) == [0, 0, 4, 0, 0, 3, 3])
        #expect(RBSP.unescape([0, 0, 3, 0, 0, 3, 0, 1]) == [0, 0, 0, 0, 0, 1])
    }

    @Test("unescapes whatever was escaped, which holds no start code")
    func escapeRoundTrip() {
        var random = SeededRandom(seed: 3)
        for _ in 0..<2_000 {
            let bytes = (0..<Int.random(in: 0...30, using: &random)).map { _ in
                UInt8.random(in: 0...4, using: &random)
            }
            let escaped = RBSP.escape(bytes)
            #expect(RBSP.unescape(escaped) == bytes)
            #expect(AnnexB.nalUnits(in: ByteBuffer(bytes: escaped)).isEmpty)
        }
    }

    @Test("carries payloads of every awkward size", arguments: [0, 1, 238, 239, 240, 494, 5000])
    func roundTrip(size: Int) {
        let payload = [UInt8](repeating: 0, count: size)
        let nal = SupplementalEnhancement.userDataUnregistered(.h264, uuid: uuid, payload: payload)
        #expect(nal.getInteger(at: 0, as: UInt8.self) == 6)
        #expect(AnnexB.nalUnits(in: AnnexB.serialize([nal])) == [nal])
        #expect(SupplementalEnhancement.userDataUnregistered(.h264, in: nal, uuid: uuid) == payload)
        let other = [UInt8](repeating: 7, count: 16)
        #expect(SupplementalEnhancement.userDataUnregistered(.h264, in: nal, uuid: other) == nil)
    }

    @Test("finds its message behind another one in the same unit")
    func second() {
        var bytes: [UInt8] = [6, 1, 2, 0xAA, 0xBB, 5, 18]
        bytes += uuid + [42, 43, 0x80]
        let nal = ByteBuffer(bytes: bytes)
        #expect(
            SupplementalEnhancement.userDataUnregistered(.h264, in: nal, uuid: uuid) == [42, 43])
    }

    @Test("survives every truncation and 5,000 seeded mutations")
    func malformed() {
        let nal = SupplementalEnhancement.userDataUnregistered(
            .h264, uuid: uuid, payload: [UInt8](repeating: 1, count: 300))
        let good = Array(nal.readableBytesView)
        for length in 0..<(good.count - 1) {
            let cut = ByteBuffer(bytes: good.prefix(length))
            #expect(SupplementalEnhancement.userDataUnregistered(.h264, in: cut, uuid: uuid) == nil)
        }
        var random = SeededRandom(seed: 0x5E1)
        for _ in 0..<5_000 {
            var bytes = good
            bytes[Int.random(in: 0..<24, using: &random)] = .random(in: 0...255, using: &random)
            let mutated = ByteBuffer(bytes: bytes)
            _ = SupplementalEnhancement.userDataUnregistered(.h264, in: mutated, uuid: uuid)
        }
    }
}
