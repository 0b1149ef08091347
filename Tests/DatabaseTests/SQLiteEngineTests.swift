// The embedded engine: durability settings, atomicity, errors.
// SPDX-License-Identifier: Apache-2.0
import Database
import Foundation
import Primitives
import Testing

/// A database file that is removed with its folder.
final class TemporaryDatabase {
    let folder: URL
    var path: String { folder.appendingPathComponent("marsad.sqlite").path }

    init() throws {
        folder = FileManager.default.temporaryDirectory
            .appendingPathComponent("marsad-db-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    }

    deinit { try? FileManager.default.removeItem(at: folder) }
}

@Suite struct SQLiteEngineTests {
    private func table(in file: TemporaryDatabase) async throws -> SQLiteEngine {
        let engine = try SQLiteEngine(path: file.path)
        try await engine.execute(
            Statement(
                "CREATE TABLE t (id TEXT NOT NULL PRIMARY KEY, n INTEGER, r REAL, b BLOB) STRICT"))
        return engine
    }

    @Test("commits reach the disk: WAL with synchronous FULL, also after reopening")
    func durability() async throws {
        let file = try TemporaryDatabase()
        for _ in 0..<2 {
            let engine = try SQLiteEngine(path: file.path)
            #expect(try await engine.writerPragma("synchronous") == 2)
            #expect(try await engine.writerPragma("journal_mode") == "wal")
            #expect(try await engine.writerPragma("foreign_keys") == 1)
            #expect(try await engine.writerPragma("busy_timeout") == 5000)
            try await engine.close()
        }
    }

    @Test("gives back every type as it was given")
    func values() async throws {
        let file = try TemporaryDatabase()
        let engine = try await table(in: file)
        try await engine.execute(
            Statement(
                "INSERT INTO t VALUES (?, ?, ?, ?)",
                ["كاميرا'; DROP TABLE t", .integer(.max), .real(0.25), .blob([0, 255])]))
        try await engine.execute(
            Statement("INSERT INTO t VALUES (?, ?, ?, ?)", ["x", nil, nil, .blob([])]))
        let rows = try await engine.query(Statement("SELECT * FROM t ORDER BY id DESC"))
        #expect(rows.count == 2)
        #expect(try rows[0].text("id") == "كاميرا'; DROP TABLE t")
        #expect(try rows[0].integer("n") == .max)
        #expect(try rows[0].real("r") == 0.25)
        #expect(try rows[0].blob("b") == [0, 255])
        #expect(try rows[1].optionalInteger("n") == nil)
        #expect(try rows[1].blob("b") == [])
        #expect(throws: DatabaseError.wrongType(column: "n")) { try rows[1].integer("n") }
        #expect(throws: DatabaseError.wrongType(column: "id")) { try rows[1].integer("id") }
        #expect(throws: DatabaseError.missingColumn("zz")) { try rows[1].text("zz") }
    }

    @Test("does all of a transaction or nothing")
    func atomicity() async throws {
        let file = try TemporaryDatabase()
        let engine = try await table(in: file)
        await #expect {
            try await engine.transaction([
                Statement("INSERT INTO t (id) VALUES (?)", ["a"]),
                Statement("INSERT INTO t (id) VALUES (?)", ["a"]),
            ])
        } throws: { error in
            guard case .constraint(.unique, let detail) = error as? DatabaseError
            else { return false }
            return detail.contains("t.id")
        }
        #expect(try await engine.query(Statement("SELECT id FROM t")).isEmpty)
    }

    @Test("undoes a transaction whose expectation is missed, and reports what others did")
    func expectations() async throws {
        let file = try TemporaryDatabase()
        let engine = try await table(in: file)
        let outcomes = try await engine.transaction([
            Statement("SELECT 1 AS one FROM t WHERE id = ?", ["lock"], expecting: .noRows),
            Statement("INSERT INTO t (id) VALUES (?)", ["lock"], expecting: .changes(1)),
            Statement("SELECT id FROM t", expecting: .someRows),
        ])
        #expect(outcomes.map(\.changes) == [0, 1, 0])
        #expect(try outcomes[2].rows.first?.text("id") == "lock")
        await #expect(throws: DatabaseError.expectationFailed(statement: 1)) {
            try await engine.transaction([
                Statement("DELETE FROM t"),
                Statement("SELECT id FROM t", expecting: .someRows),
            ])
        }
        #expect(try await engine.query(Statement("SELECT id FROM t")).count == 1)
    }

    @Test("returns the rows of a RETURNING clause and the number of changes")
    func returning() async throws {
        let file = try TemporaryDatabase()
        let engine = try await table(in: file)
        let outcome = try await engine.transaction([
            Statement("INSERT INTO t (id, n) VALUES (?, ?) RETURNING n", ["a", 4])
        ])
        #expect(try outcome.first?.rows.first?.integer("n") == 4)
        #expect(outcome.first?.changes == 1)
    }

    @Test("refuses a write in a query and a wrong type in a column")
    func misuse() async throws {
        let file = try TemporaryDatabase()
        let engine = try await table(in: file)
        await #expect(throws: DatabaseError.self) {
            try await engine.query(Statement("INSERT INTO t (id) VALUES ('a')"))
        }
        await #expect {
            try await engine.execute(
                Statement("INSERT INTO t (id, n) VALUES (?, ?)", ["a", "planted"]))
        } throws: { error in
            guard case .constraint(.dataType, let detail) = error as? DatabaseError
            else { return false }
            return !detail.contains("planted")
        }
    }

    @Test("says that a file is damaged, a folder is missing, and a closed engine is unavailable")
    func mapping() async throws {
        let file = try TemporaryDatabase()
        try Data(repeating: 0x41, count: 8192).write(to: URL(fileURLWithPath: file.path))
        #expect(throws: DatabaseError.corrupt) { try SQLiteEngine(path: file.path) }
        #expect {
            try SQLiteEngine(path: file.folder.path + "/missing/x.sqlite")
        } throws: { error in
            guard case .unavailable = error as? DatabaseError else { return false }
            return true
        }
        let other = try TemporaryDatabase()
        let engine = try await table(in: other)
        try await engine.close()
        await #expect {
            try await engine.query(Statement("SELECT 1"))
        } throws: { error in
            guard case .unavailable = error as? DatabaseError else { return false }
            return true
        }
    }

    @Test("opens whatever a truncated or mutated file holds, or says what is wrong, without ending")
    func damagedFiles() async throws {
        let file = try TemporaryDatabase()
        let engine = try await table(in: file)
        try await engine.execute(Statement("INSERT INTO t (id) VALUES ('a')"))
        try await engine.close()
        let whole = [UInt8](try Data(contentsOf: URL(fileURLWithPath: file.path)))
        var random = SeededRandom(seed: 11)
        var refused = 0
        for round in 0..<40 {
            var bytes = whole
            if round % 2 == 0 {
                bytes = Array(bytes.prefix(Int.random(in: 0..<bytes.count, using: &random)))
            } else {
                for _ in 0..<20 {
                    bytes[Int.random(in: 0..<bytes.count, using: &random)] = UInt8.random(
                        in: 0...255, using: &random)
                }
            }
            let damaged = try TemporaryDatabase()
            try Data(bytes).write(to: URL(fileURLWithPath: damaged.path))
            do throws(DatabaseError) {
                let reopened = try SQLiteEngine(path: damaged.path)
                _ = try await reopened.query(Statement("SELECT * FROM t"))
                try await reopened.close()
            } catch {
                refused += 1
            }
        }
        #expect(refused > 0)
    }

    @Test("keeps every write of concurrent tasks")
    func concurrency() async throws {
        let file = try TemporaryDatabase()
        let engine = try await table(in: file)
        try await withThrowingTaskGroup(of: Void.self) { group in
            for index in 0..<40 {
                group.addTask {
                    try await engine.execute(
                        Statement("INSERT INTO t (id) VALUES (?)", [.text(String(index))]))
                    _ = try await engine.query(Statement("SELECT count(*) AS c FROM t"))
                }
            }
            try await group.waitForAll()
        }
        let rows = try await engine.query(Statement("SELECT count(*) AS c FROM t"))
        #expect(try rows.first?.integer("c") == 40)
    }
}
