// The schema and the way to it.
// SPDX-License-Identifier: Apache-2.0
import Database
import Primitives
import Testing

@Suite(.everyDatabase) struct MigrationTests {
    private static let now = WallTime(microseconds: 1_700_000_000_000_000)

    private func open(_ folder: TemporaryFolder) async throws -> any DatabaseEngine {
        try await TestDatabase.current.open(in: folder.path)
    }

    private func migrated(_ folder: TemporaryFolder) async throws -> any DatabaseEngine {
        let engine = try await open(folder)
        try await Migrator(engine: engine).migrate(at: Self.now)
        return engine
    }

    /// The columns of a table, in order, by each engine's own catalogue.
    private func columns(of table: String, in engine: any DatabaseEngine) async throws -> String {
        let sql =
            switch engine.dialect {
            case .sqlite: "SELECT name FROM pragma_table_info(?)"
            case .postgresql:
                """
                SELECT column_name AS name FROM information_schema.columns
                WHERE table_schema = current_schema() AND table_name = ? ORDER BY ordinal_position
                """
            }
        let rows = try await engine.query(Statement(sql, [.text(table)]))
        return try rows.map { try $0.text("name") }.joined(separator: " ")
    }

    @Test("migrates an empty database once, and finds nothing to do afterwards")
    func once() async throws {
        let folder = try TemporaryFolder()
        let engine = try await open(folder)
        let migrator = Migrator(engine: engine)
        let missing = DatabaseError.schemaTooOld(found: 0, known: Schema.migrations.count)
        await #expect(throws: missing) { try await migrator.check() }
        let known = Schema.migrations.map(\.number)
        #expect(try await migrator.migrate(at: Self.now) == known)
        #expect(try await migrator.migrate(at: Self.now) == [])
        try await migrator.check()
        let row = try await engine.query(Statement("SELECT * FROM schema_migrations")).first
        #expect(try row?.integer("applied_at") == Self.now.microseconds)
    }

    @Test("creates the tables of the data model with its columns")
    func columns() async throws {
        let folder = try TemporaryFolder()
        let engine = try await migrated(folder)
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
            #expect(try await columns(of: table, in: engine) == names)
        }
    }

    @Test("makes the same tables with the same columns on every engine")
    func sameTables() async throws {
        let folder = try TemporaryFolder()
        var schemas: [[String: String]] = []
        for database in TestDatabase.installed {
            let engine = try await database.open(in: folder.path)
            try await Migrator(engine: engine).migrate(at: Self.now)
            let sql =
                switch engine.dialect {
                case .sqlite: "SELECT name FROM sqlite_master WHERE type = 'table'"
                case .postgresql:
                    "SELECT tablename AS name FROM pg_tables WHERE schemaname = current_schema()"
                }
            var tables: [String: String] = [:]
            for row in try await engine.query(Statement(sql)) {
                let name = try row.text("name")
                tables[name] = try await columns(of: name, in: engine)
            }
            schemas.append(tables)
            try await engine.close()
        }
        #expect(schemas.allSatisfy { $0 == schemas[0] && $0.count > 10 })
    }

    @Test("processes that migrate at the same moment apply each step once")
    func race() async throws {
        let folder = try TemporaryFolder()
        let engines = [
            try await open(folder), try await open(folder), try await open(folder),
        ]
        let applied = try await withThrowingTaskGroup(of: [Int].self) { group in
            for engine in engines {
                group.addTask { try await Migrator(engine: engine).migrate(at: Self.now) }
            }
            return try await group.reduce(into: []) { $0 += $1 }
        }
        #expect(applied.sorted() == Schema.migrations.map(\.number))
        for engine in engines { try await Migrator(engine: engine).check() }
    }

    @Test("deletes the segments of a deleted session, and refuses a segment without one")
    func cascade() async throws {
        let folder = try TemporaryFolder()
        let engine = try await migrated(folder)
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
            constraint(error)?.0 == .foreignKey
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
        let folder = try TemporaryFolder()
        let engine = try await migrated(folder)
        let question = """
            SELECT * FROM video_segments WHERE camera_id = 'c' AND start_time < 5
            ORDER BY start_time
            """
        // PostgreSQL would read the whole of an empty table: it is asked what it can do.
        let explain =
            engine.dialect == .sqlite
            ? [Statement("EXPLAIN QUERY PLAN " + question)]
            : [Statement("SET LOCAL enable_seqscan = off"), Statement("EXPLAIN " + question)]
        let plan = try await engine.transaction(explain).last?.rows ?? []
        let column = engine.dialect == .sqlite ? "detail" : "QUERY PLAN"
        let details = try plan.map { try $0.text(column) }.joined()
        #expect(details.contains("video_segments_camera"))
    }

    @Test("refuses words that the data model does not know")
    func checks() async throws {
        let folder = try TemporaryFolder()
        let engine = try await migrated(folder)
        await #expect {
            try await engine.execute(
                Statement("INSERT INTO gaps (camera_id, start_time, reason) VALUES ('c', 1, 'X')"))
        } throws: { error in
            constraint(error)?.0 == .check
        }
    }

    @Test("refuses a database newer than the program and leaves it as it is")
    func newer() async throws {
        let folder = try TemporaryFolder()
        let engine = try await migrated(folder)
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
        let folder = try TemporaryFolder()
        let engine = try await migrated(folder)
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
        let folder = try TemporaryFolder()
        let engine = try await open(folder)
        let first = Migration(number: 1, name: "first") { _ in
            ["CREATE TABLE things (id TEXT)", "INSERT INTO things VALUES ('a')"]
        }
        let second = Migration(number: 2, name: "second") { _ in
            ["ALTER TABLE things ADD COLUMN size BIGINT NOT NULL DEFAULT 7"]
        }
        try await Migrator(engine: engine, migrations: [first]).migrate(at: Self.now)
        _ = try await engine.query(Statement("SELECT id FROM things"))
        try await Migrator(engine: engine, migrations: [first, second]).migrate(at: Self.now)
        let row = try await engine.query(Statement("SELECT * FROM things")).first
        #expect(try row?.integer("size") == 7)
    }

    @Test("undoes a step that fails halfway")
    func halfway() async throws {
        let folder = try TemporaryFolder()
        let engine = try await open(folder)
        let broken = Migration(number: 1, name: "broken") { _ in
            ["CREATE TABLE half (id TEXT)", "CREATE TABEL typo"]
        }
        await #expect(throws: DatabaseError.self) {
            try await Migrator(engine: engine, migrations: [broken]).migrate(at: Self.now)
        }
        #expect(try await columns(of: "half", in: engine) == "")
        #expect(try await Migrator(engine: engine).migrate(at: Self.now).first == 1)
    }
}
