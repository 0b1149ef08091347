// The schema and the way to it.
// SPDX-License-Identifier: Apache-2.0
import Database
import Primitives
import Testing

@Suite struct MigrationTests {
    private static let now = WallTime(microseconds: 1_700_000_000_000_000)

    private func migrated(_ file: TemporaryDatabase) async throws -> SQLiteEngine {
        let engine = try SQLiteEngine(path: file.path)
        try await Migrator(engine: engine).migrate(at: Self.now)
        return engine
    }

    @Test("migrates an empty database once, and finds nothing to do afterwards")
    func once() async throws {
        let file = try TemporaryDatabase()
        let engine = try SQLiteEngine(path: file.path)
        let migrator = Migrator(engine: engine)
        let known = Schema.migrations.map(\.number)
        #expect(try await migrator.migrate(at: Self.now) == known)
        #expect(try await migrator.migrate(at: Self.now) == [])
        try await migrator.check()
        let row = try await engine.query(Statement("SELECT * FROM schema_migrations")).first
        #expect(try row?.integer("applied_at") == Self.now.microseconds)
    }

    @Test("creates the tables of the data model with its columns")
    func columns() async throws {
        let file = try TemporaryDatabase()
        let engine = try await migrated(file)
        let expected = [
            "cameras": """
            id name name_ar source folder_id origin rtsp_url milestone_id recording_server \
            supports_ptz recording_mode retention_days metadata created_at updated_at deleted_at \
            publish_token_sha256 sub_rtsp_url has_audio external_id
            """,
            "layouts": "layout_id name owner is_global grid_type created_at updated_at",
            "layout_cameras": "layout_id cell camera_id",
            "camera_folders": "source folder_id name name_ar created_at updated_at",
            "video_sessions": """
            id camera_id camera_name camera_name_ar source start_time end_time status \
            storage_mode total_size_bytes segment_count
            """,
            "video_segments": """
            id session_id camera_id source sequence_number start_time end_time duration_ms \
            size_bytes storage_path storage_backend copies codec resolution bitrate_kbps \
            has_motion objects_detected sha256 fragment_index merkle_root previous_hash \
            signature clock damaged created_at
            """,
            "gaps": "camera_id start_time end_time reason details",
            "settings": "name version document updated_at updated_by",
        ]
        for (table, names) in expected {
            let rows = try await engine.query(
                Statement("SELECT name FROM pragma_table_info(?)", [.text(table)]))
            #expect(try rows.map { try $0.text("name") }.joined(separator: " ") == names)
        }
    }

    @Test("deletes the segments of a deleted session, and refuses a segment without one")
    func cascade() async throws {
        let file = try TemporaryDatabase()
        let engine = try await migrated(file)
        let segment = Statement(
            """
            INSERT INTO video_segments (id, session_id, camera_id, source, sequence_number,
                start_time, end_time, duration_ms, size_bytes, storage_path, storage_backend, codec,
                created_at)
            VALUES ('g', 's', 'c', 'X', 1, 0, 1, 0, 10, 'p', 'LOCAL', 'avc1.4D401F', 0)
            """)
        await #expect {
            try await engine.execute(segment)
        } throws: { error in
            guard case .constraint(.foreignKey, _) = error as? DatabaseError else { return false }
            return true
        }
        try await engine.transaction([
            Statement(
                """
                INSERT INTO video_sessions (id, camera_id, camera_name, source, start_time, status)
                VALUES ('s', 'c', 'Gate', 'X', 0, 'RECORDING')
                """), segment,
        ])
        try await engine.execute(Statement("DELETE FROM video_sessions WHERE id = ?", ["s"]))
        #expect(try await engine.query(Statement("SELECT id FROM video_segments")).isEmpty)
    }

    @Test("finds a camera's segments by index, not by reading the table")
    func indexes() async throws {
        let file = try TemporaryDatabase()
        let engine = try await migrated(file)
        let plan = try await engine.query(
            Statement(
                """
                EXPLAIN QUERY PLAN SELECT * FROM video_segments
                WHERE camera_id = ? AND start_time < ? ORDER BY start_time
                """, ["c", 5]))
        let details = try plan.map { try $0.text("detail") }.joined()
        #expect(details.contains("USING INDEX video_segments_camera"))
    }

    @Test("refuses words that the data model does not know")
    func checks() async throws {
        let file = try TemporaryDatabase()
        let engine = try await migrated(file)
        await #expect {
            try await engine.execute(
                Statement("INSERT INTO gaps (camera_id, start_time, reason) VALUES ('c', 1, 'X')"))
        } throws: { error in
            guard case .constraint(.check, _) = error as? DatabaseError else { return false }
            return true
        }
    }

    @Test("refuses a database newer than the program and leaves it as it is")
    func newer() async throws {
        let file = try TemporaryDatabase()
        let engine = try await migrated(file)
        let known = Schema.migrations.count
        try await engine.execute(
            Statement(
                "INSERT INTO schema_migrations VALUES (?, 'later', 0)", [.integer(Int64(known + 1))]
            ))
        let expected = DatabaseError.schemaTooNew(found: known + 1, known: known)
        await #expect(throws: expected) { try await Migrator(engine: engine).check() }
        await #expect(throws: expected) {
            try await Migrator(engine: engine).migrate(at: Self.now)
        }
    }

    @Test("tells an older database and another program's database apart")
    func olderAndForeign() async throws {
        let file = try TemporaryDatabase()
        let engine = try await migrated(file)
        let extra = Migration(number: Schema.migrations.count + 1, name: "next") { _ in
            ["CREATE TABLE next (id TEXT)"]
        }
        let known = Schema.migrations.count
        await #expect(throws: DatabaseError.schemaTooOld(found: known, known: known + 1)) {
            try await Migrator(engine: engine, migrations: Schema.migrations + [extra]).check()
        }
        try await engine.execute(Statement("UPDATE schema_migrations SET name = 'other'"))
        await #expect(throws: DatabaseError.schemaMismatch(migration: 1)) {
            try await Migrator(engine: engine).check()
        }
    }

    @Test("readers that knew the schema before a migration see its columns after it")
    func readers() async throws {
        let file = try TemporaryDatabase()
        let engine = try SQLiteEngine(path: file.path)
        let first = Migration(number: 1, name: "first") { _ in
            ["CREATE TABLE things (id TEXT)", "INSERT INTO things VALUES ('a')"]
        }
        let second = Migration(number: 2, name: "second") { _ in
            ["ALTER TABLE things ADD COLUMN size INTEGER NOT NULL DEFAULT 7"]
        }
        try await Migrator(engine: engine, migrations: [first]).migrate(at: Self.now)
        _ = try await engine.query(Statement("SELECT id FROM things"))
        try await Migrator(engine: engine, migrations: [first, second]).migrate(at: Self.now)
        let row = try await engine.query(Statement("SELECT * FROM things")).first
        #expect(try row?.integer("size") == 7)
    }

    @Test("undoes a step that fails halfway")
    func halfway() async throws {
        let file = try TemporaryDatabase()
        let engine = try SQLiteEngine(path: file.path)
        let broken = Migration(number: 1, name: "broken") { _ in
            ["CREATE TABLE half (id TEXT)", "CREATE TABEL typo"]
        }
        await #expect(throws: DatabaseError.self) {
            try await Migrator(engine: engine, migrations: [broken]).migrate(at: Self.now)
        }
        let tables = try await engine.query(
            Statement("SELECT name FROM sqlite_master WHERE name = 'half'"))
        #expect(tables.isEmpty)
        #expect(try await Migrator(engine: engine).migrate(at: Self.now).first == 1)
    }

    @Test("writes the same steps for PostgreSQL, without SQLite's words")
    func postgresql() {
        for migration in Schema.migrations {
            let sqlite = migration.sql(.sqlite)
            let postgresql = migration.sql(.postgresql)
            #expect(sqlite.count == postgresql.count)
            for statement in postgresql {
                #expect(!statement.contains("STRICT") && !statement.contains("BLOB"))
            }
        }
    }
}
