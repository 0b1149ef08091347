// From the index to what a playlist names: consecutive fragments, where possible from a keyframe on.
// SPDX-License-Identifier: Apache-2.0

package import Domain
package import Primitives

/// One media segment of a playlist: whole fragments of one file.
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

    /// Offset and size of the piece in its file.
    package var byteRange: (offset: UInt64, count: Int) {
        let end = segment.fragments[fragments.upperBound - 1].endOffset
        return (first.offset, Int(clamping: end &- first.offset))
    }
}

/// How long the pieces of a playlist are, in 90 kHz ticks.
package struct PieceLength: Sendable, Equatable {
    /// A keyframe ends a piece that is at least as long.
    package var shortest: Int64
    /// A fragment without a keyframe does so from here on; `nil`: only keyframes do.
    package var longest: Int64?

    /// What players seek in quickly.
    package static let standard = PieceLength(shortest: 2 * 90_000)
    /// For a range of hours: a third of the lines.
    package static let long = PieceLength(shortest: 6 * 90_000)
    /// Long groups of pictures are cut, so that a live viewer need not wait for the next keyframe.
    package static let live = PieceLength(shortest: 2 * 90_000, longest: 4 * 90_000)
}

/// Cuts segments into pieces, one segment after the other.
package struct PieceCutter: Sendable {
    private let range: TimeRange?
    private let origin: WallTime
    private let length: PieceLength
    /// By run, what is added to its decode times.
    package private(set) var anchors: [String: Int64]
    /// Whether the whole timeline may still be moved forward, so that nothing begins before zero.
    private var movesForward: Bool
    private var forward: Int64 = 0
    private var last: PlaybackPiece?

    /// - Parameters:
    ///   - range: pieces that end before or begin after it are left out; `nil` takes all.
    ///   - origin: wall time that decode time 0 of the served timeline stands for.
    ///   - anchors: the places of runs on the timeline that are known from before. Without them, a
    ///     first piece that begins before the origin (its keyframe lies before the range) moves the
    ///     whole timeline forward.
    package init(
        range: TimeRange?, origin: WallTime, length: PieceLength = .standard,
        anchors: [String: Int64]? = nil
    ) {
        self.range = range
        self.origin = origin
        self.length = length
        self.anchors = anchors ?? [:]
        movesForward = anchors == nil
    }

    /// The pieces of the segments of one camera, oldest first.
    package static func pieces(
        of segments: [Segment], in range: TimeRange?, origin: WallTime,
        length: PieceLength = .standard
    ) -> [PlaybackPiece] {
        var cutter = PieceCutter(range: range, origin: origin, length: length)
        return segments.flatMap { cutter.cut($0) }
    }

    /// The pieces of the next segment.
    package mutating func cut(_ segment: Segment) -> [PlaybackPiece] {
        guard let first = segment.fragments.first else { return [] }
        // Within a run media time goes on from file to file; a new run is placed by the clock.
        let anchor =
            anchors[segment.runID] ?? (segment.start - origin).inTicks &- first.decodeTime
        anchors[segment.runID] = anchor
        var pieces = Self.cut(segment, in: range, length: length, offset: anchor &+ forward)
        if movesForward, let piece = pieces.first {
            movesForward = false
            forward = 0 &- min(0, piece.first.decodeTime &+ piece.decodeTimeOffset)
            for index in pieces.indices { pieces[index].decodeTimeOffset &+= forward }
        }
        for index in pieces.indices {
            if let last { pieces[index].isDiscontinuous = !Self.follows(pieces[index], last) }
            last = pieces[index]
        }
        return pieces
    }

    /// The pieces of one segment, whatever comes before it.
    package static func cut(
        _ segment: Segment, in range: TimeRange?, length: PieceLength, offset: Int64
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
            let start = piece.wallTime
            let stop = start + .ticks(ticks)
            ticks = 0
            if let range, stop <= range.start || start >= range.end { return }
            pieces.append(piece)
        }
        var end: Int64?
        for (index, fragment) in segment.fragments.enumerated() {
            // What lies behind damaged fragments waits for its keyframe.
            if let end, !touches(fragment.decodeTime, end) { close(at: index) }
            end = fragment.decodeTime &+ Int64(fragment.duration)
            if fragment.startsWithSync, begin == nil || ticks >= length.shortest {
                close(at: index)
                begin = index
            } else if let longest = length.longest, begin != nil, ticks >= longest {
                close(at: index)
                begin = index
            }
            if begin != nil { ticks += Int64(fragment.duration) }
        }
        close(at: segment.fragments.count)
        return pieces
    }

    /// Whether the media time of `next` is where `last` ended.
    private static func follows(_ next: PlaybackPiece, _ last: PlaybackPiece) -> Bool {
        next.segment.runID == last.segment.runID
            && touches(next.first.decodeTime, last.first.decodeTime &+ last.duration)
    }

    /// A tenth of a second apart is a rounding of durations, not a hole.
    private static func touches(_ start: Int64, _ end: Int64) -> Bool {
        (end &- 9000...end &+ 9000).contains(start)
    }
}
