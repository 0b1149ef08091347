// Follows the frames in a viewer's ordered packets, cheaply: by marker, time and stamp.
// SPDX-License-Identifier: Apache-2.0

import H26x
import NIOCore
package import Primitives
package import RTP

/// Counts whole, broken and missing frames without building them.
package struct FrameWatch {
    /// When the first frame that can be decoded was whole.
    package private(set) var firstDecodable: Instant?
    /// Frames that came whole.
    package private(set) var wholeFrames = 0

    private struct Frame {
        var timestamp: RTPTimestamp
        var isBroken: Bool
        var isRandomAccessPoint = false
        var stamp: FrameStamp?
    }

    private var current: Frame?
    private var lastTimestamp: RTPTimestamp?
    private var lastNumber: UInt64?
    private var camera: UInt16?
    private var isAfterGap = false
    /// Stamps before this are of frames that were kept for those who join.
    private var liveSince: WallTime?
    private var lastWhole: Instant?

    package init() {}

    /// Takes the next packet in order.
    package mutating func receive(
        _ packet: Packet, at now: Instant, wallTime: WallTime, counting tally: inout LiveTally
    ) {
        if liveSince == nil { liveSince = wallTime }
        let found = Self.content(of: packet.payload)
        if let open = current, open.timestamp != packet.timestamp {
            // Its marker never came.
            current?.isBroken = true
            end(at: now, wallTime: wallTime, counting: &tally)
        }
        if current == nil {
            if let lastTimestamp, packet.timestamp.distance(from: lastTimestamp) <= 0 {
                tally.timeReversals += 1
            }
            lastTimestamp = packet.timestamp
            // The stamp stands in front: a frame that begins with it lost nothing.
            current = Frame(
                timestamp: packet.timestamp, isBroken: isAfterGap && found.stamp == nil)
            isAfterGap = false
        }
        if found.isRandomAccessPoint { current?.isRandomAccessPoint = true }
        if let stamp = found.stamp { current?.stamp = stamp }
        if packet.marker { end(at: now, wallTime: wallTime, counting: &tally) }
    }

    /// A packet is missing for good.
    package mutating func gap() {
        current?.isBroken = true
        isAfterGap = true
    }

    /// The source began anew: what is open will not be completed.
    package mutating func restart() {
        current = nil
        lastTimestamp = nil
        isAfterGap = false
    }

    private mutating func end(
        at now: Instant, wallTime: WallTime, counting tally: inout LiveTally
    ) {
        guard let frame = current else { return }
        current = nil
        if let stamp = frame.stamp {
            follow(stamp, &tally)
            if frame.isBroken { tally.framesDamaged += 1 }
        } else if !frame.isBroken {
            tally.framesUnstamped += 1
        }
        guard !frame.isBroken else { return }
        tally.frames += 1
        wholeFrames += 1
        if frame.isRandomAccessPoint, firstDecodable == nil { firstDecodable = now }
        if let lastWhole { tally.longestPause = max(tally.longestPause, now - lastWhole) }
        lastWhole = now
        if let stamp = frame.stamp, let liveSince, stamp.wallTime >= liveSince {
            tally.latency.record(wallTime - stamp.wallTime)
        }
    }

    private mutating func follow(_ stamp: FrameStamp, _ tally: inout LiveTally) {
        guard stamp.camera == camera ?? stamp.camera else {
            tally.framesForeign += 1
            return
        }
        camera = stamp.camera
        if let last = lastNumber {
            guard stamp.number > last else {
                tally.framesRepeated += 1
                return
            }
            tally.framesMissing += Int(clamping: stamp.number - last - 1)
        }
        lastNumber = stamp.number
    }

    /// Whether the payload has part of an IDR picture, and the stamp when it is in there.
    private static func content(of payload: ByteBuffer) -> (
        isRandomAccessPoint: Bool, stamp: FrameStamp?
    ) {
        let start = payload.readerIndex
        guard let header = payload.getInteger(at: start, as: UInt8.self) else {
            return (false, nil)
        }
        switch header & 0x1F {
        case 5:
            return (true, nil)
        case 6:
            return (false, FrameStamp.read(nalUnit: payload))
        case 24:
            return content(ofAggregate: payload)
        case 28:
            let fragment = payload.getInteger(at: start + 1, as: UInt8.self) ?? 0
            return (fragment & 0x1F == 5, nil)
        default:
            return (false, nil)
        }
    }

    private static func content(
        ofAggregate payload: ByteBuffer
    ) -> (isRandomAccessPoint: Bool, stamp: FrameStamp?) {
        var rest = payload
        rest.moveReaderIndex(forwardBy: 1)
        var found: (isRandomAccessPoint: Bool, stamp: FrameStamp?) = (false, nil)
        while let nalUnit = rest.readLengthPrefixedSlice(as: UInt16.self) {
            let header = nalUnit.getInteger(at: nalUnit.readerIndex, as: UInt8.self) ?? 0
            if NALUnitType(header: header) == .idrSlice { found.isRandomAccessPoint = true }
            if found.stamp == nil { found.stamp = FrameStamp.read(nalUnit: nalUnit) }
        }
        return found
    }
}
