// H.265 in files: the sample entry and its record, and what can be a coded picture.
// SPDX-License-Identifier: Apache-2.0

import H26x
import MP4
import NIOCore
import Testing

@Suite struct H265Tests {
    /// What libx265 wrote for 1280x720.
    private func sets() throws -> ParameterSets {
        let vps: [UInt8] = [
            0x40, 0x01, 0x0C, 0x01, 0xFF, 0xFF, 0x01, 0x60, 0, 0, 3, 0, 0x90, 0, 0, 3, 0, 0, 3, 0,
            0x5D, 0x92, 0x80, 0x90,
        ]
        let sps: [UInt8] = [
            0x42, 0x01, 0x01, 0x01, 0x60, 0, 0, 3, 0, 0x90, 0, 0, 3, 0, 0, 3, 0, 0x5D, 0xA0, 0x02,
            0x80, 0x80, 0x2D, 0x16, 0x59, 0x2A, 0x49, 0x32, 0xB9, 0xA8, 0x30, 0x30, 0x37, 0x08, 0,
            0, 3, 0, 8, 0, 0, 3, 0, 0x50, 0x40,
        ]
        let pps: [UInt8] = [0x44, 0x01, 0xC1, 0x72, 0xB4, 0x62, 0x40]
        return try ParameterSets(
            vps: ByteBuffer(bytes: vps), sps: ByteBuffer(bytes: sps),
            pictureParameterSets: [ByteBuffer(bytes: pps)])
    }

    @Test("an init segment names hvc1 and gives the parameter sets back")
    func initSegment() throws {
        let bytes = InitSegment.serialize(try sets())
        #expect(try InitSegment.parameterSets(in: bytes) == sets())
        let text = String(decoding: bytes.readableBytesView, as: UTF8.self)
        #expect(text.contains("hvc1") && text.contains("hvcC"))
        #expect(!text.contains("avc1") && !text.contains("avcC"))
    }

    @Test("parameter sets and keyframes are coded pictures' units, zeros and cut units are not")
    func units() throws {
        func holds(_ bytes: [UInt8], _ codec: Codec = .h265) throws -> Bool {
            var builder = FragmentBuilder(sequenceNumber: 1, baseDecodeTime: 0)
            let unit = AccessUnit(
                avcc: ByteBuffer(bytes: bytes), decodeTime: 0, isRandomAccessPoint: true,
                wallTime: nil)
            builder.append(unit, duration: 3600)
            let fragment = builder.finish().serialize()
            return try FragmentHeader.parse(fragment).holdsNALUnits(fragment, codec)
        }
        // The lower bits of these headers would make no type of H.264.
        let whole: [UInt8] = [0, 0, 0, 3, 0x40, 1, 9, 0, 0, 0, 4, 0x26, 1, 0xAF, 7]
        #expect(try holds(whole))
        #expect(try !holds(whole, .h264))
        #expect(try holds([0, 0, 0, 3, 0, 1, 0x80]))
        #expect(try !holds([0, 0, 0, 3, 0x26, 0, 0]))
        #expect(try !holds([0, 0, 0, 1, 0x26]))
        #expect(try !holds([0, 0, 0, 9, 0x26, 1, 0xAF]))
    }
}
