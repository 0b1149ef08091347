// Pictures from keyframes: the only place beside snapshots where video is decoded.
// SPDX-License-Identifier: Apache-2.0

import Decoding
package import Domain
import H26x
import MP4
package import NIOCore
package import NIOPosix
package import Primitives

/// A JPEG of a keyframe, and the moment it shows.
package struct Thumbnail: Sendable {
    package var jpeg: ByteBuffer
    package var wallTime: WallTime
}

/// Decodes keyframes on threads of their own; never on an event loop.
package struct Thumbnails: Sendable {
    private static let quality = 80
    private static let keyframeBytesAtMost: UInt32 = 64 << 20
    private let node: any CameraNode
    private let catalog: RecordingCatalog
    private let pool: NIOThreadPool

    package init(node: any CameraNode, catalog: RecordingCatalog, pool: NIOThreadPool) {
        self.node = node
        self.catalog = catalog
        self.pool = pool
    }

    /// The camera's newest keyframe, from its recordings where this process has not seen it yet; `nil`
    /// for a camera without either.
    package func snapshot(
        of id: CameraID, width: Int?, at now: WallTime
    ) async throws -> Thumbnail? {
        guard let keyframe = await node.keyframe(of: id) else {
            guard let last = try await catalog.nearest(id, now).before else { return nil }
            return try await thumbnail(of: id, at: last, width: width)
        }
        guard
            let sets = try? InitSegment.parameterSets(in: ByteBuffer(bytes: keyframe.initSegment))
        else { return nil }
        let jpeg = try await decode(
            ByteBuffer(bytes: keyframe.avcc), with: sets, width: width)
        return Thumbnail(jpeg: jpeg, wallTime: keyframe.wallTime)
    }

    /// The recorded keyframe nearest to a time, at most ten seconds away.
    package func thumbnail(of id: CameraID, at time: WallTime, width: Int?) async throws
        -> Thumbnail
    {
        let notFound = MarsadError(.recordingNotFound, details: ["camera_id": id.rawValue])
        guard let range = TimeRange(start: time + .seconds(-10), end: time + .seconds(10)) else {
            throw notFound
        }
        var nearest: (segment: Segment, entry: FragmentEntry, distance: Duration)?
        for segment in try await catalog.segments(id, range) {
            for entry in segment.fragments where entry.startsWithSync {
                let at = segment.wallTime(of: entry)
                let distance = at < time ? time - at : at - time
                if distance < nearest?.distance ?? .seconds(11) {
                    nearest = (segment, entry, distance)
                }
            }
        }
        guard let nearest else { throw notFound }
        guard nearest.entry.size <= Self.keyframeBytesAtMost else {
            throw MarsadError(.storageUnavailable, details: ["reason": "damaged index"])
        }
        let head = try await MediaReader.initSegment(of: nearest.segment, from: node)
        let bytes = try await node.bytes(
            path: nearest.segment.path, offset: nearest.entry.offset,
            count: Int(nearest.entry.size))
        let fragment = ByteBuffer(bytes: bytes)
        guard let sets = try? InitSegment.parameterSets(in: head),
            let sample = try? FragmentHeader.parse(fragment).samples.first,
            let unit = fragment.getSlice(at: sample.offset, length: sample.size)
        else { throw MarsadError(.storageUnavailable, details: ["reason": "damaged fragment"]) }
        let jpeg = try await decode(unit, with: sets, width: width)
        return Thumbnail(jpeg: jpeg, wallTime: nearest.segment.wallTime(of: nearest.entry))
    }

    private func decode(
        _ avcc: ByteBuffer, with sets: ParameterSets, width: Int?
    ) async throws -> ByteBuffer {
        do {
            return try await pool.runIfActive {
                try KeyframeDecoder.jpeg(
                    sets.codec, parameterSets: sets.inBand, accessUnitAVCC: avcc, width: width,
                    quality: Self.quality)
            }
        } catch is DecodingError {
            throw MarsadError(.storageUnavailable, details: ["reason": "undecodable keyframe"])
        }
    }
}
