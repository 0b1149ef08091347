// The rows of recordings on every engine: added once, found by range, removed in order.
// SPDX-License-Identifier: Apache-2.0

import Database
import Domain
import Primitives
import Recording
import Testing

/// The first step of a removal, as a program leaves it that ends before the second.
func markForRemoval(_ id: String, in engine: any DatabaseEngine) async throws {
    let marked = try await engine.execute(
        Statement(
            """
            UPDATE video_segments SET copies = '{"FILESYSTEM":"MISSING"}' WHERE id = ?
            """, [.text(id)]))
    #expect(marked == 1)
}

func rowCount(in engine: any DatabaseEngine) async throws -> Int64? {
    try await engine.query(Statement("SELECT COUNT(*) AS n FROM video_segments")).first?
        .integer("n")
}

@Suite(.everyDatabase) struct RecordingIndexTests {
    private static func at(_ seconds: Int64) -> WallTime {
        WallTime(microseconds: 1_748_736_000_000_000 + seconds * 1_000_000)
    }

    private func segment(_ number: Int, run: String = "run") throws -> Segment {
        let camera = try RecordingRig.camera()
        let start = Self.at(Int64(number) * 10)
        return Segment(
            id: "segment-\(number)", runID: run, cameraID: camera.id, source: camera.source,
            sequenceNumber: number, start: start, end: start + .seconds(10),
            path: "recordings/\(number).mp4", initSize: 700,
            fragments: [
                FragmentEntry(
                    offset: 816, size: 9000, decodeTime: Int64(number) * 900_000,
                    duration: 900_000, sampleCount: 250, startsWithSync: true,
                    hash: [UInt8](repeating: UInt8(truncatingIfNeeded: number), count: 32))
            ], codec: "avc1.42C00A", width: 640, height: 480)
    }

    private func range(_ start: Int64, _ end: Int64) throws -> TimeRange {
        try #require(TimeRange(start: Self.at(start), end: Self.at(end)))
    }

    private func withIndex(
        _ body: (RecordingIndex, any DatabaseEngine) async throws -> Void
    ) async throws {
        let folder = try TemporaryFolder()
        let engine = try await RecordingRig.database(in: folder)
        try await body(RecordingIndex(database: engine), engine)
        try await engine.close()
    }

    @Test("a segment added twice is there once, as it was")
    func addTwice() async throws {
        try await withIndex { index, engine in
            let segment = try segment(0)
            for _ in 0..<2 {
                try await index.add(segment, cameraName: "Gate", damaged: false, at: Self.at(0))
            }
            let found = try await index.segments(of: segment.cameraID, in: range(0, 100))
            #expect(found == [segment])
            #expect(try await rowCount(in: engine) == 1)
        }
    }

    @Test("a range finds what overlaps it, oldest first, and the nearest around a hole")
    func ranges() async throws {
        try await withIndex { index, _ in
            for number in [3, 0, 1, 6] {
                try await index.add(
                    segment(number), cameraName: "Gate", damaged: false, at: Self.at(0))
            }
            let id = try RecordingRig.camera().id
            func found(_ start: Int64, _ end: Int64) async throws -> [Int] {
                try await index.segments(of: id, in: range(start, end)).map(\.sequenceNumber)
            }
            #expect(try await found(0, 100) == [0, 1, 3, 6])
            #expect(try await found(5, 11) == [0, 1])
            #expect(try await found(10, 20) == [1])
            #expect(try await found(20, 30) == [])
            #expect(try await found(39, 61) == [3, 6])
            let nearest = try await index.nearest(to: Self.at(45), of: id)
            #expect(nearest.before == Self.at(40) && nearest.after == Self.at(60))
            let other = try #require(CameraID("00000000-0000-0000-0000-000000000000"))
            #expect(try await index.segments(of: other, in: range(0, 100)).isEmpty)
            #expect(try await index.nearest(to: Self.at(45), of: other).before == nil)
        }
    }

    @Test("a gap added twice is there once")
    func gaps() async throws {
        try await withIndex { index, _ in
            let id = try RecordingRig.camera().id
            let gap = Gap(start: Self.at(10), end: Self.at(20), reason: .sourceLost)
            for _ in 0..<2 { try await index.add(gap, of: id) }
            #expect(try await index.gaps(of: id, in: range(0, 100)) == [gap])
            #expect(try await index.gaps(of: id, in: range(20, 100)).isEmpty)
            #expect(try await index.gaps(of: id, in: range(15, 16)) == [gap])
        }
    }

    @Test("a segment whose removal has begun is in no range, and a run goes with its last segment")
    func removal() async throws {
        try await withIndex { index, engine in
            for number in 0..<3 {
                try await index.add(
                    segment(number, run: number == 0 ? "first" : "second"), cameraName: "Gate",
                    damaged: false, at: Self.at(0))
            }
            try await markForRemoval("segment-0", in: engine)
            let id = try RecordingRig.camera().id
            let visible = try await index.segments(of: id, in: range(0, 100))
            #expect(visible.map(\.id) == ["segment-1", "segment-2"])
            let folder = try TemporaryFolder()
            let repair = SegmentRepair(dataFolder: folder.path, index: index)
            #expect(try await repair.run(at: Self.at(0)) == RepairReport())
            #expect(try await rowCount(in: engine) == 2)
            let runs = try await engine.query(Statement("SELECT id FROM video_sessions"))
            #expect(try runs.map { try $0.text("id") } == ["second"])
        }
    }

    @Test(
        "a run goes by the camera's name of when it is indexed, or by what is said where none is known"
    )
    func names() async throws {
        try await withIndex { index, engine in
            let (first, second) = (try segment(0, run: "first"), try segment(1, run: "second"))
            try await index.add(first, cameraName: "Gone", damaged: false, at: Self.at(0))
            _ = try await engine.transaction([
                Statement(
                    """
                    INSERT INTO cameras (id, name, source, origin, created_at, updated_at)
                    VALUES (?, 'Renamed', 'METRO', 'RTSP', 0, 0)
                    """, [.text(first.cameraID.rawValue)])
            ])
            try await index.add(second, cameraName: "Gate", damaged: false, at: Self.at(0))
            let names = try await engine.query(
                Statement("SELECT camera_name FROM video_sessions ORDER BY start_time"))
            #expect(try names.map { try $0.text("camera_name") } == ["Gone", "Renamed"])
        }
    }

    @Test("no answer names a segment whose removal has begun")
    func nearestSkipsRemoved() async throws {
        try await withIndex { index, engine in
            try await index.add(segment(0), cameraName: "Gate", damaged: false, at: Self.at(0))
            try await markForRemoval("segment-0", in: engine)
            let nearest = try await index.nearest(
                to: Self.at(45), of: try RecordingRig.camera().id)
            #expect(nearest.before == nil)
        }
    }

    @Test("spans are all there, in order, however many pages they take")
    func spanPages() async throws {
        try await withIndex { index, engine in
            let id = try RecordingRig.camera().id
            try await index.add(segment(0), cameraName: "Gate", damaged: false, at: Self.at(0))
            // Two rows begin at each moment, so a page may end between equals.
            try await engine.execute(
                Statement(
                    """
                    INSERT INTO video_segments (id, session_id, camera_id, source, sequence_number,
                        start_time, end_time, duration_ms, size_bytes, storage_path,
                        storage_backend, copies, codec, created_at)
                    WITH RECURSIVE n (i) AS
                        (SELECT CAST(1 AS BIGINT) UNION ALL SELECT i + 1 FROM n WHERE i < 9000)
                    SELECT 'row-' || i, 'run', ?, 'METRO', i, ? + i / 2 * 10000000,
                        ? + i / 2 * 10000000 + 10000000, 10000, 1, 'p' || i, 'FILESYSTEM',
                        '{"FILESYSTEM":"WRITTEN"}', 'avc1', 0 FROM n
                    """,
                    [
                        .text(id.rawValue), .integer(Self.at(0).microseconds),
                        .integer(Self.at(0).microseconds),
                    ]))
            let spans = try await index.spans(of: id, in: range(0, 1_000_000))
            #expect(spans.count == 9001)
            #expect(spans.map(\.start) == spans.map(\.start).sorted())
            #expect(Set(spans.map(\.start)).count == 4501)
            #expect(try await index.spans(of: id, in: range(15, 16)).count == 2)
            // What would have to be cut short is refused instead.
            await #expect(throws: MarsadError.self) {
                try await index.segments(of: id, in: range(0, 1_000_000))
            }
        }
    }

    @Test("an index that cannot be read leaves its segment empty and its neighbours whole")
    func unreadable() async throws {
        try await withIndex { index, engine in
            for number in 0..<3 {
                try await index.add(
                    segment(number), cameraName: "Gate", damaged: false, at: Self.at(0))
            }
            try await engine.execute(
                Statement(
                    "UPDATE video_segments SET fragment_index = ? WHERE id = 'segment-1'",
                    [.blob([1, 0, 0, 0, 9] + [UInt8](repeating: 255, count: 59))]))
            let id = try RecordingRig.camera().id
            let found = try await index.segments(of: id, in: range(0, 100))
            #expect(found.map(\.fragments.count) == [1, 0, 1])
            #expect(try await index.segment("segment-2", of: id) == segment(2))
            #expect(try await index.segment("segment-9", of: id) == nil)
            let other = try #require(CameraID("00000000-0000-0000-0000-000000000000"))
            #expect(try await index.segment("segment-2", of: other) == nil)
        }
    }

    @Test("what outlived its own camera's retention is found, of removed cameras too")
    func expired() async throws {
        try await withIndex { index, engine in
            let id = try RecordingRig.camera().id
            let day: Int64 = 86_400
            for (number, seconds) in [(0, 0), (1, 5 * day), (2, 9 * day)] {
                var segment = try segment(number)
                segment.start = Self.at(seconds)
                segment.end = Self.at(seconds + 10)
                try await index.add(segment, cameraName: "Gate", damaged: false, at: Self.at(0))
            }
            let other = try #require(CameraID("00000000-0000-0000-0000-000000000000"))
            var foreign = try segment(7, run: "other")
            foreign.cameraID = other
            foreign.start = Self.at(-20)
            foreign.end = Self.at(-10)
            try await index.add(foreign, cameraName: "Old", damaged: false, at: Self.at(0))
            func expired(_ days: Int, count: Int = 10) async throws -> [String] {
                try await index.expired(at: Self.at(10 * day), defaultDays: days, count: count)
                    .map(\.id)
            }
            // Neither camera has a row of its own here: the default counts.
            #expect(try await expired(3) == ["segment-7", "segment-0", "segment-1"])
            #expect(try await expired(3, count: 2) == ["segment-7", "segment-0"])
            #expect(try await expired(30) == [])
            try await engine.execute(
                Statement(
                    """
                    INSERT INTO cameras (id, name, source, origin, retention_days, created_at,
                        updated_at) VALUES (?, 'Gate', 'METRO', 'RTSP', 7, 0, 0)
                    """, [.text(id.rawValue)]))
            #expect(try await expired(30) == ["segment-0"])
            #expect(try await expired(3) == ["segment-7", "segment-0"])
        }
    }
}
