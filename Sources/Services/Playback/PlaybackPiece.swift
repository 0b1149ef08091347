// From the index to what a playlist names: consecutive fragments that begin at a keyframe.
// SPDX-License-Identifier: Apache-2.0

package import Domain
package import Primitives

/// One media segment of a playlist: whole fragments of one file, starting at a random access point.
package struct PlaybackPiece: Sendable, Equatable {
    package var segment: Segment
    package var fragments: Range<Int>
    /// What is added to the file's decode times when it is served, in 90 kHz ticks.
    package var decodeTimeOffset: Int64
    /// Whether it does not follow from the piece before (another run, or a hole in the index).
    package var isDiscontinuous: Bool

    package var first: FragmentEntry { segment.fragments[fragments.lowerBound] }

    /// Sum of the fragments' durations, 90 kHz ticks.
    package var duration: Int64 {
        segment.fragments[fragments].reduce(0) { $0 &+ Int64($1.duration) }
    }

    package var wallTime: WallTime { segment.wallTime(of: first) }

    /// Offset and size of the piece in its file: fragments lie one behind the other.
    package var byteRange: (offset: UInt64, count: Int) {
        let end = segment.fragments[fragments.upperBound - 1]
        return (first.offset, Int(clamping: end.offset + UInt64(end.size) - first.offset))
    }
}

/// Cuts segments into pieces.
package enum PieceCutter {
    /// The shortest piece, where keyframes allow it: two seconds.
    static let shortestTicks: Int64 = 2 * 90_000

    /// - Parameters:
    ///   - segments: of one camera, oldest first.
    ///   - range: pieces that end before or begin after it are left out; `nil` takes all.
    ///   - origin: wall time that decode time 0 of the served timeline stands for. A piece that begins
    ///     before it (its keyframe lies before the range) moves the whole timeline forward.
    package static func pieces(
        of segments: [Segment], in range: TimeRange?, origin: WallTime
    ) -> [PlaybackPiece] {
        var anchors: [String: Int64] = [:]
        var pieces = pieces(of: segments, in: range, origin: origin, anchors: &anchors)
        guard let first = pieces.first else { return [] }
        let lead = min(0, first.first.decodeTime &+ first.decodeTimeOffset)
        for index in pieces.indices { pieces[index].decodeTimeOffset &-= lead }
        return pieces
    }

    /// As `pieces(of:in:origin:)`, with the places of runs on the timeline kept from call to call.
    /// - Parameter anchors: by run, what is added to its decode times.
    package static func pieces(
        of segments: [Segment], in range: TimeRange?, origin: WallTime,
        anchors: inout [String: Int64]
    ) -> [PlaybackPiece] {
        var pieces: [PlaybackPiece] = []
        var runID: String?
        for segment in segments {
            guard let first = segment.fragments.first else { continue }
            let isNewRun = runID != segment.runID
            runID = segment.runID
            // Within a run media time goes on from file to file; a new run is placed by the clock.
            let offset =
                anchors[segment.runID] ?? (segment.start - origin).inTicks &- first.decodeTime
            anchors[segment.runID] = offset
            let cut = cutSegment(segment, in: range, offset: offset)
            for (index, piece) in cut.enumerated() {
                var piece = piece
                piece.isDiscontinuous =
                    if let last = pieces.last {
                        !follows(piece, last) || (index == 0 && isNewRun)
                    } else { false }
                pieces.append(piece)
            }
        }
        return pieces
    }

    private static func cutSegment(
        _ segment: Segment, in range: TimeRange?, offset: Int64
    ) -> [PlaybackPiece] {
        var pieces: [PlaybackPiece] = []
        var begin: Int?
        var ticks: Int64 = 0
        func close(at end: Int) {
            guard let index = begin, end > index else { return }
            let piece = PlaybackPiece(
                segment: segment, fragments: index..<end, decodeTimeOffset: offset,
                isDiscontinuous: false)
            begin = nil
            ticks = 0
            let start = piece.wallTime
            let stop = start + .ticks(piece.duration)
            if let range, stop <= range.start || start >= range.end { return }
            pieces.append(piece)
        }
        for (index, fragment) in segment.fragments.enumerated() {
            if fragment.startsWithSync, begin == nil || ticks >= shortestTicks {
                close(at: index)
                begin = index
            }
            ticks += Int64(fragment.duration)
        }
        close(at: segment.fragments.count)
        return pieces
    }

    /// Whether the media time of `next` is where `last` ended.
    private static func follows(_ next: PlaybackPiece, _ last: PlaybackPiece) -> Bool {
        next.segment.runID == last.segment.runID
            && next.first.decodeTime == last.first.decodeTime &+ last.duration
    }
}
