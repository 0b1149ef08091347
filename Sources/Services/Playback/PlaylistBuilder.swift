// The text of a session's playlist: made from the index, an hour of it at a time.
// SPDX-License-Identifier: Apache-2.0

import Domain
import Manifests
import Primitives

/// What the last part of a media link says: the file, its place on the timeline, and what of it.
///
///     {segment id}.{decode time offset}.init.mp4
///     {segment id}.{decode time offset}.{first fragment}-{end}.m4s
struct MediaName: Equatable {
    enum Part: Equatable {
        case initSection
        case fragments(first: Int, end: Int)
    }

    var segmentID: String
    /// What is added to the file's decode times, 90 kHz ticks.
    var offset: Int64
    var part: Part

    /// What the token of a link is bound to: one file at one place of the session's timeline.
    var stem: String { "\(segmentID).\(offset)" }

    var text: String {
        switch part {
        case .initSection: "\(stem).init.mp4"
        case .fragments(let first, let end): "\(stem).\(first)-\(end).m4s"
        }
    }

    init(segmentID: String, offset: Int64, part: Part) {
        self.segmentID = segmentID
        self.offset = offset
        self.part = part
    }

    /// `nil` for what `text` does not write.
    init?(_ name: String) {
        let parts = name.split(separator: ".", omittingEmptySubsequences: false)
        guard name.utf8.count <= 256, parts.count == 4, let offset = Int64(parts[1]) else {
            return nil
        }
        segmentID = String(parts[0])
        self.offset = offset
        if parts[2] == "init" {
            part = .initSection
        } else {
            let ends = parts[2].split(separator: "-").compactMap { Int($0) }
            guard ends.count == 2, ends[0] >= 0, ends[0] < ends[1] else { return nil }
            part = .fragments(first: ends[0], end: ends[1])
        }
        guard text == name else { return nil }
    }
}

/// Makes the playlist of one session.
struct PlaylistBuilder: Sendable {
    /// What one query reads of the index.
    private static let step = Duration.seconds(3600)

    var cameraID: CameraID
    var range: TimeRange
    var length: PieceLength
    /// The path in front of each name.
    var root: String
    /// The token for all names with a stem.
    var token: @Sendable (_ stem: String) -> String

    /// The playlist, or `nil` where nothing of the range can be played. Runs outside of the caller's
    /// actor: a day takes some milliseconds, and nobody else waits for them.
    @concurrent
    func text(from catalog: RecordingCatalog) async throws -> String? {
        var playlist = HLSPlaylist(isEnded: true)
        var cutter = PieceCutter(range: range, origin: range.start, length: length)
        var run: (id: String, initURI: String)?
        var start = range.start
        while start < range.end {
            let end = min(start + Self.step, range.end)
            guard let hour = TimeRange(start: start, end: end) else { break }
            // What reaches over from the hour before was written with it.
            for segment in try await catalog.segments(cameraID, hour)
            where start == range.start || segment.start >= start {
                append(cutter.cut(segment), to: &playlist, &run)
            }
            try Task.checkCancellation()
            start = end
        }
        return run == nil ? nil : playlist.serialize()
    }

    /// - Parameter run: the run of the last piece: it has one set of parameter sets, so the head of its
    ///   first file serves it all.
    private func append(
        _ pieces: [PlaybackPiece], to playlist: inout HLSPlaylist,
        _ run: inout (id: String, initURI: String)?
    ) {
        guard let piece = pieces.first else { return }
        let segment = piece.segment
        let stem = MediaName(
            segmentID: segment.id, offset: piece.decodeTimeOffset, part: .initSection
        ).stem
        let query = "?token=" + token(stem)
        let initURI =
            run?.id == segment.runID
            ? run?.initURI ?? "" : root + "/" + stem + ".init.mp4" + query
        run = (segment.runID, initURI)
        let front = root + "/" + stem + "."
        let back = ".m4s" + query
        for piece in pieces {
            let fragments = "\(piece.fragments.lowerBound)-\(piece.fragments.upperBound)"
            playlist.append(
                .init(
                    uri: front + fragments + back, duration: piece.duration,
                    wallTime: piece.wallTime, isDiscontinuous: piece.isDiscontinuous,
                    initURI: initURI))
        }
    }
}
