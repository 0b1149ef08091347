// The canvas of the simulated cameras: planar YUV 4:2:0, limited range, in one array.
// SPDX-License-Identifier: Apache-2.0

import Foundation
import Primitives

/// A colour in limited-range YUV (BT.601 proportions).
package struct YUVColor: Hashable, Sendable {
    package var y: UInt8
    package var u: UInt8
    package var v: UInt8

    package init(y: UInt8, u: UInt8 = 128, v: UInt8 = 128) {
        self.y = y
        self.u = u
        self.v = v
    }

    /// The colour of full-range red, green and blue parts.
    package init(red: Int, green: Int, blue: Int) {
        y = Self.clamped(16 + (66 * red + 129 * green + 25 * blue + 128) >> 8)
        u = Self.clamped(128 + (-38 * red - 74 * green + 112 * blue + 128) >> 8)
        v = Self.clamped(128 + (112 * red - 94 * green - 18 * blue + 128) >> 8)
    }

    /// The same hue at another brightness, in percent: how a street looks at night.
    package func dimmed(percent: Int) -> YUVColor {
        YUVColor(
            y: Self.clamped(16 + (Int(y) - 16) * percent / 100),
            u: Self.clamped(128 + (Int(u) - 128) * percent / 100),
            v: Self.clamped(128 + (Int(v) - 128) * percent / 100))
    }

    private static func clamped(_ value: Int) -> UInt8 { UInt8(min(235, max(16, value))) }
}

/// A planar YUV 4:2:0 picture: the luma plane, then both chroma planes at half size.
package struct YUVImage: Sendable {
    /// Width and height in pixels, both even.
    package let width: Int
    package let height: Int
    /// All three planes, as `ffmpeg -f rawvideo -pix_fmt yuv420p` reads them.
    package private(set) var bytes: [UInt8]

    /// A picture of one colour; odd sizes are rounded up to even ones.
    package init(width: Int, height: Int, fill: YUVColor = YUVColor(y: 16)) {
        self.width = max(2, (width + 1) & ~1)
        self.height = max(2, (height + 1) & ~1)
        bytes = [UInt8](repeating: 128, count: self.width * self.height * 3 / 2)
        fillRectangle(x: 0, y: 0, width: self.width, height: self.height, fill)
    }

    /// The luma plane alone, one byte a pixel, `width` bytes a row.
    package var luma: ArraySlice<UInt8> { bytes[..<(width * height)] }

    /// Adds what a sensor adds: a little noise in the luma, other in each frame. Without it a drawn
    /// scene compresses far below the bitrate of a real camera.
    package mutating func addSensorNoise(_ noise: SensorNoise, frame: Int) {
        var random = SeededRandom(seed: UInt64(truncatingIfNeeded: frame) &* 0x9E37)
        let width = width
        let rows = height
        bytes.withUnsafeMutableBufferPointer { pixels in
            for row in 0..<rows {
                let from = Int(truncatingIfNeeded: random.next() >> 40) % SensorNoise.period
                for column in 0..<width {
                    let grain = noise.values[(from + column) & (SensorNoise.period - 1)]
                    let value = Int(pixels[row * width + column]) + Int(grain)
                    pixels[row * width + column] = UInt8(clamping: max(16, value))
                }
            }
        }
    }

    /// Fills a rectangle, clipped to the picture. Chroma is per 2×2 pixels.
    package mutating func fillRectangle(
        x: Int, y: Int, width w: Int, height h: Int, _ color: YUVColor
    ) {
        let left = max(0, x)
        let right = min(width, x + w)
        let top = max(0, y)
        let bottom = min(height, y + h)
        guard left < right, top < bottom else { return }
        let (stride, lumaSize) = (width, width * height)
        let (chromaStride, chromaSize) = (width / 2, width * height / 4)
        // memset, because debug builds render scenes too, and a loop there is far slower.
        bytes.withUnsafeMutableBytes { raw in
            guard let base = raw.baseAddress else { return }
            for row in top..<bottom {
                memset(base + row * stride + left, Int32(color.y), right - left)
            }
            let (chromaLeft, chromaRight) = (left / 2, (right + 1) / 2)
            for row in (top / 2)..<((bottom + 1) / 2) {
                let offset = lumaSize + row * chromaStride + chromaLeft
                memset(base + offset, Int32(color.u), chromaRight - chromaLeft)
                memset(base + offset + chromaSize, Int32(color.v), chromaRight - chromaLeft)
            }
        }
    }

    /// Fills a disc, clipped to the picture.
    package mutating func fillDisc(centerX: Int, centerY: Int, radius: Int, _ color: YUVColor) {
        guard radius > 0 else { return }
        for dy in -radius...radius {
            let half = Int(Double(radius * radius - dy * dy).squareRoot())
            fillRectangle(
                x: centerX - half, y: centerY + dy, width: 2 * half + 1, height: 1, color)
        }
    }
}

/// A table of noise values, made once and read from another place for each row.
package struct SensorNoise: Sendable {
    static let period = 1 << 16
    let values: [Int8]

    package init(seed: UInt64, amplitude: Int8) {
        var random = SeededRandom(seed: seed)
        values = (0..<Self.period).map { _ in
            Int8.random(in: -amplitude...amplitude, using: &random)
        }
    }
}
