// What is SQLite's alone: durability settings, and files that are damaged.
// SPDX-License-Identifier: Apache-2.0
import Database
import Foundation
import Primitives
import Testing

@Suite struct SQLiteEngineTests {
    private func table(in path: String) async throws -> SQLiteEngine {
        let engine = try SQLiteEngine(path: path)
        try await engine.makeTable()
        return engine
    }

    @Test("commits reach the disk: WAL with synchronous FULL, also after reopening")
    func durability() async throws {
        let folder = try TemporaryFolder()
        let path = folder.path + "/marsad.sqlite"
        for _ in 0..<2 {
            let engine = try SQLiteEngine(path: path)
            #expect(try await engine.writerPragma("synchronous") == 2)
            #expect(try await engine.writerPragma("journal_mode") == "wal")
            #expect(try await engine.writerPragma("foreign_keys") == 1)
            #expect(try await engine.writerPragma("busy_timeout") == 5000)
            try await engine.close()
        }
    }

    @Test("says that a file is damaged, and that a folder is missing")
    func mapping() async throws {
        let folder = try TemporaryFolder()
        let path = folder.path + "/marsad.sqlite"
        try Data(repeating: 0x41, count: 8192).write(to: URL(fileURLWithPath: path))
        #expect(throws: DatabaseError.corrupt) { try SQLiteEngine(path: path) }
        #expect {
            try SQLiteEngine(path: folder.path + "/missing/x.sqlite")
        } throws: { error in
            guard case .unavailable = error as? DatabaseError else { return false }
            return true
        }
    }

    @Test("opens whatever a truncated or mutated file holds, or says what is wrong, without ending")
    func damagedFiles() async throws {
        let folder = try TemporaryFolder()
        let path = folder.path + "/marsad.sqlite"
        let engine = try await table(in: path)
        try await engine.execute(Statement("INSERT INTO t (id) VALUES ('a')"))
        try await engine.close()
        let whole = [UInt8](try Data(contentsOf: URL(fileURLWithPath: path)))
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
            let damaged = try TemporaryFolder()
            let copy = damaged.path + "/marsad.sqlite"
            try Data(bytes).write(to: URL(fileURLWithPath: copy))
            do throws(DatabaseError) {
                let reopened = try SQLiteEngine(path: copy)
                _ = try await reopened.query(Statement("SELECT * FROM t"))
                try await reopened.close()
            } catch {
                refused += 1
            }
        }
        #expect(refused > 0)
    }
}
