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
    package let isIDR: Bool
    package let wallTime: WallTime?

    package var packetCount: Int { ends.count }
    /// The number behind this unit's last packet.
    package var endPacket: Int64 { firstPacket &+ Int64(ends.count) }

    /// Where a payload lies in `payloads`.
    package func range(of packet: Int) -> Range<Int> {
        (packet == 0 ? 0 : ends[packet - 1])..<ends[packet]
    }
}

/// Packetizes a camera's units for viewers (RFC 6184, packetization mode 1), numbering as it goes.
///
/// Viewers do not get the camera's own packets: those may be larger than the path's MTU (over TCP any
/// size will do), and equal fragments let the kernel cut one send into many datagrams.
package struct BurstPacketizer: Sendable {
    private let maxPayload: Int
    private var nextPacket: Int64 = 0
    private var nextFrame: Int64 = 0

    private static let aggregate: UInt8 = 24
    private static let fragment: UInt8 = 28

    /// - Parameter maxPayload: bytes after the RTP header; at least 64.
    package init(maxPayload: Int) { self.maxPayload = max(maxPayload, 64) }

    /// The next unit's payloads. One that can be decoded without others is given the parameter sets
    /// where it lacks them: many cameras send theirs in the session description only.
    package mutating func next(
        _ unit: AccessUnit, _ parameterSets: ParameterSets
    ) -> PacketBurst {
        var nalUnits = unit.nalUnits()
        if unit.isIDR { Self.complete(&nalUnits, with: parameterSets) }
        var writer = Writer(
            maxPayload: maxPayload, capacity: unit.avcc.readableBytes + 8 * nalUnits.count + 256)
        for nalUnit in nalUnits where nalUnit.readableBytes > 0 { writer.append(nalUnit) }
        writer.closeGroup()
        let burst = PacketBurst(
            payloads: writer.bytes, ends: writer.ends, firstPacket: nextPacket, frame: nextFrame,
            decodeTime: unit.decodeTime, isIDR: unit.isIDR, wallTime: unit.wallTime)
        nextPacket &+= Int64(writer.ends.count)
        nextFrame &+= 1
        return burst
    }

    /// Adds the sets that a unit lacks: some cameras repeat the one they use at the moment, and a viewer
    /// who begins here needs the others soon after.
    private static func complete(_ nalUnits: inout [ByteBuffer], with sets: ParameterSets) {
        let own = nalUnits.lastIndex { type(of: $0) == .sps }
        if let own {
            // The known picture parameter sets belong to the known sequence parameter set.
            guard nalUnits[own] == sets.sps else { return }
        }
        let present = Set(
            nalUnits.filter { type(of: $0) == .pps }.map(ParameterSets.pictureParameterSetID))
        var missing = sets.pictureParameterSets.filter {
            !present.contains(ParameterSets.pictureParameterSetID(of: $0))
        }
        if own == nil { missing.insert(sets.sps, at: 0) }
        // A delimiter stays first (H.264 §7.4.1.2.3).
        let isDelimited = nalUnits.first.map { type(of: $0) == .aud } ?? false
        nalUnits.insert(contentsOf: missing, at: own.map { $0 + 1 } ?? (isDelimited ? 1 : 0))
    }

    private static func type(of nalUnit: ByteBuffer) -> NALUnitType {
        NALUnitType(header: nalUnit.getInteger(at: nalUnit.readerIndex, as: UInt8.self) ?? 0)
    }

    /// Writes payloads; neighbours that fit together are gathered first.
    private struct Writer {
        let maxPayload: Int
        var bytes: ByteBuffer
        var ends: [Int] = []
        private var group: [ByteBuffer] = []
        private var groupBytes = 1

        init(maxPayload: Int, capacity: Int) {
            self.maxPayload = maxPayload
            bytes = ByteBufferAllocator().buffer(capacity: capacity)
        }

        mutating func append(_ nalUnit: ByteBuffer) {
            let size = nalUnit.readableBytes
            if size > maxPayload {
                closeGroup()
                return writeFragments(nalUnit)
            }
            if groupBytes + 2 + size > maxPayload { closeGroup() }
            group.append(nalUnit)
            groupBytes += 2 + size
        }

        mutating func closeGroup() {
            if group.count > 1 {
                writeAggregate()
            } else if let alone = group.first {
                bytes.writeImmutableBuffer(alone)
                ends.append(bytes.writerIndex)
            }
            group.removeAll(keepingCapacity: true)
            groupBytes = 1
        }

        /// STAP-A (RFC 6184 §5.7.1); its importance is that of its most important unit.
        private mutating func writeAggregate() {
            let head = bytes.writerIndex
            var importance: UInt8 = 0
            bytes.writeInteger(BurstPacketizer.aggregate)
            for nalUnit in group {
                let header = nalUnit.getInteger(at: nalUnit.readerIndex, as: UInt8.self) ?? 0
                importance = max(importance, header & 0x60)
                bytes.writeInteger(UInt16(truncatingIfNeeded: nalUnit.readableBytes))
                bytes.writeImmutableBuffer(nalUnit)
            }
            bytes.setInteger(importance | BurstPacketizer.aggregate, at: head)
            ends.append(bytes.writerIndex)
        }

        /// FU-A (RFC 6184 §5.8): all fragments of one size, but for the last.
        private mutating func writeFragments(_ nalUnit: ByteBuffer) {
            var rest = nalUnit
            guard let header = rest.readInteger(as: UInt8.self) else { return }
            let indicator = header & 0xE0 | BurstPacketizer.fragment
            var isFirst = true
            while let piece = rest.readSlice(length: min(maxPayload - 2, rest.readableBytes)) {
                let isLast = rest.readableBytes == 0
                bytes.writeMultipleIntegers(
                    indicator, (isFirst ? 0x80 : 0) | (isLast ? 0x40 : 0) | header & 0x1F)
                bytes.writeImmutableBuffer(piece)
                ends.append(bytes.writerIndex)
                isFirst = false
                if isLast { return }
            }
        }
    }
}
