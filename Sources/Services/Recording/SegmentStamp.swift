// What a segment file says of itself, so that a file without a row can be adopted exactly.
// SPDX-License-Identifier: Apache-2.0

package import NIOCore
package import Primitives

/// A `uuid` box (ISO/IEC 14496-12 §11.1) between moov and the first fragment. Players skip it.
///
///     size 4 | 'uuid' 4 | type 16 | version 1 | segment id 36 | run id 36 | sequence 4 | start µs 8
package struct SegmentStamp: Equatable, Sendable {
    package var segmentID: String
    package var runID: String
    package var sequenceNumber: Int
    package var start: WallTime

    private static let type: [UInt8] = Array("MARSAD-SEGMENT-1".utf8)
    package static let size = 8 + 16 + 1 + 36 + 36 + 4 + 8

    package init(segmentID: String, runID: String, sequenceNumber: Int, start: WallTime) {
        self.segmentID = segmentID
        self.runID = runID
        self.sequenceNumber = sequenceNumber
        self.start = start
    }

    package func serialize() -> ByteBuffer {
        var buffer = ByteBuffer()
        buffer.writeInteger(UInt32(Self.size))
        buffer.writeString("uuid")
        buffer.writeBytes(Self.type)
        buffer.writeInteger(UInt8(1))
        for id in [segmentID, runID] {
            let bytes = Array(id.utf8.prefix(36))
            buffer.writeBytes(bytes + [UInt8](repeating: 0x20, count: 36 - bytes.count))
        }
        buffer.writeInteger(UInt32(truncatingIfNeeded: sequenceNumber))
        buffer.writeInteger(start.microseconds)
        return buffer
    }

    /// `nil` where the bytes are not such a box.
    package init?(parsing bytes: ByteBuffer) {
        var buffer = bytes
        guard buffer.readInteger(as: UInt32.self) == UInt32(Self.size),
            buffer.readString(length: 4) == "uuid",
            buffer.readBytes(length: 16) == Self.type,
            buffer.readInteger(as: UInt8.self) == 1,
            let segmentID = buffer.readString(length: 36),
            let runID = buffer.readString(length: 36),
            let sequence = buffer.readInteger(as: UInt32.self),
            let start = buffer.readInteger(as: Int64.self)
        else { return nil }
        self.segmentID = segmentID
        self.runID = runID
        sequenceNumber = Int(sequence)
        self.start = WallTime(microseconds: start)
    }
}
