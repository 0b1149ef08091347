// Forward-only numbered schema changes, the same numbers on every engine.
// SPDX-License-Identifier: Apache-2.0
package import Primitives

/// One step of the schema. Once released it is never edited: a correction is a new step.
package struct Migration: Sendable {
    package let number: Int
    package let name: String
    /// The statements of the step in an engine's dialect.
    package let sql: @Sendable (SQLDialect) -> [String]

    package init(number: Int, name: String, sql: @escaping @Sendable (SQLDialect) -> [String]) {
        self.number = number
        self.name = name
        self.sql = sql
    }
}

/// Brings a database to the schema of this program, or says why it cannot.
package struct Migrator: Sendable {
    private let engine: any DatabaseEngine
    private let migrations: [Migration]

    /// `migrations` are numbered 1, 2, 3… without a hole.
    package init(engine: any DatabaseEngine, migrations: [Migration] = Schema.migrations) {
        precondition(
            migrations.map(\.number) == migrations.indices.map { $0 + 1 },
            "migrations are numbered from 1 without a hole")
        self.engine = engine
        self.migrations = migrations
    }

    /// Applies what is missing, each step in one transaction with its own record; the numbers that
    /// this call applied. A step that another process applied meanwhile fails on the record's key,
    /// changes nothing, and counts as applied.
    @discardableResult
    package func migrate(at now: WallTime) async throws(DatabaseError) -> [Int] {
        // The service's own role may not create tables, not even those that are there.
        if try await verifiedCount() == migrations.count { return [] }
        let integer = engine.dialect == .sqlite ? "INTEGER" : "BIGINT"
        try await engine.execute(
            Statement(
                """
                CREATE TABLE IF NOT EXISTS schema_migrations (
                    number \(integer) PRIMARY KEY, name TEXT NOT NULL, applied_at \(integer) NOT NULL)
                """))
        var numbers: [Int] = []
        while let migration = migrations.dropFirst(try await verifiedCount()).first {
            let record = Statement(
                "INSERT INTO schema_migrations (number, name, applied_at) VALUES (?, ?, ?)",
                [
                    .integer(Int64(migration.number)), .text(migration.name),
                    .integer(now.microseconds),
                ])
            let steps = migration.sql(engine.dialect).map { Statement($0) }
            do throws(DatabaseError) {
                try await engine.transaction([record] + steps)
                numbers.append(migration.number)
            } catch {
                guard case .constraint(.unique, _) = error,
                    try await verifiedCount() >= migration.number
                else { throw error }
            }
        }
        return numbers
    }

    /// Throws unless the database has exactly this program's schema; changes nothing.
    package func check() async throws(DatabaseError) {
        let applied = try await verifiedCount()
        guard applied == migrations.count
        else { throw .schemaTooOld(found: applied, known: migrations.count) }
    }

    /// How many steps are applied; throws when they are not a beginning of this program's list.
    private func verifiedCount() async throws(DatabaseError) -> Int {
        let find =
            switch engine.dialect {
            case .sqlite: "SELECT 1 AS one FROM sqlite_master WHERE name = 'schema_migrations'"
            case .postgresql:
                "SELECT 1 AS one WHERE to_regclass('schema_migrations') IS NOT NULL"
            }
        guard try await !engine.query(Statement(find)).isEmpty else { return 0 }
        let rows = try await engine.query(
            Statement("SELECT number, name FROM schema_migrations ORDER BY number"))
        for (index, row) in rows.enumerated() {
            let number = Int(try row.integer("number"))
            guard index < migrations.count
            else { throw .schemaTooNew(found: rows.count, known: migrations.count) }
            let known = migrations[index]
            guard known.number == number, try row.text("name") == known.name
            else { throw .schemaMismatch(migration: number) }
        }
        return rows.count
    }
}
