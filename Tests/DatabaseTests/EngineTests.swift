// What every engine promises, asked of each of them.
// SPDX-License-Identifier: Apache-2.0

import Database
import Foundation
import Primitives
import Testing

/// A folder that is removed with this.
final class TemporaryFolder {
    let path: String

    init() throws {
        path =
            FileManager.default.temporaryDirectory
            .appendingPathComponent("marsad-db-\(UUID().uuidString)").path
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }
}

extension DatabaseEngine {
    /// A table with one column of each type.
    func makeTable() async throws {
        let (integer, real, blob, end) =
            switch dialect {
            case .sqlite: ("INTEGER", "REAL", "BLOB", ") STRICT")
            case .postgresql: ("BIGINT", "DOUBLE PRECISION", "BYTEA", ")")
            }
        try await execute(
            Statement(
                "CREATE TABLE t (id TEXT NOT NULL PRIMARY KEY, n \(integer) CHECK (n <> -13),"
                    + " r \(real), b \(blob)\(end)"))
        try await execute(
            Statement(
                "CREATE TABLE u (id TEXT NOT NULL PRIMARY KEY,"
                    + " t_id TEXT REFERENCES t (id) ON DELETE CASCADE\(end)"))
    }
}

/// Runs `body` on a fresh database of the current engine with that table.
func withTable(_ body: (any DatabaseEngine) async throws -> Void) async throws {
    let folder = try TemporaryFolder()
    let engine = try await TestDatabase.current.open(in: folder.path)
    try await engine.makeTable()
    try await body(engine)
    try await engine.close()
}

func constraint(_ error: any Error) -> (DatabaseError.Constraint, String)? {
    if case .constraint(let constraint, let detail) = error as? DatabaseError {
        (constraint, detail)
    } else {
        nil
    }
}

func isUnavailable(_ error: any Error) -> Bool {
    if case .unavailable = error as? DatabaseError { true } else { false }
}

@Suite(.everyDatabase) struct EngineTests {
    @Test(
        "PostgreSQL is among the engines",
        .enabled(if: PostgreSQLCluster.isInstalled, PostgreSQLCluster.missing))
    func installed() { #expect(TestDatabase.installed == [.sqlite, .postgresql]) }

    @Test("gives back every type as it was given")
    func values() async throws {
        try await withTable { engine in
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
            #expect(try rows[1].optionalReal("r") == nil)
            #expect(try rows[1].blob("b") == [])
            #expect(throws: DatabaseError.wrongType(column: "n")) { try rows[1].integer("n") }
            #expect(throws: DatabaseError.wrongType(column: "id")) { try rows[1].integer("id") }
            #expect(throws: DatabaseError.missingColumn("zz")) { try rows[1].text("zz") }
        }
    }

    @Test("keeps numbers to their ends, empty and odd texts, and blobs of megabytes")
    func extremes() async throws {
        try await withTable { engine in
            let blob = (0..<3_000_000).map { UInt8(truncatingIfNeeded: $0 &* 31) }
            // A key of PostgreSQL has 2,700 bytes at most.
            let text = String(repeating: "مرصد '\"?$1\\ \n", count: 100)
            let values: [[DatabaseValue]] = [
                ["", .integer(.min), .real(-.greatestFiniteMagnitude), .blob(blob)],
                [.text(text), .integer(-1), .real(.leastNonzeroMagnitude), nil],
            ]
            for row in values {
                try await engine.execute(Statement("INSERT INTO t VALUES (?, ?, ?, ?)", row))
            }
            let rows = try await engine.query(Statement("SELECT * FROM t ORDER BY n"))
            #expect(rows.map(\.values) == values)
        }
    }

    @Test("sums, counts and compares to the same kinds of values")
    func expressions() async throws {
        try await withTable { engine in
            for number in [1, -20_001, 9_000_000_000] as [Int64] {
                try await engine.execute(
                    Statement(
                        "INSERT INTO t (id, n, r) VALUES (?, ?, ?)",
                        [.text("\(number)"), .integer(number), .real(0.5)]))
            }
            let row = try await engine.query(
                Statement(
                    """
                    SELECT COUNT(*) AS c, SUM(n) AS s, MIN(n) AS m, MAX(id) AS i, SUM(r) AS r,
                        COALESCE(MAX(n), 0) + 1 AS p, 'a?' AS a, 7 AS seven,
                        EXISTS (SELECT 1 FROM t WHERE n = ?) AS e FROM t -- really?
                    """, [1])
            ).first
            #expect(try row?.integer("c") == 3)
            #expect(try row?.integer("s") == 8_999_980_000)
            #expect(try row?.integer("m") == -20_001)
            #expect(try row?.text("i") == "9000000000")
            #expect(try row?.real("r") == 1.5)
            #expect(try row?.integer("p") == 9_000_000_001)
            #expect(try row?.text("a") == "a?")
            #expect(try row?.integer("seven") == 7)
            #expect(try row?.bool("e") == true)
            let none = try await engine.query(Statement("SELECT SUM(n) AS s FROM t WHERE n = 5"))
            #expect(try none.first?.optionalInteger("s") == nil)
        }
    }

    @Test("orders texts by their bytes")
    func order() async throws {
        try await withTable { engine in
            for id in ["b", "a", "Z", "é", "م", "_", "1"] {
                try await engine.execute(Statement("INSERT INTO t (id) VALUES (?)", [.text(id)]))
            }
            let rows = try await engine.query(Statement("SELECT id FROM t ORDER BY id"))
            #expect(try rows.map { try $0.text("id") } == ["1", "Z", "_", "a", "b", "é", "م"])
        }
    }

    @Test("does all of a transaction or nothing")
    func atomicity() async throws {
        try await withTable { engine in
            await #expect {
                try await engine.transaction([
                    Statement("INSERT INTO t (id) VALUES (?)", ["a"]),
                    Statement("INSERT INTO t (id) VALUES (?)", ["a"]),
                ])
            } throws: { error in
                guard let (kind, detail) = constraint(error) else { return false }
                return kind == .unique && detail.contains("t")
            }
            #expect(try await engine.query(Statement("SELECT id FROM t")).isEmpty)
            await #expect(throws: DatabaseError.self) {
                try await engine.transaction([
                    Statement("INSERT INTO t (id) VALUES ('a')"),
                    Statement("INSERT INTO nowhere (id) VALUES ('a')"),
                    Statement("INSERT INTO t (id) VALUES ('b')"),
                ])
            }
            #expect(try await engine.query(Statement("SELECT id FROM t")).isEmpty)
            try await engine.execute(Statement("INSERT INTO t (id) VALUES ('c')"))
        }
    }

    @Test("undoes a transaction whose expectation is missed, and reports what others did")
    func expectations() async throws {
        try await withTable { engine in
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
            // The miss counts, not the error that comes of it.
            await #expect(throws: DatabaseError.expectationFailed(statement: 0)) {
                try await engine.transaction([
                    Statement("SELECT id FROM t WHERE id = 'lock'", expecting: .noRows),
                    Statement("INSERT INTO t (id) VALUES ('lock')"),
                ])
            }
            #expect(try await engine.query(Statement("SELECT id FROM t")).count == 1)
            await #expect(throws: DatabaseError.expectationFailed(statement: 0)) {
                try await engine.query(Statement("SELECT id FROM t", expecting: .noRows))
            }
        }
    }

    @Test("counts what a statement changed itself, and returns the rows of RETURNING")
    func changes() async throws {
        try await withTable { engine in
            let outcome = try await engine.transaction([
                Statement("INSERT INTO t (id, n) VALUES (?, ?) RETURNING n", ["a", 4]),
                Statement("INSERT INTO t (id, n) VALUES ('b', 5), ('c', 6)"),
                Statement("INSERT INTO u (id, t_id) VALUES ('x', 'a'), ('y', 'a')"),
                Statement("INSERT INTO t (id) VALUES ('a') ON CONFLICT (id) DO NOTHING"),
                Statement(
                    """
                    INSERT INTO t (id, n) VALUES ('a', 9)
                    ON CONFLICT (id) DO UPDATE SET n = excluded.n
                    """),
                Statement("UPDATE t SET n = n + 1"),
                Statement("SELECT id FROM t"),
                Statement("DELETE FROM t WHERE id IN (?, ?)", ["a", "b"]),
            ])
            #expect(try outcome.first?.rows.first?.integer("n") == 4)
            #expect(outcome.map(\.changes) == [1, 2, 2, 0, 1, 3, 0, 2])
            #expect(try await engine.query(Statement("SELECT id FROM u")).isEmpty)
        }
    }

    @Test("says which rule refused a change, and never the value")
    func constraints() async throws {
        try await withTable { engine in
            try await engine.execute(Statement("INSERT INTO t (id) VALUES ('planted')"))
            let cases: [(String, [DatabaseValue], DatabaseError.Constraint)] = [
                ("INSERT INTO t (id) VALUES (?)", ["planted"], .unique),
                ("INSERT INTO t (id, n) VALUES (?, -13)", ["planted"], .check),
                ("INSERT INTO t (id, n) VALUES (?, ?)", [nil, 4711], .notNull),
                ("INSERT INTO u (id, t_id) VALUES ('a', ?)", ["planted4711"], .foreignKey),
                ("INSERT INTO t (id, n) VALUES ('a', ?)", ["planted"], .dataType),
            ]
            for (sql, values, expected) in cases {
                await #expect {
                    try await engine.execute(Statement(sql, values))
                } throws: { error in
                    guard let (kind, detail) = constraint(error) else { return false }
                    return kind == expected && !detail.contains("planted")
                        && !detail.contains("4711")
                }
            }
            #expect(try await engine.query(Statement("SELECT id FROM t")).count == 1)
        }
    }

    @Test("refuses a write in a query, and statements that are none")
    func misuse() async throws {
        try await withTable { engine in
            for sql in ["INSERT INTO t (id) VALUES ('a')", "SELEKT 1", "SELECT nothing FROM t"] {
                await #expect(throws: DatabaseError.self) {
                    try await engine.query(Statement(sql))
                }
            }
            #expect(try await engine.query(Statement("SELECT id FROM t")).isEmpty)
            // A statement that failed may be right the next time.
            await #expect(throws: DatabaseError.self) {
                try await engine.query(Statement("SELECT id FROM later"))
            }
            try await engine.execute(Statement("CREATE TABLE later (id TEXT)"))
            #expect(try await engine.query(Statement("SELECT id FROM later")).isEmpty)
        }
    }

    @Test("refuses a statement with fewer values than it has places")
    func places() async throws {
        try await withTable { engine in
            let insert = "INSERT INTO t (id, n) VALUES (?, ?)"
            for values in [[.text("a")], []] as [[DatabaseValue]] {
                await #expect(throws: DatabaseError.self) {
                    try await engine.execute(Statement(insert, values))
                }
            }
            try await engine.execute(Statement(insert, [.text("a"), .integer(1)]))
            let found = Statement("SELECT n FROM t WHERE id = ?", [.text("a")])
            #expect(try await engine.query(found).first?.integer("n") == 1)
            await #expect(throws: DatabaseError.self) {
                try await engine.query(Statement(found.sql))
            }
        }
    }

    @Test("an error spoils nothing that is under way beside it")
    func neighbours() async throws {
        try await withTable { engine in
            try await withThrowingTaskGroup(of: Bool.self) { group in
                for number in 0..<60 {
                    group.addTask {
                        let column = number % 3 == 0 ? "nothing" : "'\(number)'"
                        let rows = try? await engine.query(Statement("SELECT \(column) AS n"))
                        return try rows?.first?.text("n") == (number % 3 == 0 ? nil : "\(number)")
                    }
                }
                for try await isRight in group { #expect(isRight) }
            }
        }
    }

    @Test("keeps every write of concurrent tasks, and reads them at once")
    func concurrency() async throws {
        try await withTable { engine in
            try await withThrowingTaskGroup(of: Void.self) { group in
                for index in 0..<40 {
                    group.addTask {
                        let id = DatabaseValue.text("\(index)")
                        try await engine.execute(Statement("INSERT INTO t (id) VALUES (?)", [id]))
                        let rows = try await engine.query(
                            Statement("SELECT id FROM t WHERE id = ?", [id]))
                        #expect(rows.count == 1)
                    }
                }
                try await group.waitForAll()
            }
            let rows = try await engine.query(Statement("SELECT count(*) AS c FROM t"))
            #expect(try rows.first?.integer("c") == 40)
        }
    }

    @Test("writers of two processes check and change without one getting in between")
    func serialWriters() async throws {
        let folder = try TemporaryFolder()
        let engines = [
            try await TestDatabase.current.open(in: folder.path),
            try await TestDatabase.current.open(in: folder.path),
        ]
        try await engines[0].makeTable()
        try await engines[0].execute(Statement("INSERT INTO t (id, n) VALUES ('sum', 0)"))
        try await withThrowingTaskGroup(of: Void.self) { group in
            for number in 0..<40 {
                group.addTask {
                    // Without order both may count before either has inserted.
                    try await engines[number % 2].transaction([
                        Statement(
                            "INSERT INTO t (id) SELECT 'row' || COUNT(*) FROM t",
                            expecting: .changes(1)),
                        Statement("UPDATE t SET n = (SELECT COUNT(*) FROM t) WHERE id = 'sum'"),
                    ])
                }
            }
            try await group.waitForAll()
        }
        let rows = try await engines[1].query(Statement("SELECT n FROM t WHERE id = 'sum'"))
        #expect(try rows.first?.integer("n") == 41)
        for engine in engines { try await engine.close() }
    }

    @Test("waits for what runs before it closes, and is unavailable afterwards")
    func closing() async throws {
        let folder = try TemporaryFolder()
        let engine = try await TestDatabase.current.open(in: folder.path)
        try await engine.makeTable()
        try await engine.close()
        await #expect {
            try await engine.query(Statement("SELECT 1"))
        } throws: { isUnavailable($0) }
        await #expect {
            try await engine.execute(Statement("DELETE FROM t"))
        } throws: { isUnavailable($0) }
        let again = try await TestDatabase.current.open(in: folder.path)
        #expect(try await again.query(Statement("SELECT id FROM t")).isEmpty)
        try await again.close()
    }
}
