// The schema: every table, in the order in which it came.
// SPDX-License-Identifier: Apache-2.0

/// The program's migrations. Times are microseconds since 1970 in UTC, identifiers lower-case UUIDs,
/// truth 0 or 1, hashes lower-case hexadecimal, documents JSON text.
package enum Schema {
    /// Every step, in order.
    package static let migrations = [
        Migration(number: 1, name: "recording", sql: recording),
        Migration(number: 2, name: "publishing") { _ in
            ["ALTER TABLE cameras ADD COLUMN publish_token_sha256 TEXT"]
        },
        Migration(number: 3, name: "sub-streams") { _ in
            ["ALTER TABLE cameras ADD COLUMN sub_rtsp_url TEXT"]
        },
        Migration(number: 4, name: "audio") { dialect in
            let integer = Types(dialect).integer
            return ["ALTER TABLE cameras ADD COLUMN has_audio \(integer) NOT NULL DEFAULT 0"]
        },
        Migration(number: 5, name: "identity", sql: identity),
        Migration(number: 6, name: "audit", sql: audit),
        Migration(number: 7, name: "camera folders", sql: cameraFolders),
        Migration(number: 8, name: "layouts", sql: layouts),
    ]

    /// Names of column types that the engines do not share.
    struct Types {
        let integer: String
        let real: String
        let blob: String
        /// SQLite checks types only in STRICT tables.
        let end: String

        init(_ dialect: SQLDialect) {
            switch dialect {
            case .sqlite: (integer, real, blob, end) = ("INTEGER", "REAL", "BLOB", ") STRICT")
            case .postgresql:
                (integer, real, blob, end) = ("BIGINT", "DOUBLE PRECISION", "BYTEA", ")")
            }
        }
    }

    @Sendable private static func recording(_ dialect: SQLDialect) -> [String] {
        let types = Types(dialect)
        return [cameras(types)] + videoSessions(types) + videoSegments(types)
            + gaps(types) + [settings(types)]
    }

    private static func cameras(_ types: Types) -> String {
        """
        CREATE TABLE cameras (
            id TEXT NOT NULL PRIMARY KEY,
            name TEXT NOT NULL,
            name_ar TEXT,
            source TEXT NOT NULL,
            folder_id TEXT,
            origin TEXT NOT NULL,
            rtsp_url TEXT,
            milestone_id TEXT,
            recording_server TEXT,
            supports_ptz \(types.integer) NOT NULL DEFAULT 0,
            recording_mode TEXT NOT NULL DEFAULT 'CONTINUOUS'
                CHECK (recording_mode IN ('CONTINUOUS', 'MOTION', 'OFF')),
            retention_days \(types.integer),
            metadata TEXT NOT NULL DEFAULT '{}',
            created_at \(types.integer) NOT NULL,
            updated_at \(types.integer) NOT NULL,
            deleted_at \(types.integer)
        \(types.end)
        """
    }

    /// Sessions and segments name their camera without a reference: an index rebuilt from the files
    /// must take recordings of cameras that were deleted since.
    private static func videoSessions(_ types: Types) -> [String] {
        [
            """
            CREATE TABLE video_sessions (
                id TEXT NOT NULL PRIMARY KEY,
                camera_id TEXT NOT NULL,
                camera_name TEXT NOT NULL,
                camera_name_ar TEXT,
                source TEXT NOT NULL,
                start_time \(types.integer) NOT NULL,
                end_time \(types.integer),
                status TEXT NOT NULL CHECK (status IN ('RECORDING', 'STOPPED', 'ERROR')),
                storage_mode TEXT NOT NULL DEFAULT 'LOCAL'
                    CHECK (storage_mode IN ('LOCAL', 'MILESTONE', 'BOTH')),
                total_size_bytes \(types.integer) NOT NULL DEFAULT 0,
                segment_count \(types.integer) NOT NULL DEFAULT 0
            \(types.end)
            """,
            "CREATE INDEX video_sessions_camera ON video_sessions (camera_id, start_time)",
            "CREATE INDEX video_sessions_source ON video_sessions (source, start_time)",
        ]
    }

    private static func videoSegments(_ types: Types) -> [String] {
        [
            """
            CREATE TABLE video_segments (
                id TEXT NOT NULL PRIMARY KEY,
                session_id TEXT NOT NULL REFERENCES video_sessions (id) ON DELETE CASCADE,
                camera_id TEXT NOT NULL,
                source TEXT NOT NULL,
                sequence_number \(types.integer) NOT NULL,
                start_time \(types.integer) NOT NULL,
                end_time \(types.integer) NOT NULL,
                duration_ms \(types.integer) NOT NULL,
                size_bytes \(types.integer) NOT NULL,
                storage_path TEXT NOT NULL,
                storage_backend TEXT NOT NULL,
                copies TEXT NOT NULL DEFAULT '{}',
                codec TEXT NOT NULL,
                resolution TEXT,
                bitrate_kbps \(types.integer),
                has_motion \(types.integer) NOT NULL DEFAULT 0,
                objects_detected TEXT NOT NULL DEFAULT '[]',
                sha256 TEXT,
                fragment_index \(types.blob),
                merkle_root TEXT,
                previous_hash TEXT,
                signature TEXT,
                clock TEXT NOT NULL DEFAULT 'server',
                damaged \(types.integer) NOT NULL DEFAULT 0,
                created_at \(types.integer) NOT NULL,
                UNIQUE (session_id, sequence_number)
            \(types.end)
            """,
            "CREATE INDEX video_segments_camera ON video_segments (camera_id, start_time)",
            "CREATE INDEX video_segments_time ON video_segments (start_time, end_time)",
            "CREATE INDEX video_segments_source ON video_segments (source, start_time)",
        ]
    }

    /// The key makes writing a known gap again harmless; `end_time` is NULL while the gap lasts.
    private static func gaps(_ types: Types) -> [String] {
        [
            """
            CREATE TABLE gaps (
                camera_id TEXT NOT NULL,
                start_time \(types.integer) NOT NULL,
                end_time \(types.integer),
                reason TEXT NOT NULL CHECK (reason IN ('SOURCE_LOST', 'DISK_FULL', 'STORAGE_SLOW',
                    'OPERATOR', 'RESTART', 'CLOCK', 'DAMAGED', 'QUOTA')),
                details TEXT,
                PRIMARY KEY (camera_id, start_time, reason)
            \(types.end)
            """,
            "CREATE INDEX gaps_time ON gaps (start_time, end_time)",
        ]
    }

    /// Every version of a document is kept; the highest is in force, and two writers of the same
    /// next version cannot both succeed.
    private static func settings(_ types: Types) -> String {
        """
        CREATE TABLE settings (
            name TEXT NOT NULL,
            version \(types.integer) NOT NULL,
            document TEXT NOT NULL,
            updated_at \(types.integer) NOT NULL,
            updated_by TEXT,
            PRIMARY KEY (name, version)
        \(types.end)
        """
    }
}
