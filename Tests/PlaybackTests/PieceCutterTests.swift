// From rows to pieces of a playlist and of a timeline.
// SPDX-License-Identifier: Apache-2.0

import Domain
import Playback
import Primitives
import Testing

/// Segments made of second-long fragments.
enum Rows {
    static let origin = WallTime(microseconds: 1_748_736_000_000_000)

    static func cameraID() throws -> CameraID {
        try #require(CameraID("3f2504e0-4f89-41d3-9a0c-0305e82c3301"))
    }

    /// - Parameter sync: which fragments begin with a keyframe.
    static func segment(
        _ id: String, run: String, from second: Int64, decodeTime: Int64, sync: [Bool],
        ticks: UInt32 = 90_000
    ) throws -> Segment {
        let start = origin + .seconds(second)
        let fragments = sync.enumerated().map { index, isSync in
            FragmentEntry(
                offset: 800 + UInt64(index) * 1000, size: 1000,
                decodeTime: decodeTime + Int64(index) * Int64(ticks), duration: ticks,
                sampleCount: 25, startsWithSync: isSync, hash: [UInt8](repeating: 0, count: 32))
        }
        return Segment(
            id: id, runID: run, cameraID: try cameraID(), source: try #require(Source("METRO")),
            sequenceNumber: 0, start: start,
            end: start + .microseconds(Int64(ticks) * Int64(sync.count) * 100 / 9), path: id,
            initSize: 700, fragments: fragments, codec: "avc1.42C00A", width: 640, height: 480)
    }

    static func range(_ start: Int64, _ end: Int64) throws -> TimeRange {
        try #require(TimeRange(start: origin + .seconds(start), end: origin + .seconds(end)))
    }
}

@Suite struct PieceCutterTests {
    private func served(_ piece: PlaybackPiece) -> Int64 {
        piece.first.decodeTime + piece.decodeTimeOffset
    }

    @Test("pieces begin at keyframes and last two seconds where keyframes allow it")
    func lengths() throws {
        let sync = [true, true, true, true, true, false, false, true]
        let segment = try Rows.segment("a", run: "r", from: 0, decodeTime: 5000, sync: sync)
        let pieces = PieceCutter.pieces(of: [segment], in: nil, origin: Rows.origin)
        #expect(pieces.map(\.fragments) == [0..<2, 2..<4, 4..<7, 7..<8])
        #expect(pieces.allSatisfy { $0.first.startsWithSync })
        #expect(pieces.map(\.duration) == [180_000, 180_000, 270_000, 90_000])
        #expect(pieces.map(served) == [0, 180_000, 360_000, 630_000])
        #expect(pieces.allSatisfy { !$0.isDiscontinuous })
        #expect(pieces[2].byteRange.offset == 4800)
        #expect(pieces[2].byteRange.count == 3000)
        #expect(pieces[2].wallTime == Rows.origin + .seconds(4))
    }

    @Test("what lies before the first keyframe of a file is left out")
    func noKeyframe() throws {
        let segment = try Rows.segment(
            "a", run: "r", from: 0, decodeTime: 0, sync: [false, false, true, true])
        let pieces = PieceCutter.pieces(of: [segment], in: nil, origin: Rows.origin)
        #expect(pieces.first?.fragments.lowerBound == 2)
        let none = try Rows.segment("b", run: "r", from: 0, decodeTime: 0, sync: [false, false])
        #expect(PieceCutter.pieces(of: [none], in: nil, origin: Rows.origin).isEmpty)
        let empty = try Rows.segment("c", run: "r", from: 0, decodeTime: 0, sync: [])
        #expect(PieceCutter.pieces(of: [empty], in: nil, origin: Rows.origin).isEmpty)
    }

    @Test("within a run decode times go on from file to file, and a new run is a discontinuity")
    func runs() throws {
        let sync = [Bool](repeating: true, count: 4)
        let segments = [
            try Rows.segment("a", run: "one", from: 0, decodeTime: 900, sync: sync),
            try Rows.segment("b", run: "one", from: 4, decodeTime: 360_900, sync: sync),
            try Rows.segment("c", run: "two", from: 60, decodeTime: 77, sync: sync),
        ]
        let pieces = PieceCutter.pieces(of: segments, in: nil, origin: Rows.origin)
        #expect(pieces.map(\.isDiscontinuous) == [false, false, false, false, true, false])
        #expect(pieces.map(served) == [0, 180_000, 360_000, 540_000, 5_400_000, 5_580_000])
    }

    @Test("a file missing inside a run is a discontinuity, and its time is kept")
    func hole() throws {
        let sync = [true, true]
        let segments = [
            try Rows.segment("a", run: "one", from: 0, decodeTime: 0, sync: sync),
            try Rows.segment("c", run: "one", from: 4, decodeTime: 360_000, sync: sync),
        ]
        let pieces = PieceCutter.pieces(of: segments, in: nil, origin: Rows.origin)
        #expect(pieces.map(\.isDiscontinuous) == [false, true])
        #expect(pieces.map(served) == [0, 360_000])
    }

    @Test("a range takes the pieces that overlap it and no other")
    func ranges() throws {
        let segment = try Rows.segment(
            "a", run: "r", from: 0, decodeTime: 0, sync: [Bool](repeating: true, count: 10))
        func cut(_ start: Int64, _ end: Int64) throws -> [Int] {
            let range = try Rows.range(start, end)
            return PieceCutter.pieces(of: [segment], in: range, origin: range.start)
                .map(\.fragments.lowerBound)
        }
        #expect(try cut(2, 4) == [2])
        #expect(try cut(3, 5) == [2, 4])
        #expect(try cut(-100, 100) == [0, 2, 4, 6, 8])
        #expect(try cut(10, 20) == [])
    }

    @Test("a range that begins inside a piece is served from time zero or later, never before")
    func neverNegative() throws {
        let segment = try Rows.segment(
            "a", run: "r", from: 0, decodeTime: 0, sync: [Bool](repeating: true, count: 10))
        let next = try Rows.segment(
            "b", run: "s", from: 20, decodeTime: 5, sync: [Bool](repeating: true, count: 4))
        for start in Int64(0)..<9 {
            let range = try Rows.range(start, 60)
            let pieces = PieceCutter.pieces(of: [segment, next], in: range, origin: range.start)
            #expect(pieces.allSatisfy { served($0) >= 0 }, "range from second \(start)")
            // Rising throughout: no piece begins before the one in front of it has ended.
            for (a, b) in zip(pieces, pieces.dropFirst()) {
                #expect(served(b) >= served(a) + a.duration)
            }
        }
    }
}

@Suite struct PieceLengthTests {
    @Test("a long group of pictures is cut at fragments where the length says so, and only there")
    func longGroups() throws {
        var sync = [Bool](repeating: false, count: 12)
        sync[0] = true
        sync[10] = true
        let segment = try Rows.segment("a", run: "r", from: 0, decodeTime: 0, sync: sync)
        func cut(_ length: PieceLength) -> [Range<Int>] {
            PieceCutter.pieces(of: [segment], in: nil, origin: Rows.origin, length: length)
                .map(\.fragments)
        }
        #expect(cut(.standard) == [0..<10, 10..<12])
        #expect(cut(.live) == [0..<4, 4..<8, 8..<10, 10..<12])
    }

    @Test("pieces of a long range last six seconds")
    func long() throws {
        let segment = try Rows.segment(
            "a", run: "r", from: 0, decodeTime: 0, sync: [Bool](repeating: true, count: 20))
        let pieces = PieceCutter.pieces(
            of: [segment], in: nil, origin: Rows.origin, length: .long)
        #expect(pieces.map(\.fragments) == [0..<6, 6..<12, 12..<18, 18..<20])
    }

    @Test("behind a hole inside a file the next keyframe begins a discontinuous piece")
    func holeInFile() throws {
        var segment = try Rows.segment(
            "a", run: "r", from: 0, decodeTime: 0, sync: [true, true, true, false, true, true])
        // The third is missing: what remains of its group cannot be shown.
        segment.fragments.remove(at: 2)
        let pieces = PieceCutter.pieces(of: [segment], in: nil, origin: Rows.origin)
        #expect(pieces.map(\.fragments) == [0..<2, 3..<5])
        #expect(pieces.map(\.isDiscontinuous) == [false, true])
        #expect(pieces.map(served) == [0, 360_000])
        #expect(pieces.map(\.duration) == [180_000, 180_000])
    }

    private func served(_ piece: PlaybackPiece) -> Int64 {
        piece.first.decodeTime + piece.decodeTimeOffset
    }
}

@Suite struct TimelineTests {
    @Test("coverage that touches is joined, a hole is kept, and everything is cut to the range")
    func joins() throws {
        let sync = [true, true, true, true]
        let segments = [
            try Rows.segment("a", run: "r", from: 0, decodeTime: 0, sync: sync),
            try Rows.segment("b", run: "r", from: 4, decodeTime: 0, sync: sync),
            try Rows.segment("c", run: "s", from: 20, decodeTime: 0, sync: sync),
        ]
        let range = try Rows.range(2, 22)
        let fine = Timeline(
            spans: segments.map(\.span), gaps: [], range: range, resolution: .milliseconds(1))
        #expect(fine.coverage == [try Rows.range(2, 8), try Rows.range(20, 22)])
        let coarse = Timeline(
            spans: segments.map(\.span), gaps: [], range: range, resolution: .seconds(15))
        #expect(coarse.coverage == [try Rows.range(2, 22)])
        let outside = Timeline(
            spans: segments.map(\.span), gaps: [], range: try Rows.range(100, 200),
            resolution: .zero)
        #expect(outside.coverage.isEmpty)
    }

    @Test("segments that overlap do not shorten what is covered")
    func overlap() throws {
        let segments = [
            try Rows.segment(
                "a", run: "r", from: 0, decodeTime: 0, sync: [Bool](repeating: true, count: 10)),
            try Rows.segment("b", run: "s", from: 2, decodeTime: 0, sync: [true]),
        ]
        let timeline = Timeline(
            spans: segments.map(\.span), gaps: [], range: try Rows.range(0, 60), resolution: .zero)
        #expect(timeline.coverage == [try Rows.range(0, 10)])
    }
}
