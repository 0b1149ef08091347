// The embedded engine: one SQLite file in WAL mode, every commit on the disk before it returns.
// SPDX-License-Identifier: Apache-2.0
import Foundation
import GRDB

/// SQLite behind `DatabaseEngine`: one writer, several readers on snapshots.
package struct SQLiteEngine: DatabaseEngine {
    private let pool: DatabasePool

    package var dialect: SQLDialect { .sqlite }

    /// Opens or creates the file. `busyTimeoutSeconds` bounds the wait for another process's lock.
    package init(path: String, busyTimeoutSeconds: Double = 5) throws(DatabaseError) {
        do {
            var configuration = Configuration()
            configuration.foreignKeysEnabled = true
            configuration.busyMode = .timeout(busyTimeoutSeconds)
            configuration.maximumReaderCount = 4
            configuration.label = "marsad.sqlite"
            configuration.prepareDatabase { database in
                try database.execute(sql: "PRAGMA synchronous = FULL")
                // Half a megabyte of pages for each connection instead of two: rows are written at the
                // end and read where they were just written, and the system keeps the file as well.
                try database.execute(sql: "PRAGMA cache_size = -512")
            }
            pool = try DatabasePool(path: path, configuration: configuration)
            // GRDB sets NORMAL when it turns WAL on, after `prepareDatabase`: with NORMAL a power
            // cut takes back commits that were already answered.
            try pool.writeWithoutTransaction { database in
                try database.execute(sql: "PRAGMA synchronous = FULL")
            }
        } catch {
            throw Self.mapped(error)
        }
    }

    package func query(_ statement: Statement) async throws(DatabaseError) -> [Row] {
        do {
            return try await pool.read { database in
                try Self.run(statement, index: 0, in: database).rows
            }
        } catch {
            throw Self.mapped(error)
        }
    }

    @discardableResult
    package func transaction(
        _ statements: [Statement]
    ) async throws(DatabaseError) -> [StatementOutcome] {
        do {
            let outcomes = try await pool.write { database in
                try statements.enumerated().map { index, statement in
                    try Self.run(statement, index: index, in: database)
                }
            }
            // Readers name the columns of `*` by the schema that they have read; new ones read it anew.
            if statements.contains(where: { $0.sql.hasPrefix("ALTER ") }) {
                pool.invalidateReadOnlyConnections()
            }
            return outcomes
        } catch {
            throw Self.mapped(error)
        }
    }

    package func close() async throws(DatabaseError) {
        do { try pool.close() } catch { throw Self.mapped(error) }
    }

    /// What the writing connection answers to a PRAGMA: for tests and the health report.
    package func writerPragma(_ name: String) async throws(DatabaseError) -> DatabaseValue {
        do {
            return try await pool.writeWithoutTransaction { database in
                guard let value = try GRDB.Row.fetchOne(database, sql: "PRAGMA \(name)")
                else { return .null }
                return Self.value(value[0] as GRDB.DatabaseValue)
            }
        } catch {
            throw Self.mapped(error)
        }
    }

    private static func run(
        _ statement: Statement, index: Int, in database: GRDB.Database
    ) throws -> StatementOutcome {
        let prepared = try database.cachedStatement(sql: statement.sql)
        let changesBefore = database.totalChangesCount
        let columns = Row.Columns(prepared.columnNames)
        try bind(statement.values, to: prepared)
        var rows: [Row] = []
        if columns.names.isEmpty {
            try prepared.execute()
        } else {
            let cursor = try GRDB.Row.fetchCursor(prepared)
            while let row = try cursor.next() {
                rows.append(Row(columns: columns, values: row.databaseValues.map(value)))
            }
        }
        // What went along by a cascade is in the total only; a statement that changes nothing leaves
        // the count of the one before.
        let isChange = database.totalChangesCount != changesBefore
        let outcome = StatementOutcome(rows: rows, changes: isChange ? database.changesCount : 0)
        guard outcome.meets(statement.expectation)
        else { throw DatabaseError.expectationFailed(statement: index) }
        return outcome
    }

    /// Straight into SQLite's statement: a list of arguments costs GRDB as much as the insert of a row. They
    /// stay bound until the statement is used again.
    private static func bind(_ values: [DatabaseValue], to prepared: GRDB.Statement) throws {
        prepared.setUncheckedArguments([])
        var place: CInt = 1
        for value in values {
            let code = bind(value, to: prepared.sqliteStatement, at: place)
            guard code == ResultCode.SQLITE_OK.rawValue else {
                throw GRDB.DatabaseError(resultCode: ResultCode(rawValue: code))
            }
            place += 1
        }
        // There is no place behind the last: where a null can be put, a value was forgotten.
        guard GRDB.DatabaseValue.null.bind(to: prepared.sqliteStatement, at: place) != 0 else {
            throw GRDB.DatabaseError(resultCode: .SQLITE_RANGE, message: "too few values")
        }
    }

    private static func bind(
        _ value: DatabaseValue, to statement: SQLiteStatement, at place: CInt
    ) -> CInt {
        switch value {
        case .null: GRDB.DatabaseValue.null.bind(to: statement, at: place)
        case .integer(let number): number.bind(to: statement, at: place)
        case .real(let number): number.bind(to: statement, at: place)
        case .text(let text): text.bind(to: statement, at: place)
        case .blob(let bytes): Data(bytes).bind(to: statement, at: place)
        }
    }

    private static func value(_ value: GRDB.DatabaseValue) -> DatabaseValue {
        switch value.storage {
        case .null: .null
        case .int64(let number): .integer(number)
        case .double(let number): .real(number)
        case .string(let text): .text(text)
        case .blob(let data): .blob([UInt8](data))
        }
    }

    /// One table from SQLite's codes (sqlite.org/rescode.html) to the few that a caller acts on.
    private static func mapped(_ error: any Error) -> DatabaseError {
        if let error = error as? DatabaseError { return error }
        if error is CancellationError { return .unavailable("cancelled") }
        guard let error = error as? GRDB.DatabaseError else {
            return .other(code: -1, reason: String(describing: type(of: error)))
        }
        let code = Int(error.extendedResultCode.rawValue)
        // SQLite's message names tables, columns and tokens; bound values are never part of it.
        let reason = error.message ?? "SQLite code \(code)"
        switch error.resultCode {
        case .SQLITE_CONSTRAINT:
            return .constraint(constraint(error.extendedResultCode), detail: reason)
        case .SQLITE_FULL: return .full
        case .SQLITE_CORRUPT, .SQLITE_NOTADB: return .corrupt
        case .SQLITE_BUSY, .SQLITE_LOCKED, .SQLITE_CANTOPEN, .SQLITE_IOERR, .SQLITE_PERM,
            .SQLITE_INTERRUPT, .SQLITE_ABORT, .SQLITE_PROTOCOL:
            return .unavailable(reason)
        // A closed connection's, whose own message is made up.
        case .SQLITE_MISUSE: return .unavailable("the database is closed")
        default: return .other(code: code, reason: reason)
        }
    }

    private static func constraint(_ code: ResultCode) -> DatabaseError.Constraint {
        switch code {
        case .SQLITE_CONSTRAINT_UNIQUE, .SQLITE_CONSTRAINT_PRIMARYKEY: .unique
        case .SQLITE_CONSTRAINT_FOREIGNKEY: .foreignKey
        case .SQLITE_CONSTRAINT_NOTNULL: .notNull
        case .SQLITE_CONSTRAINT_CHECK: .check
        case .SQLITE_CONSTRAINT_DATATYPE: .dataType
        default: .other
        }
    }
}
