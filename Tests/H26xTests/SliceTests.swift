// Which pictures are predicted from two others.
// SPDX-License-Identifier: Apache-2.0

import H26x
import NIOCore
import Testing

@Suite struct SliceTests {
    private func unit(header: UInt8, firstMacroblock: UInt32, type: UInt32) -> AccessUnit {
        var writer = BitWriter()
        writer.write(UInt32(header), bits: 8)
        writer.unsigned(firstMacroblock)
        writer.unsigned(type)
        writer.write(0x5A5A, bits: 16)
        return AccessUnit(
            avcc: AVCC.serialize([ByteBuffer(bytes: RBSP.escape(writer.payload()))]), decodeTime: 0,
            isRandomAccessPoint: false, wallTime: nil)
    }

    @Test("tells B slices by their type, which may be told for the whole picture")
    func types() {
        for type in UInt32(0)...9 {
            let isB = type % 5 == 1
            #expect(unit(header: 0x41, firstMacroblock: 0, type: type).hasBSliceOfH264 == isB)
            #expect(unit(header: 0x01, firstMacroblock: 8159, type: type).hasBSliceOfH264 == isB)
        }
        // SEI, whatever it holds.
        #expect(!unit(header: 0x06, firstMacroblock: 0, type: 1).hasBSliceOfH264)
    }

    @Test("does not believe a slice that ends too early")
    func truncated() {
        for bytes in [[0x41], [0x41, 0], [0x41, 0, 0, 0, 0], [0x41, 0x80]] as [[UInt8]] {
            let unit = AccessUnit(
                avcc: AVCC.serialize([ByteBuffer(bytes: bytes)]), decodeTime: 0,
                isRandomAccessPoint: false,
                wallTime: nil)
            #expect(!unit.hasBSliceOfH264)
        }
    }
}
