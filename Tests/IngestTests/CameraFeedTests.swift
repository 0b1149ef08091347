// What a feed keeps: the last keyframe, within its limit.
// SPDX-License-Identifier: Apache-2.0

import Domain
import H26x
import Ingest
import NIOCore
import Primitives
import Testing

private func unit(_ bytes: Int, isRandomAccessPoint: Bool, time: Int64 = 0) -> AccessUnit {
    AccessUnit(
        avcc: ByteBuffer(repeating: 1, count: bytes), decodeTime: time,
        isRandomAccessPoint: isRandomAccessPoint,
        wallTime: nil)
}

@Suite struct CameraFeedTests {
    @Test("a keyframe too large to keep does not leave an older one in its place")
    func largeKeyframe() throws {
        let sets = try ParameterSets(
            sps: ByteBuffer(bytes: [0x67, 66, 0xC0, 10, 0xDA, 0x02, 0x80, 0xF6, 0x40]),
            pps: ByteBuffer(bytes: [0x68, 0xEE, 0x3C, 0x80]))
        let status = CameraStatus()
        let feed = CameraFeed(status: status, sinks: [])
        let now = Instant(nanoseconds: 0)
        feed.publish(unit(Limits.keyframeBytes, isRandomAccessPoint: true, time: 1), sets, at: now)
        #expect(status.read().keyframe?.decodeTime == 1)
        feed.publish(
            unit(Limits.keyframeBytes + 1, isRandomAccessPoint: true, time: 2), sets, at: now)
        #expect(status.read().keyframe == nil)
        #expect(status.read().parameterSets == nil)
        #expect(status.read().stream.frames == 2)
        feed.publish(unit(10, isRandomAccessPoint: true, time: 3), sets, at: now)
        #expect(status.read().keyframe?.decodeTime == 3)
    }
}
