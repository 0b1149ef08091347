// A machine-readable number in the picture, so that decoded pixels prove which frame they are.
// SPDX-License-Identifier: Apache-2.0

/// Two rows of sixteen black or white blocks at the top left, most significant bit first.
///
///     row 0: frame number in the loop (16 bits)
///     row 1: camera number (8 bits), CRC-8 of the three bytes before (polynomial 0x07, start 0xFF)
///
/// Blocks have the size of an H.264 macroblock or twice that, so they survive 2 Mbit/s.
package struct FrameCode: Hashable, Sendable {
    /// The frame's position in its camera's loop.
    package var frame: UInt16
    /// The number of the scene, from 1.
    package var camera: UInt8

    package init(frame: UInt16, camera: UInt8) {
        self.frame = frame
        self.camera = camera
    }

    /// Edge of one block in a picture of this width.
    package static func blockSize(width: Int) -> Int { width >= 1920 ? 32 : 16 }

    private static let columns = 16
    private static let rows = 2

    private var bits: UInt32 {
        let data = [UInt8(frame >> 8), UInt8(truncatingIfNeeded: frame), camera]
        return UInt32(frame) << 16 | UInt32(camera) << 8 | UInt32(Self.crc8(data))
    }

    /// Draws the code into the top left corner.
    package func draw(into image: inout YUVImage) {
        let size = Self.blockSize(width: image.width)
        let bits = bits
        for index in 0..<(Self.columns * Self.rows) {
            let isWhite = bits >> UInt32(31 - index) & 1 == 1
            image.fillRectangle(
                x: index % Self.columns * size, y: index / Self.columns * size, width: size,
                height: size, YUVColor(y: isWhite ? 235 : 16))
        }
    }

    /// Reads the code of a decoded picture; `nil` where there is none or it does not check.
    ///
    /// `stride` is the bytes per row; `width` the picture's, where rows are padded.
    package static func read(
        luma: some RandomAccessCollection<UInt8>, stride: Int, width: Int? = nil
    ) -> FrameCode? {
        let size = blockSize(width: width ?? stride)
        guard stride >= columns * size, luma.count >= stride * (rows * size - 1) + columns * size
        else { return nil }
        var bits: UInt32 = 0
        for index in 0..<(columns * rows) {
            let (left, top) = (index % columns * size, index / columns * size)
            // The middle quarter of a block is free of the blur at its edges.
            var sum = 0
            for y in (top + size / 4)..<(top + size * 3 / 4) {
                for x in (left + size / 4)..<(left + size * 3 / 4) {
                    sum += Int(luma[luma.index(luma.startIndex, offsetBy: y * stride + x)])
                }
            }
            bits = bits << 1 | (sum > 126 * (size / 2) * (size / 2) ? 1 : 0)
        }
        let code = FrameCode(
            frame: UInt16(truncatingIfNeeded: bits >> 16),
            camera: UInt8(truncatingIfNeeded: bits >> 8))
        return code.bits == bits ? code : nil
    }

    private static func crc8(_ bytes: [UInt8]) -> UInt8 {
        var crc: UInt8 = 0xFF
        for byte in bytes {
            crc ^= byte
            for _ in 0..<8 { crc = crc & 0x80 != 0 ? crc << 1 ^ 0x07 : crc << 1 }
        }
        return crc
    }
}
