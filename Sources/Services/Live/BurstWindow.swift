// The recent past of a watched camera as packets: where a viewer starts, and what can be resent.
// SPDX-License-Identifier: Apache-2.0

package import NIOCore
package import RTPFormats

/// The bursts of the present group of pictures, and of a moment before it for resends. A value whose
/// memory is shared: a copy on another loop costs an array of references.
package struct BurstWindow: Sendable {
    package private(set) var bursts: CircularBuffer<PacketBurst> = []
    private var bytes = 0
    /// The frame where decoding can start; `nil` until one comes, or when its group outgrew the limits.
    package private(set) var startFrame: Int64?

    package init() {}

    package var last: PacketBurst? { bursts.last }

    package mutating func append(_ burst: PacketBurst) {
        if burst.isRandomAccessPoint { startFrame = burst.frame }
        bursts.append(burst)
        bytes += burst.payloads.readableBytes
        trim()
    }

    /// A camera's interruption: what was is not the past of what comes.
    package mutating func removeAll() {
        bursts.removeAll(keepingCapacity: true)
        bytes = 0
        startFrame = nil
    }

    /// What the stream takes, over the pictures of the window; `nil` where they are less than a second.
    package var bitsPerSecond: Int? {
        guard let first = bursts.first, let last else { return nil }
        let ticks = last.decodeTime &- first.decodeTime
        guard ticks >= 90_000 else { return nil }
        return Int(Double(bytes) * 8 * 90_000 / Double(ticks))
    }

    /// The burst of a frame.
    package func burst(frame: Int64) -> PacketBurst? {
        guard let first = bursts.first, frame >= first.frame, let last, frame <= last.frame else {
            return nil
        }
        return bursts[offset: Int(frame - first.frame)]
    }

    /// The burst that holds a packet.
    package func burst(packet: Int64) -> PacketBurst? {
        guard let first = bursts.first, let last, packet >= first.firstPacket,
            packet < last.endPacket
        else { return nil }
        var low = 0
        var high = bursts.count - 1
        while low < high {
            let middle = (low + high + 1) / 2
            if bursts[offset: middle].firstPacket <= packet {
                low = middle
            } else {
                high = middle - 1
            }
        }
        return bursts[offset: low]
    }

    private mutating func trim() {
        while let first = bursts.first, let last {
            let isOverLimit = bursts.count > Limits.windowUnits || bytes > Limits.windowBytes
            let isOld =
                last.frame - first.frame > Int64(Limits.unitsForResends)
                && first.frame < startFrame ?? .max
            guard isOverLimit || isOld, bursts.count > 1 else { return }
            if first.frame == startFrame { startFrame = nil }
            bytes -= first.payloads.readableBytes
            bursts.removeFirst()
        }
    }
}
