// Recorded bytes, made to fit a playlist's timeline on the way out.
// SPDX-License-Identifier: Apache-2.0

package import Domain
import MP4
package import NIOCore

/// Reads fragments through the node that holds them and rewrites their decode times.
package enum MediaReader {
    /// The most bytes of one answer: a damaged index must not make the process ask for gigabytes.
    private static let bytesAtMost = 256 << 20

    /// ftyp and moov, as they are in the file.
    @concurrent
    package static func initSegment(
        of segment: Segment, from node: any CameraNode
    ) async throws -> ByteBuffer {
        let count = Int(segment.initSize)
        let bytes = try await node.bytes(path: segment.path, offset: 0, count: count)
        guard bytes.count == count else { throw MarsadError(.storageUnavailable) }
        return ByteBuffer(bytes: bytes)
    }

    /// The piece's fragments with `tfdt` on the playlist's timeline and rising sequence numbers. Copied
    /// and rewritten outside of the caller's actor.
    @concurrent
    package static func media(
        of piece: PlaybackPiece, from node: any CameraNode
    ) async throws -> ByteBuffer {
        let range = piece.byteRange
        guard range.count <= bytesAtMost else {
            throw MarsadError(.storageUnavailable, details: ["reason": "damaged index"])
        }
        let bytes = try await node.bytes(
            path: piece.segment.path, offset: range.offset, count: range.count)
        guard bytes.count == range.count else { throw MarsadError(.storageUnavailable) }
        let whole = ByteBuffer(bytes: bytes)
        var served = ByteBufferAllocator().buffer(capacity: range.count)
        for entry in piece.segment.fragments[piece.fragments] {
            let start = Int(clamping: entry.offset &- range.offset)
            guard var fragment = whole.getSlice(at: start, length: Int(entry.size)) else {
                throw MarsadError(.storageUnavailable)
            }
            let time = entry.decodeTime &+ piece.decodeTimeOffset
            do {
                try rewriteBaseDecodeTime(
                    in: &fragment, to: time, sequenceNumber: UInt32(truncatingIfNeeded: time / 90))
            } catch {
                // The bytes are not what the index says: damaged, and told so rather than played.
                throw MarsadError(.storageUnavailable, details: ["reason": "damaged fragment"])
            }
            served.writeBuffer(&fragment)
        }
        return served
    }
}
