// Decode times that always increase, whatever a camera's clock does.
// SPDX-License-Identifier: Apache-2.0

/// Maps a camera's unwrapped RTP time to a decode time that never repeats or goes back.
///
/// Some DVRs stamp one frame hours away every few seconds: a lone outlier is restamped one frame after
/// its predecessor. A jump that persists for three frames is a new clock, taken over without a gap.
package struct MediaTimeline: Sendable {
    private static let largestStep: Int64 = 5 * 90_000
    private static let framesUntilJumpIsBelieved = 3

    private var offset: Int64 = 0
    private var last: Int64?
    private var usualStep: Int64 = 3600
    private var outliers = 0
    /// How many frames got another time than the camera gave them.
    package private(set) var restamped: UInt64 = 0

    package init() {}

    package mutating func decodeTime(for cameraTime: Int64) -> Int64 {
        guard let previous = last else {
            offset = 0 &- cameraTime
            last = 0
            return 0
        }
        let step = cameraTime &+ offset &- previous
        if step > 0, step <= Self.largestStep {
            outliers = 0
            usualStep = step
            last = previous &+ step
            return previous &+ step
        }
        restamped += 1
        outliers += 1
        let time = previous &+ usualStep
        if outliers >= Self.framesUntilJumpIsBelieved {
            offset = time &- cameraTime
            outliers = 0
        }
        last = time
        return time
    }
}
