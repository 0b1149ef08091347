// A clip's access units without end, as a simulated camera sends them: numbered, stamped and timed.
// SPDX-License-Identifier: Apache-2.0

package import H26x
package import Primitives

/// What a camera would have sent since a moment, made as fast as it is asked for: how a past of days
/// is recorded within minutes.
package struct StampedFrames: Sendable {
    private let clip: Clip
    private let camera: UInt16
    private let start: WallTime
    private var number: UInt64 = 0

    /// - Parameter camera: its number, from 1.
    package init(clip: Clip, camera: Int, start: WallTime) {
        self.clip = clip
        self.camera = UInt16(clamping: camera)
        self.start = start
    }

    package var parameterSets: ParameterSets { clip.parameterSets }

    /// When the next frame is due, after the start.
    package var nextOffset: Duration {
        .microseconds(Int64((Double(number) * 1e6 / clip.framesPerSecond).rounded()))
    }

    /// The next frame; its decode time begins at zero.
    package mutating func next() -> AccessUnit {
        let frame = clip.units[Int(number % UInt64(clip.units.count))]
        let wallTime = start + nextOffset
        var nalUnits = frame.nalUnits()
        let stamp = FrameStamp(
            camera: camera, number: number, wallTime: wallTime,
            checksum: FrameStamp.checksum(of: nalUnits))
        let codec = clip.parameterSets.codec
        nalUnits.insert(stamp.nalUnit(codec), at: FrameStamp.place(in: nalUnits, codec))
        let ticks = Int64((Double(number) * 90_000 / clip.framesPerSecond).rounded())
        number += 1
        return AccessUnit(
            avcc: AVCC.serialize(nalUnits), decodeTime: ticks,
            isRandomAccessPoint: frame.isRandomAccessPoint,
            wallTime: wallTime)
    }
}
