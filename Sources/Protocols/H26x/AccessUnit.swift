// One coded picture with its times: the unit that flows from camera to disk and to viewers.
// SPDX-License-Identifier: Apache-2.0

package import NIOCore
package import Primitives

/// The NAL units of one picture (H.264 §3.1, H.265 §3.1), in MP4 sample form.
package struct AccessUnit: Sendable {
    /// The NAL units, each behind a 4-byte big-endian length.
    package var avcc: ByteBuffer
    /// Unwrapped media time in 90 kHz ticks.
    package var decodeTime: Int64
    /// Whether decoding can start here: an IDR picture, in H.265 also a CRA or BLA picture.
    package var isRandomAccessPoint: Bool
    /// When the picture was taken, where the camera's clock is known.
    package var wallTime: WallTime?

    /// Puts a picture and its times together.
    package init(
        avcc: ByteBuffer, decodeTime: Int64, isRandomAccessPoint: Bool, wallTime: WallTime?
    ) {
        self.avcc = avcc
        self.decodeTime = decodeTime
        self.isRandomAccessPoint = isRandomAccessPoint
        self.wallTime = wallTime
    }

    /// The NAL units as slices; a malformed tail ends the list.
    package func nalUnits() -> [ByteBuffer] {
        var rest = avcc
        var units: [ByteBuffer] = []
        while let unit = rest.readLengthPrefixedSlice(as: UInt32.self), unit.readableBytes > 0 {
            units.append(unit)
        }
        return units
    }
}
