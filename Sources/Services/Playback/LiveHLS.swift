// Live HLS: the playlist's window slides over the fragments that the recorder has just written.
// SPDX-License-Identifier: Apache-2.0

package import Domain
import Manifests
package import NIOCore
import Primitives

/// Serves a camera live, a few seconds late, from the same fragments as its recording.
package struct LiveHLS: Sendable {
    /// Pieces in the window: three target durations and some, as §6.2.2 asks for.
    private static let window = 6

    private let node: any CameraNode
    private let catalog: RecordingCatalog
    private let world: World
    /// Decode time 0 of every live timeline of this process.
    private let origin: WallTime

    package init(node: any CameraNode, catalog: RecordingCatalog, world: World) {
        self.node = node
        self.catalog = catalog
        self.world = world
        origin = world.wallTime()
    }

    /// The playlist; CAMERA_UNAVAILABLE while nothing new was recorded for 30 s.
    package func playlist(of id: CameraID) async throws -> String {
        let window = try await pieces(of: id).suffix(Self.window)
        guard !window.isEmpty else {
            throw MarsadError(
                .cameraUnavailable, details: ["camera_id": id.rawValue, "retry_after": "2"])
        }
        let root = "/api/v1/live/\(id)/hls"
        let segments = window.map { piece in
            HLSPlaylist.MediaSegment(
                uri: "\(root)/\(piece.segment.id)/\(piece.fragments.lowerBound).m4s",
                duration: piece.duration, wallTime: piece.wallTime,
                isDiscontinuous: piece.isDiscontinuous,
                initURI: "\(root)/\(piece.segment.id)/init.mp4")
        }
        // Wall time in hundredths rises with each piece, whatever was dropped or restarted meanwhile.
        let sequence = UInt64(max(0, (window.first?.wallTime ?? origin).microseconds / 100_000))
        return HLSPlaylist(segments: Array(segments), mediaSequence: sequence, isEnded: false)
            .serialize()
    }

    /// The bytes of `{segment id}/{first fragment}.m4s` or `{segment id}/init.mp4`.
    package func media(of id: CameraID, segmentID: String, name: String) async throws -> ByteBuffer {
        let pieces = try await pieces(of: id)
        if name == "init.mp4", let piece = pieces.first(where: { $0.segment.id == segmentID }) {
            return try await MediaReader.initSegment(of: piece.segment, from: node)
        }
        guard name.hasSuffix(".m4s"), let first = Int(name.dropLast(4)),
            let piece = pieces.first(where: {
                $0.segment.id == segmentID && $0.fragments.lowerBound == first
            })
        else { throw MarsadError(.notFound) }
        return try await MediaReader.media(of: piece, from: node)
    }

    /// Finished pieces of the last minute: the newest is left out until its next keyframe has come.
    private func pieces(of id: CameraID) async throws -> [PlaybackPiece] {
        let now = world.wallTime()
        guard let range = TimeRange(start: now + .seconds(-30), end: now + .seconds(3600)) else {
            return []
        }
        let segments = try await catalog.segments(id, range)
        var pieces = PieceCutter.pieces(of: segments, in: nil, origin: origin)
        if let last = pieces.last, last.segment.id == segments.last?.id { pieces.removeLast() }
        return pieces.filter { $0.wallTime > now + .seconds(-30) }
    }
}
