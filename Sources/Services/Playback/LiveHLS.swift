// Live HLS: the playlist's window slides over the fragments that the recorder has just written.
// SPDX-License-Identifier: Apache-2.0

package import Domain
import Manifests
package import NIOCore
import Primitives
import Synchronization

/// Serves a camera live, a few seconds late, from the same fragments as its recording.
package struct LiveHLS: Sendable {
    /// Pieces in the window: three target durations and some, as §6.2.2 asks for.
    private static let window = 6

    private let node: any CameraNode
    private let catalog: RecordingCatalog
    private let world: World
    /// Decode time 0 of every live timeline of this process.
    private let origin: WallTime
    private let numbering = LiveNumbering()

    package init(node: any CameraNode, catalog: RecordingCatalog, world: World) {
        self.node = node
        self.catalog = catalog
        self.world = world
        // What was recorded just before the start is still in the first window.
        origin = world.wallTime() + .seconds(-600)
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
        let numbers = numbering.advance(
            id, to: window.map { ($0.wallTime, $0.isDiscontinuous) })
        return HLSPlaylist(
            segments: Array(segments), mediaSequence: numbers.media,
            discontinuitySequence: numbers.discontinuity, isEnded: false
        ).serialize()
    }

    /// The bytes of `{segment id}/{first fragment}.m4s` or `{segment id}/init.mp4`.
    package func media(of id: CameraID, segmentID: String, name: String) async throws -> ByteBuffer
    {
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
        var pieces = numbering.withAnchors(of: id) { anchors in
            PieceCutter.pieces(of: segments, in: nil, origin: origin, anchors: &anchors)
        }
        if let last = pieces.last, last.segment.id == segments.last?.id { pieces.removeLast() }
        return pieces.filter { $0.wallTime > now + .seconds(-30) }
    }
}

/// Gives each piece of a camera's live window its number, which it keeps from one playlist to the next
/// (RFC 8216 §6.2.2), and counts the discontinuities that have left the window.
final class LiveNumbering: Sendable {
    private struct Window: Sendable {
        var pieces: [(start: WallTime, isDiscontinuous: Bool)] = []
        var media: UInt64 = 0
        var discontinuity: UInt64 = 0
    }

    private let windows = Mutex<[CameraID: Window]>([:])
    private let anchors = Mutex<[CameraID: [String: Int64]]>([:])

    /// Where the camera's runs lie on its live timeline; only the newest few are kept.
    func withAnchors<T>(of id: CameraID, _ body: (inout [String: Int64]) -> T) -> T {
        anchors.withLock { all in
            var known = all[id] ?? [:]
            if known.count > 16 { known = [:] }
            defer { all[id] = known }
            return body(&known)
        }
    }

    func advance(
        _ id: CameraID, to pieces: [(start: WallTime, isDiscontinuous: Bool)]
    ) -> (media: UInt64, discontinuity: UInt64) {
        windows.withLock { windows in
            var window = windows[id] ?? Window()
            let first = pieces.first?.start ?? WallTime(microseconds: .max)
            if let oldest = window.pieces.first, first < oldest.start {
                // A slower request still holds the window before: its numbers, without going back.
                let earlier = UInt64(pieces.prefix { $0.start < oldest.start }.count)
                return (window.media - min(earlier, window.media), window.discontinuity)
            }
            let gone = window.pieces.prefix { $0.start < first }
            window.media += UInt64(gone.count)
            // The tag before the first piece of a playlist is not written, so a discontinuity counts
            // as gone with the piece before it.
            let left = window.pieces.dropFirst().prefix(gone.count).count { $0.isDiscontinuous }
            window.discontinuity += UInt64(left)
            window.pieces = pieces
            windows[id] = window
            return (window.media, window.discontinuity)
        }
    }
}
