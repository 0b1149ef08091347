// Where the rows of recordings are written and found; SQL of the dialect that both engines share.
// SPDX-License-Identifier: Apache-2.0

package import Database
package import Domain
package import Primitives

/// The index of recordings in the database.
package struct RecordingIndex: Sendable {
    /// No segment is longer: `recording.segment_seconds` is at most an hour, and a segment ends with
    /// its group of pictures. It bounds how far before a range its first segment can begin.
    private static let longestSegment = Duration.seconds(2 * 3600)
    /// Rows of one page of an answer that only has times in it.
    private static let pageSize = 4096
    /// Rows of one answer; a range with more is to be asked for in parts.
    private static let rowsAtMost = 100_000
    /// The same where each row brings its fragments.
    private static let segmentsAtMost = 4096
    private static let isWritten = "copies = '{\"FILESYSTEM\":\"WRITTEN\"}'"

    let database: any DatabaseEngine

    package init(database: any DatabaseEngine) { self.database = database }

    // MARK: Writing

    /// Adds a closed segment and what it changes of its run. Adding the same segment again changes nothing.
    /// - Parameter cameraName: for a camera that is not known any more. Any other goes by its present name,
    ///   which may be newer than the one that its recorder began with.
    package func add(
        _ segment: Segment, cameraName: String, damaged: Bool, at now: WallTime
    ) async throws(DatabaseError) {
        let size = segment.fragments.reduce(UInt64(segment.initSize)) { $0 + UInt64($1.size) }
        let ticks = segment.fragments.reduce(Int64(0)) { $0 + Int64($1.duration) }
        let milliseconds = ticks / 90
        let bitrate = milliseconds > 0 ? Int64(size) * 8 / milliseconds : 0
        try await database.transaction([
            Statement(
                """
                INSERT INTO video_sessions (id, camera_id, camera_name, source, start_time, end_time,
                    status)
                VALUES (?, ?, COALESCE((SELECT name FROM cameras WHERE id = ?), ?), ?, ?, ?,
                    'STOPPED') ON CONFLICT (id) DO NOTHING
                """,
                [
                    .text(segment.runID), .text(segment.cameraID.rawValue),
                    .text(segment.cameraID.rawValue), .text(cameraName),
                    .text(segment.source.rawValue), .integer(segment.start.microseconds),
                    .integer(segment.end.microseconds),
                ]),
            Statement(
                """
                INSERT INTO video_segments (id, session_id, camera_id, source, sequence_number,
                    start_time, end_time, duration_ms, size_bytes, storage_path, storage_backend,
                    copies, codec, resolution, bitrate_kbps, fragment_index, damaged, created_at)
                VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'FILESYSTEM', '{"FILESYSTEM":"WRITTEN"}', ?, ?,
                    ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING
                """,
                [
                    .text(segment.id), .text(segment.runID), .text(segment.cameraID.rawValue),
                    .text(segment.source.rawValue), .integer(Int64(segment.sequenceNumber)),
                    .integer(segment.start.microseconds), .integer(segment.end.microseconds),
                    .integer(milliseconds), .integer(Int64(clamping: size)), .text(segment.path),
                    .text(segment.codec), .text("\(segment.width)x\(segment.height)"),
                    .integer(bitrate),
                    .blob(
                        FragmentIndex.serialize(
                            initSize: segment.initSize, segment.fragments)),
                    DatabaseValue(damaged), .integer(now.microseconds),
                ]),
            Statement(
                """
                UPDATE video_sessions SET
                    end_time = (SELECT MAX(end_time) FROM video_segments WHERE session_id = ?),
                    segment_count = (SELECT COUNT(*) FROM video_segments WHERE session_id = ?),
                    total_size_bytes =
                        (SELECT COALESCE(SUM(size_bytes), 0) FROM video_segments WHERE session_id = ?)
                WHERE id = ?
                """, [DatabaseValue](repeating: .text(segment.runID), count: 4)),
        ])
    }

    package func add(_ gap: Gap, of id: CameraID) async throws(DatabaseError) {
        try await database.execute(
            Statement(
                """
                INSERT INTO gaps (camera_id, start_time, end_time, reason) VALUES (?, ?, ?, ?)
                ON CONFLICT (camera_id, start_time, reason) DO NOTHING
                """,
                [
                    .text(id.rawValue), .integer(gap.start.microseconds),
                    .integer(gap.end.microseconds), .text(gap.reason.rawValue),
                ]))
    }

    /// First step of a removal: from here on no query finds it.
    func markForRemoval(_ id: String) async throws(DatabaseError) {
        try await database.execute(
            Statement(
                "UPDATE video_segments SET copies = '{\"FILESYSTEM\":\"MISSING\"}' WHERE id = ?",
                [.text(id)]))
    }

    /// Last step of a removal, after the file is gone for good.
    func remove(_ id: String) async throws(DatabaseError) {
        try await database.transaction([
            Statement("DELETE FROM video_segments WHERE id = ?", [.text(id)]),
            Statement(
                """
                DELETE FROM video_sessions WHERE NOT EXISTS
                    (SELECT 1 FROM video_segments WHERE session_id = video_sessions.id)
                """),
        ])
    }

    // MARK: Reading

    /// The segments of a camera that overlap a range, oldest first, with their fragments. Throws
    /// INVALID_TIME_RANGE rather than leave any out of a range that holds thousands.
    package func segments(of id: CameraID, in range: TimeRange) async throws -> [Segment] {
        let rows = try await database.query(
            Statement(
                """
                SELECT * FROM video_segments WHERE camera_id = ? AND start_time < ?
                    AND start_time > ? AND end_time > ? AND \(Self.isWritten)
                ORDER BY start_time LIMIT \(Self.segmentsAtMost + 1)
                """, Self.overlap(id, range)))
        guard rows.count <= Self.segmentsAtMost else { throw Self.tooMuch }
        return try segments(rows)
    }

    /// One segment by its id; `nil` once its removal has begun.
    package func segment(_ segmentID: String, of id: CameraID) async throws -> Segment? {
        let rows = try await database.query(
            Statement(
                "SELECT * FROM video_segments WHERE id = ? AND camera_id = ? AND \(Self.isWritten)",
                [.text(segmentID), .text(id.rawValue)]))
        return try segments(rows).first
    }

    /// Where the segments of a range lie, oldest first; their fragments are not read. Throws
    /// INVALID_TIME_RANGE rather than leave any out.
    package func spans(of id: CameraID, in range: TimeRange) async throws -> [SegmentSpan] {
        var spans: [SegmentSpan] = []
        // The key of the last row that was read: start_time alone may repeat.
        var last: (start: Int64, id: String) = (.min, "")
        while true {
            let rows = try await database.query(
                Statement(
                    """
                    SELECT id, session_id, start_time, end_time FROM video_segments
                    WHERE camera_id = ? AND start_time < ? AND start_time > ? AND end_time > ?
                        AND \(Self.isWritten) AND start_time >= ? AND (start_time > ? OR id > ?)
                    ORDER BY start_time, id LIMIT \(Self.pageSize)
                    """,
                    Self.overlap(id, range) + [
                        .integer(last.start), .integer(last.start), .text(last.id),
                    ]))
            for row in rows {
                last = (try row.integer("start_time"), try row.text("id"))
                spans.append(
                    SegmentSpan(
                        runID: try row.text("session_id"),
                        start: WallTime(microseconds: last.start),
                        end: WallTime(microseconds: try row.integer("end_time"))))
            }
            guard rows.count == Self.pageSize else { return spans }
            guard spans.count < Self.rowsAtMost else { throw Self.tooMuch }
        }
    }

    private static func overlap(_ id: CameraID, _ range: TimeRange) -> [DatabaseValue] {
        let earliest = range.start + (.zero - longestSegment)
        return [
            .text(id.rawValue), .integer(range.end.microseconds), .integer(earliest.microseconds),
            .integer(range.start.microseconds),
        ]
    }

    private static let tooMuch = MarsadError(
        .invalidTimeRange, details: ["reason": "too many recordings for one answer"])

    /// Gaps that overlap a range, oldest first. Throws INVALID_TIME_RANGE rather than leave any out.
    package func gaps(of id: CameraID, in range: TimeRange) async throws -> [Gap] {
        let rows = try await database.query(
            Statement(
                """
                SELECT start_time, end_time, reason FROM gaps
                WHERE camera_id = ? AND start_time < ? AND (end_time IS NULL OR end_time > ?)
                ORDER BY start_time LIMIT \(Self.rowsAtMost + 1)
                """,
                [
                    .text(id.rawValue), .integer(range.end.microseconds),
                    .integer(range.start.microseconds),
                ]))
        guard rows.count <= Self.rowsAtMost else { throw Self.tooMuch }
        var gaps: [Gap] = []
        for row in rows {
            guard let reason = GapReason(rawValue: try row.text("reason")) else { continue }
            gaps.append(
                Gap(
                    start: WallTime(microseconds: try row.integer("start_time")),
                    end: WallTime(
                        microseconds: try row.optionalInteger("end_time") ?? range.end.microseconds),
                    reason: reason))
        }
        return gaps
    }

    /// The end of the newest segment before a time, and the start of the oldest after it.
    package func nearest(
        to time: WallTime, of id: CameraID
    ) async throws(DatabaseError) -> (before: WallTime?, after: WallTime?) {
        let rows = try await database.query(
            Statement(
                """
                SELECT (SELECT end_time FROM video_segments
                        WHERE camera_id = ? AND start_time <= ? AND end_time <= ?
                            AND \(Self.isWritten) ORDER BY start_time DESC LIMIT 1) AS before_time,
                    (SELECT start_time FROM video_segments
                        WHERE camera_id = ? AND start_time > ? AND \(Self.isWritten)
                        ORDER BY start_time LIMIT 1) AS after_time
                """,
                [
                    .text(id.rawValue), .integer(time.microseconds), .integer(time.microseconds),
                    .text(id.rawValue), .integer(time.microseconds),
                ]))
        guard let row = rows.first else { return (nil, nil) }
        return (
            try row.optionalInteger("before_time").map(WallTime.init(microseconds:)),
            try row.optionalInteger("after_time").map(WallTime.init(microseconds:))
        )
    }

    /// When the camera's recording ended last. Segments may overlap by moments, so the newest few are
    /// asked and not all of them.
    func lastEnd(of id: CameraID) async throws(DatabaseError) -> WallTime? {
        let rows = try await database.query(
            Statement(
                """
                SELECT MAX(end_time) AS last_end FROM (SELECT end_time FROM video_segments
                    WHERE camera_id = ? ORDER BY start_time DESC LIMIT 8) AS newest
                """, [.text(id.rawValue)]))
        return try rows.first?.optionalInteger("last_end").map(WallTime.init(microseconds:))
    }

    /// The paths of all files that have a row, by the segment's id.
    func knownPaths() async throws(DatabaseError) -> [String: String] {
        let rows = try await database.query(
            Statement("SELECT id, storage_path FROM video_segments"))
        var paths: [String: String] = [:]
        for row in rows { paths[try row.text("id")] = try row.text("storage_path") }
        return paths
    }

    /// The segment's file was found elsewhere.
    func move(_ id: String, to path: String) async throws(DatabaseError) {
        try await database.execute(
            Statement(
                "UPDATE video_segments SET storage_path = ? WHERE id = ?",
                [.text(path), .text(id)]))
    }

    /// The oldest segments that outlived their camera's retention, or the default one. Camera by
    /// camera, each id found behind the one before: so the index leads to the rows that are due, and
    /// none of a long retention is visited to find those of a short one.
    package func expired(
        at now: WallTime, defaultDays: Int, count: Int
    ) async throws(DatabaseError) -> [Segment] {
        try segments(
            await database.query(
                Statement(
                    """
                    WITH RECURSIVE ids (camera_id) AS (
                        SELECT MIN(camera_id) FROM video_segments
                        UNION ALL
                        SELECT (SELECT MIN(camera_id) FROM video_segments
                            WHERE camera_id > ids.camera_id)
                        FROM ids WHERE ids.camera_id IS NOT NULL
                    ), limits (camera_id, cutoff) AS (
                        SELECT ids.camera_id, ? - 86400000000 * COALESCE(
                            (SELECT retention_days FROM cameras WHERE cameras.id = ids.camera_id), ?)
                        FROM ids WHERE ids.camera_id IS NOT NULL
                    )
                    SELECT s.* FROM limits CROSS JOIN video_segments s
                    WHERE s.camera_id = limits.camera_id AND s.start_time < limits.cutoff
                        AND s.end_time < limits.cutoff AND s.\(Self.isWritten)
                    ORDER BY s.start_time LIMIT ?
                    """,
                    [
                        .integer(now.microseconds), .integer(Int64(defaultDays)),
                        .integer(Int64(count)),
                    ])))
    }

    /// Segments whose removal was begun and not finished.
    func halfRemoved() async throws(DatabaseError) -> [Segment] {
        try segments(
            await database.query(
                Statement(
                    """
                    SELECT * FROM video_segments WHERE copies = '{"FILESYSTEM":"MISSING"}'
                    ORDER BY start_time LIMIT 4096
                    """)))
    }

    /// The oldest segments of all.
    func oldest(count: Int) async throws(DatabaseError) -> [Segment] {
        try segments(
            await database.query(
                Statement(
                    """
                    SELECT * FROM video_segments WHERE \(Self.isWritten)
                    ORDER BY start_time LIMIT ?
                    """, [.integer(Int64(count))])))
    }

    private func segments(_ rows: [Row]) throws(DatabaseError) -> [Segment] {
        var segments: [Segment] = []
        segments.reserveCapacity(rows.count)
        for row in rows {
            guard let cameraID = CameraID(try row.text("camera_id")),
                let source = Source(try row.text("source"))
            else { throw DatabaseError.wrongType(column: "camera_id") }
            // An index that cannot be read has nothing to play, and must not keep the row from its
            // removal, nor its neighbours from being played.
            let index = FragmentIndex.parse(try row.optionalBlob("fragment_index") ?? []) ?? (0, [])
            let size = (try row.optionalText("resolution") ?? "").split(separator: "x")
            segments.append(
                Segment(
                    id: try row.text("id"), runID: try row.text("session_id"), cameraID: cameraID,
                    source: source, sequenceNumber: Int(try row.integer("sequence_number")),
                    start: WallTime(microseconds: try row.integer("start_time")),
                    end: WallTime(microseconds: try row.integer("end_time")),
                    path: try row.text("storage_path"), initSize: index.initSize,
                    fragments: index.entries, codec: try row.text("codec"),
                    width: size.first.flatMap { Int($0) } ?? 0,
                    height: size.last.flatMap { Int($0) } ?? 0))
        }
        return segments
    }
}
