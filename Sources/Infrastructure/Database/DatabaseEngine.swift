// What a service may ask of a database, whichever engine stands behind it.
// SPDX-License-Identifier: Apache-2.0

/// The SQL an engine speaks where the common dialect does not reach: column types of the schema.
package enum SQLDialect: String, Hashable, Sendable {
    case sqlite
    case postgresql
}

/// A database: statements in, rows out. Engines serialise writes and never run one twice.
package protocol DatabaseEngine: Sendable {
    /// The dialect migrations are written for.
    var dialect: SQLDialect { get }

    /// Runs one reading statement on a consistent snapshot.
    func query(_ statement: Statement) async throws(DatabaseError) -> [Row]

    /// Runs all of the statements or none: durable on return, undone when one fails or misses its
    /// expectation. The outcomes stand in the order of the statements.
    @discardableResult
    func transaction(_ statements: [Statement]) async throws(DatabaseError) -> [StatementOutcome]

    /// Waits for what runs and releases the files or connections; later calls fail as unavailable.
    func close() async throws(DatabaseError)
}

extension DatabaseEngine {
    /// One writing statement in a transaction of its own; the number of changed rows.
    @discardableResult
    package func execute(_ statement: Statement) async throws(DatabaseError) -> Int {
        try await transaction([statement]).first?.changes ?? 0
    }
}

/// Why the database did not do it. Never carries a value that a statement was given.
package enum DatabaseError: Error, Hashable, Sendable {
    /// A rule of the schema refused the change; `detail` names the table and column.
    case constraint(Constraint, detail: String)
    /// The disk is full.
    case full
    /// Locked for too long, closed, unreadable or not reachable: worth trying again later.
    case unavailable(String)
    /// The file is damaged or is no database.
    case corrupt
    /// The statement with this index missed its expectation; nothing was changed.
    case expectationFailed(statement: Int)
    /// The result has no such column: a mistake of the program.
    case missingColumn(String)
    /// The column holds another type, or NULL where a value is required.
    case wrongType(column: String)
    /// The database was written by a newer program, which this one must not touch.
    case schemaTooNew(found: Int, known: Int)
    /// The database is older than the program and has not been migrated.
    case schemaTooOld(found: Int, known: Int)
    /// An applied migration has another name than the program's: the database is another program's.
    case schemaMismatch(migration: Int)
    /// Anything else, by the engine's own code.
    case other(code: Int, reason: String)

    /// The rule that refused a change.
    package enum Constraint: String, Hashable, Sendable {
        case unique
        case foreignKey
        case notNull
        case check
        case dataType
        case other
    }
}

extension DatabaseError: CustomStringConvertible {
    package var description: String {
        switch self {
        case .constraint(let constraint, let detail): "constraint \(constraint.rawValue): \(detail)"
        case .full: "the database's disk is full"
        case .unavailable(let reason): "the database is unavailable: \(reason)"
        case .corrupt: "the database is damaged"
        case .expectationFailed(let index): "statement \(index) missed its expectation"
        case .missingColumn(let column): "no column \(column) in the result"
        case .wrongType(let column): "column \(column) holds another type"
        case .schemaTooNew(let found, let known):
            "the database has schema \(found), this program knows \(known): use the newer program"
        case .schemaTooOld(let found, let known):
            "the database has schema \(found), this program needs \(known): run the migration"
        case .schemaMismatch(let migration):
            "migration \(migration) of the database is not this program's"
        case .other(let code, let reason): "database error \(code): \(reason)"
        }
    }
}
