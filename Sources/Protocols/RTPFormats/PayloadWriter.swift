// NAL units in, RTP payloads out, end to end in one buffer.
// SPDX-License-Identifier: Apache-2.0

import H26x
import NIOCore

/// Writes payloads: neighbours that fit together as an aggregate, units that fit alone as they are,
/// larger ones as fragments, all of one size but for the last.
struct PayloadWriter {
    private(set) var bytes: ByteBuffer
    /// Where each payload ends.
    private(set) var ends: [Int] = []

    private let codec: Codec
    private let maxPayload: Int
    private var group: [ByteBuffer] = []
    private var groupBytes: Int

    /// - Parameter maxPayload: bytes after the RTP header.
    init(codec: Codec, maxPayload: Int, capacity: Int) {
        self.codec = codec
        // The 16-bit length of an aggregated unit bounds it too.
        self.maxPayload = min(maxPayload, 0xFFFF)
        bytes = ByteBufferAllocator().buffer(capacity: capacity)
        groupBytes = codec.headerBytes
    }

    /// Takes the next NAL unit; one that is shorter than its header is left out.
    mutating func append(_ nalUnit: ByteBuffer) {
        let size = nalUnit.readableBytes
        guard size >= codec.headerBytes else { return }
        if size > maxPayload {
            closeGroup()
            return writeFragments(nalUnit)
        }
        if groupBytes + 2 + size > maxPayload { closeGroup() }
        group.append(nalUnit)
        groupBytes += 2 + size
    }

    /// Writes what was gathered; call after the last unit.
    mutating func closeGroup() {
        if group.count > 1 {
            PayloadStructure.writeAggregateHeader(of: group, codec, into: &bytes)
            for nalUnit in group {
                bytes.writeInteger(UInt16(truncatingIfNeeded: nalUnit.readableBytes))
                bytes.writeImmutableBuffer(nalUnit)
            }
            ends.append(bytes.writerIndex)
        } else if let alone = group.first {
            bytes.writeImmutableBuffer(alone)
            ends.append(bytes.writerIndex)
        }
        group.removeAll(keepingCapacity: true)
        groupBytes = codec.headerBytes
    }

    private mutating func writeFragments(_ nalUnit: ByteBuffer) {
        var rest = nalUnit
        guard let header = rest.readSlice(length: codec.headerBytes) else { return }
        let room = maxPayload - PayloadStructure.fragmentHeaderBytes(codec)
        var isFirst = true
        while let piece = rest.readSlice(length: min(room, rest.readableBytes)) {
            let isLast = rest.readableBytes == 0
            PayloadStructure.writeFragmentHeader(
                of: header, isFirst: isFirst, isLast: isLast, codec, into: &bytes)
            bytes.writeImmutableBuffer(piece)
            ends.append(bytes.writerIndex)
            isFirst = false
            if isLast { return }
        }
    }
}
