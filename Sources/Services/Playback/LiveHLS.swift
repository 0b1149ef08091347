// Live HLS: the playlist's window slides over the fragments that the recorder has just written.
// SPDX-License-Identifier: Apache-2.0

package import Domain
import Manifests
package import NIOCore
import Primitives
import Synchronization

/// Serves a camera live, a few seconds late, from the same fragments as its recording.
package struct LiveHLS: Sendable {
    /// Pieces in the window at least: three target durations and some, as §6.2.2 asks for.
    private static let window = 6
    /// A piece of 4 s and the fragment that ends it.
    private static let target: Int64 = 5
    /// Nothing new for so long: the camera is not live.
    private static let stale = Duration.seconds(30)
    /// How far back pieces are looked for, and served: a slow group of pictures and a slow viewer.
    private static let reach = Duration.seconds(120)

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
        let pieces = try await pieces(of: id)
        let numbers = numbering.advance(
            id,
            to: pieces.map {
                LiveNumbering.Piece(
                    segmentID: $0.segment.id, fragment: $0.fragments.lowerBound,
                    isDiscontinuous: $0.isDiscontinuous)
            }, target: max(Self.target, HLSPlaylist.target(for: pieces.map(\.duration).max() ?? 0)))
        let known = Array(pieces.suffix(numbers.pieces.count))
        guard let last = known.last,
            last.wallTime + .ticks(last.duration) > world.wallTime() + (.zero - Self.stale)
        else {
            throw MarsadError(
                .cameraUnavailable, details: ["camera_id": id.rawValue, "retry_after": "2"])
        }
        let first = Self.windowStart(known)
        let root = "/api/v1/live/\(id)/hls"
        let segments = zip(known, numbers.pieces).dropFirst(first).map { piece, number in
            HLSPlaylist.MediaSegment(
                uri: "\(root)/\(piece.segment.id)/\(piece.fragments.lowerBound).m4s",
                duration: piece.duration, wallTime: piece.wallTime,
                isDiscontinuous: number.piece.isDiscontinuous,
                initURI: "\(root)/\(piece.segment.id)/init.mp4")
        }
        return HLSPlaylist(
            segments: segments, mediaSequence: numbers.pieces[first].media,
            discontinuitySequence: numbers.pieces[first].discontinuity, isEnded: false,
            isIndependent: false, target: numbers.target
        ).serialize()
    }

    /// The window is as long as it must be, and begins at a keyframe where there is one before that.
    private static func windowStart(_ pieces: [PlaybackPiece]) -> Int {
        let latest = max(0, pieces.count - window)
        return pieces[...latest].lastIndex { $0.first.startsWithSync } ?? latest
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

    /// Finished pieces of the last minutes: the newest is left out until the next one has begun.
    private func pieces(of id: CameraID) async throws -> [PlaybackPiece] {
        let earliest = world.wallTime() + (.zero - Self.reach)
        guard let range = TimeRange(start: earliest, end: world.wallTime() + .seconds(3600)) else {
            return []
        }
        let segments = try await catalog.segments(id, range)
        var pieces = numbering.withAnchors(of: id, for: segments.map(\.runID)) { anchors in
            var cutter = PieceCutter(
                range: nil, origin: origin, length: .live, anchors: anchors)
            defer { anchors = cutter.anchors }
            return segments.flatMap { cutter.cut($0) }
        }
        if let last = pieces.last, last.segment.id == segments.last?.id { pieces.removeLast() }
        return pieces.filter { $0.wallTime > earliest }
    }
}

/// Gives each piece of a camera's live window its numbers, which it keeps from one playlist to the next
/// (RFC 8216 §6.2.2).
final class LiveNumbering: Sendable {
    /// What a piece is known by, and whether it follows from the one before.
    struct Piece: Sendable {
        var segmentID: String
        var fragment: Int
        var isDiscontinuous: Bool

        func isSame(as other: Piece) -> Bool {
            segmentID == other.segmentID && fragment == other.fragment
        }
    }

    struct Number: Sendable {
        var piece: Piece
        var media: UInt64
        /// Discontinuities up to and with the one in front of the piece.
        var discontinuity: UInt64
    }

    private struct Log: Sendable {
        /// The newest numbered pieces.
        var pieces: [Number] = []
        var target: Int64 = 0
    }

    /// More than any window can hold.
    private static let logged = 256
    private static let anchorsKept = 16
    private let logs = Mutex<[CameraID: Log]>([:])
    private let anchors = Mutex<[CameraID: [String: Int64]]>([:])

    /// Where the camera's runs lie on its live timeline. Runs that are not in use make room for others.
    func withAnchors<T>(
        of id: CameraID, for runs: [String], _ body: (inout [String: Int64]) -> T
    ) -> T {
        anchors.withLock { all in
            var known = all[id] ?? [:]
            if known.count > Self.anchorsKept {
                known = known.filter { runs.contains($0.key) }
            }
            defer { all[id] = known }
            return body(&known)
        }
    }

    /// Numbers the pieces that are new. The answer has the numbers of the last of `pieces`, as many as
    /// are known, and the target duration, which never falls.
    func advance(
        _ id: CameraID, to pieces: [Piece], target: Int64
    ) -> (pieces: [Number], target: Int64) {
        logs.withLock { logs in
            var log = logs[id] ?? Log()
            log.target = max(log.target, target)
            let next =
                pieces.lastIndex { piece in
                    log.pieces.contains { $0.piece.isSame(as: piece) }
                }.map { $0 + 1 } ?? 0
            for (index, piece) in pieces.enumerated().dropFirst(next) {
                var piece = piece
                guard let last = log.pieces.last else {
                    log.pieces.append(Number(piece: piece, media: 0, discontinuity: 0))
                    continue
                }
                // Where the window begins anew, what lies between was never numbered.
                if index == 0 { piece.isDiscontinuous = true }
                log.pieces.append(
                    Number(
                        piece: piece, media: last.media + 1,
                        discontinuity: last.discontinuity + (piece.isDiscontinuous ? 1 : 0)))
            }
            log.pieces.removeFirst(max(0, log.pieces.count - Self.logged))
            logs[id] = log
            return (Self.numbers(of: pieces, in: log), log.target)
        }
    }

    private static func numbers(of pieces: [Piece], in log: Log) -> [Number] {
        guard let last = pieces.last,
            let end = log.pieces.lastIndex(where: { $0.piece.isSame(as: last) })
        else { return [] }
        // Backwards as long as both name the same pieces.
        let count = zip(pieces.reversed(), log.pieces[...end].reversed())
            .prefix { $0.isSame(as: $1.piece) }.count
        return Array(log.pieces[(end + 1 - count)...end])
    }
}
