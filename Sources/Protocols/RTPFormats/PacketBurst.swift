// One access unit as RTP payloads in one buffer: made once, sent to every viewer.
// SPDX-License-Identifier: Apache-2.0

package import H26x
package import NIOCore
package import Primitives

/// The payloads of one access unit, end to end. Immutable, so event loops share it.
package struct PacketBurst: Sendable {
    /// The payloads, one after the other.
    package let payloads: ByteBuffer
    /// Where each payload ends in `payloads`, counted from its reader index.
    package let ends: [Int]
    /// The camera's count of packets before this unit.
    package let firstPacket: Int64
    /// The camera's count of units before this one.
    package let frame: Int64
    /// In 90 kHz ticks.
    package let decodeTime: Int64
    package let isRandomAccessPoint: Bool
    package let wallTime: WallTime?

    package var packetCount: Int { ends.count }
    /// The number behind this unit's last packet.
    package var endPacket: Int64 { firstPacket &+ Int64(ends.count) }

    /// Where a payload lies in `payloads`.
    package func range(of packet: Int) -> Range<Int> {
        (packet == 0 ? 0 : ends[packet - 1])..<ends[packet]
    }
}

/// Packetizes a camera's units for viewers (RFC 6184 packetization mode 1, RFC 7798), numbering as it
/// goes.
///
/// Viewers do not get the camera's own packets: those may be larger than the path's MTU (over TCP any
/// size will do), and equal fragments let the kernel cut one send into many datagrams.
package struct BurstPacketizer: Sendable {
    private let maxPayload: Int
    private var nextPacket: Int64 = 0
    private var nextFrame: Int64 = 0

    /// - Parameter maxPayload: bytes after the RTP header; at least 64.
    package init(maxPayload: Int) { self.maxPayload = max(maxPayload, 64) }

    /// The next unit's payloads. One that can be decoded without others is given the parameter sets
    /// where it lacks them: many cameras send theirs in the session description only.
    package mutating func next(
        _ unit: AccessUnit, _ parameterSets: ParameterSets
    ) -> PacketBurst {
        var nalUnits = unit.nalUnits()
        if unit.isRandomAccessPoint { Self.complete(&nalUnits, with: parameterSets) }
        var writer = PayloadWriter(
            codec: parameterSets.codec, maxPayload: maxPayload,
            capacity: unit.avcc.readableBytes + 8 * nalUnits.count + 256)
        for nalUnit in nalUnits { writer.append(nalUnit) }
        writer.closeGroup()
        let burst = PacketBurst(
            payloads: writer.bytes, ends: writer.ends, firstPacket: nextPacket, frame: nextFrame,
            decodeTime: unit.decodeTime, isRandomAccessPoint: unit.isRandomAccessPoint,
            wallTime: unit.wallTime)
        nextPacket &+= Int64(writer.ends.count)
        nextFrame &+= 1
        return burst
    }

    /// Adds the sets that a unit lacks: some cameras repeat the one they use at the moment, and a viewer
    /// who begins here needs the others soon after.
    private static func complete(_ nalUnits: inout [ByteBuffer], with sets: ParameterSets) {
        let codec = sets.codec
        let own = nalUnits.lastIndex { codec.kind(of: $0) == .sequenceParameterSet }
        if let own {
            // The known picture parameter sets belong to the known sequence parameter set.
            guard nalUnits[own] == sets.sps else { return }
        }
        let present = Set(
            nalUnits.filter { codec.kind(of: $0) == .pictureParameterSet }
                .map(codec.pictureParameterSetID))
        var missing = sets.pictureParameterSets.filter {
            !present.contains(codec.pictureParameterSetID(of: $0))
        }
        if own == nil { missing.insert(sets.sps, at: 0) }
        // A delimiter stays first (H.264 §7.4.1.2.3, H.265 §7.4.2.4.4).
        let isDelimited = nalUnits.first.map { codec.kind(of: $0) == .delimiter } ?? false
        let front = isDelimited ? 1 : 0
        nalUnits.insert(contentsOf: missing, at: own.map { $0 + 1 } ?? front)
        if let vps = sets.vps,
            !nalUnits.contains(where: { codec.kind(of: $0) == .videoParameterSet })
        {
            nalUnits.insert(vps, at: front)
        }
    }
}
