// Outages that last, and what a repair asks of the index.
// SPDX-License-Identifier: Apache-2.0

import Database
import Domain
import Primitives

extension RecordingIndex {
    // MARK: Outages

    /// Writes a gap without an end. One that had begun later is part of it.
    func begin(_ outage: Outage, of id: CameraID) async throws(DatabaseError) {
        try await database.transaction([
            Statement(
                """
                DELETE FROM gaps WHERE camera_id = ? AND end_time IS NULL AND start_time >= ?
                """, [.text(id.rawValue), .integer(outage.since.microseconds)]),
            Statement(
                """
                INSERT INTO gaps (camera_id, start_time, end_time, reason) VALUES (?, ?, NULL, ?)
                ON CONFLICT (camera_id, start_time, reason) DO NOTHING
                """,
                [
                    .text(id.rawValue), .integer(outage.since.microseconds),
                    .text(outage.reason.rawValue),
                ]),
        ])
        if outage.reason == .restart { try await uncover(id, from: outage.since, to: nil) }
    }

    /// Gives the gap its end. After a step of the clock to before its start there is none.
    func end(
        _ outage: Outage, of id: CameraID, at end: WallTime
    ) async throws(DatabaseError) {
        var statements = [
            Statement(
                """
                DELETE FROM gaps WHERE camera_id = ? AND end_time IS NULL
                    AND (start_time < ? OR start_time = ?)
                """,
                [
                    .text(id.rawValue), .integer(end.microseconds),
                    .integer(outage.since.microseconds),
                ])
        ]
        if outage.since < end {
            statements.append(
                Statement(
                    """
                    INSERT INTO gaps (camera_id, start_time, end_time, reason) VALUES (?, ?, ?, ?)
                    ON CONFLICT (camera_id, start_time, reason)
                    DO UPDATE SET end_time = excluded.end_time
                    """,
                    [
                        .text(id.rawValue), .integer(outage.since.microseconds),
                        .integer(end.microseconds), .text(outage.reason.rawValue),
                    ]))
        }
        try await database.transaction(statements)
        if outage.reason == .restart { try await uncover(id, from: outage.since, to: end) }
    }

    /// The newest outage of a camera that has no end yet.
    func lastOutage(of id: CameraID) async throws(DatabaseError) -> Outage? {
        let rows = try await database.query(
            Statement(
                """
                SELECT start_time, reason FROM gaps WHERE camera_id = ? AND end_time IS NULL
                ORDER BY start_time DESC LIMIT 1
                """, [.text(id.rawValue)]))
        guard let row = rows.first, let reason = GapReason(rawValue: try row.text("reason")) else {
            return nil
        }
        return Outage(
            since: WallTime(microseconds: try row.integer("start_time")), reason: reason)
    }

    /// Takes the times that have a recording out of the gaps of a restart: a recorder begins with
    /// what the index knows then, and repair adopts the files of the crash beside it. Both call
    /// this after their own row is written, so that the later of the two sees both rows.
    func uncover(
        _ id: CameraID, from start: WallTime, to end: WallTime?
    ) async throws(DatabaseError) {
        let until = end?.microseconds ?? .max
        let gaps = try await database.query(
            Statement(
                """
                SELECT start_time, end_time FROM gaps WHERE camera_id = ? AND reason = 'RESTART'
                    AND start_time < ? AND (end_time IS NULL OR end_time > ?)
                """, [.text(id.rawValue), .integer(until), .integer(start.microseconds)]))
        for gap in gaps {
            let from = try gap.integer("start_time")
            let to = try gap.optionalInteger("end_time")
            // A recorded stretch that touches the gap from before is no reason to write it anew.
            let spans = try await database.query(
                Statement(
                    """
                    SELECT start_time, end_time FROM video_segments WHERE camera_id = ?
                        AND start_time < ? AND start_time > ? AND end_time > ? ORDER BY start_time
                    """,
                    [
                        .text(id.rawValue), .integer(to ?? .max),
                        .integer(from &- Self.longestSegment), .integer(from),
                    ]))
            guard !spans.isEmpty else { continue }
            var statements = [
                Statement(
                    """
                    DELETE FROM gaps WHERE camera_id = ? AND start_time = ? AND reason = 'RESTART'
                    """, [.text(id.rawValue), .integer(from)])
            ]
            func keep(_ start: Int64, _ end: Int64?) {
                statements.append(
                    Statement(
                        """
                        INSERT INTO gaps (camera_id, start_time, end_time, reason)
                        VALUES (?, ?, ?, 'RESTART')
                        ON CONFLICT (camera_id, start_time, reason) DO NOTHING
                        """,
                        [.text(id.rawValue), .integer(start), end.map { .integer($0) } ?? .null]))
            }
            var position = from
            for span in spans {
                let spanStart = try span.integer("start_time")
                if spanStart > position { keep(position, spanStart) }
                position = max(position, try span.integer("end_time"))
            }
            if position < to ?? .max { keep(position, to) }
            try await database.transaction(statements)
        }
    }

    /// No segment lasts longer, in microseconds: an hour, and a keyframe that was late.
    private static var longestSegment: Int64 { 2 * 3_600_000_000 }

    // MARK: Repair

    /// The paths of a camera's files whose segments begin in a stretch of time.
    func paths(
        of id: CameraID, from start: WallTime, to end: WallTime
    ) async throws(DatabaseError) -> Set<String> {
        let rows = try await database.query(
            Statement(
                """
                SELECT storage_path FROM video_segments
                WHERE camera_id = ? AND start_time >= ? AND start_time < ?
                """,
                [.text(id.rawValue), .integer(start.microseconds), .integer(end.microseconds)]))
        var paths: Set<String> = []
        for row in rows { paths.insert(try row.text("storage_path")) }
        return paths
    }

    /// Where the file of a segment is, by the index.
    func path(ofSegment id: String) async throws(DatabaseError) -> String? {
        try await database.query(
            Statement("SELECT storage_path FROM video_segments WHERE id = ?", [.text(id)])
        ).first?.text("storage_path")
    }

    /// When the next segment of a run begins.
    func nextStart(
        inRun id: String, after number: Int
    ) async throws(DatabaseError) -> WallTime? {
        try await database.query(
            Statement(
                """
                SELECT start_time FROM video_segments WHERE session_id = ? AND sequence_number > ?
                ORDER BY sequence_number LIMIT 1
                """, [.text(id), .integer(Int64(number))])
        ).first.map { row throws(DatabaseError) in
            WallTime(microseconds: try row.integer("start_time"))
        }
    }

    /// When a segment of a run ends.
    func end(inRun id: String, number: Int) async throws(DatabaseError) -> WallTime? {
        try await database.query(
            Statement(
                """
                SELECT end_time FROM video_segments WHERE session_id = ? AND sequence_number = ?
                """, [.text(id), .integer(Int64(number))])
        ).first.map { row throws(DatabaseError) in
            WallTime(microseconds: try row.integer("end_time"))
        }
    }
}
