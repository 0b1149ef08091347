// Values, statements and rows: the whole language between a service and its database.
// SPDX-License-Identifier: Apache-2.0

/// One SQL value. Times are `integer` microseconds since 1970, identifiers lower-case UUID `text`.
package enum DatabaseValue: Hashable, Sendable {
    case null
    case integer(Int64)
    case real(Double)
    case text(String)
    case blob([UInt8])
}

extension DatabaseValue {
    /// `integer`, or `null` for `nil`.
    package init(_ value: Int64?) { self = value.map(DatabaseValue.integer) ?? .null }

    /// `integer`, or `null` for `nil`.
    package init(_ value: Int?) { self = value.map { .integer(Int64($0)) } ?? .null }

    /// `real`, or `null` for `nil`.
    package init(_ value: Double?) { self = value.map(DatabaseValue.real) ?? .null }

    /// `text`, or `null` for `nil`.
    package init(_ value: String?) { self = value.map(DatabaseValue.text) ?? .null }

    /// `blob`, or `null` for `nil`.
    package init(_ value: [UInt8]?) { self = value.map(DatabaseValue.blob) ?? .null }

    /// 1 or 0: the schema keeps truth as numbers, which both engines store and compare alike.
    package init(_ value: Bool) { self = .integer(value ? 1 : 0) }
}

extension DatabaseValue: ExpressibleByIntegerLiteral, ExpressibleByStringLiteral,
    ExpressibleByNilLiteral
{
    package init(integerLiteral value: Int64) { self = .integer(value) }
    package init(stringLiteral value: String) { self = .text(value) }
    package init(nilLiteral: ()) { self = .null }
}

/// One SQL statement with `?` placeholders, in the dialect common to SQLite and PostgreSQL.
/// Values only ever travel in `values`, never in the text.
package struct Statement: Hashable, Sendable {
    package var sql: String
    package var values: [DatabaseValue]
    package var expectation: Expectation

    /// What must be true of a statement's outcome; otherwise its whole transaction is undone.
    /// A check (`SELECT … .noRows`) and the change that depends on it are then one atomic step.
    package enum Expectation: Hashable, Sendable {
        case anything
        case noRows
        case someRows
        case changes(Int)
    }

    package init(
        _ sql: String, _ values: [DatabaseValue] = [],
        expecting expectation: Expectation = .anything
    ) {
        self.sql = sql
        self.values = values
        self.expectation = expectation
    }
}

/// What one statement of a transaction did.
package struct StatementOutcome: Sendable {
    /// The rows of a SELECT or a RETURNING clause.
    package var rows: [Row]
    /// How many rows it inserted, updated or deleted itself; what cascades took along is not counted.
    package var changes: Int

    package init(rows: [Row], changes: Int) {
        self.rows = rows
        self.changes = changes
    }

    /// Whether the statement did what it was expected to.
    func meets(_ expectation: Statement.Expectation) -> Bool {
        switch expectation {
        case .anything: true
        case .noRows: rows.isEmpty
        case .someRows: !rows.isEmpty
        case .changes(let expected): changes == expected
        }
    }
}

/// One row of a result; columns are found by name.
package struct Row: Equatable, Sendable {
    /// The names of a result's columns, shared by all of its rows.
    package struct Columns: Equatable, Sendable {
        package let names: [String]
        private let positions: [String: Int]

        package init(_ names: [String]) {
            self.names = names
            positions = Dictionary(
                names.enumerated().map { ($1, $0) }, uniquingKeysWith: { first, _ in first })
        }

        fileprivate func position(of name: String) -> Int? { positions[name] }
    }

    package let columns: Columns
    package let values: [DatabaseValue]

    package init(columns: Columns, values: [DatabaseValue]) {
        self.columns = columns
        self.values = values
    }

    /// The value of a column; throws when the result has no such column.
    package subscript(_ column: String) -> DatabaseValue {
        get throws(DatabaseError) {
            guard let position = columns.position(of: column), position < values.count
            else { throw .missingColumn(column) }
            return values[position]
        }
    }

    /// A whole number; throws on NULL and on any other type.
    package func integer(_ column: String) throws(DatabaseError) -> Int64 {
        try required(optionalInteger(column), column)
    }

    /// A whole number or NULL.
    package func optionalInteger(_ column: String) throws(DatabaseError) -> Int64? {
        switch try self[column] {
        case .null: return nil
        case .integer(let value): return value
        default: throw .wrongType(column: column)
        }
    }

    /// Truth as the schema keeps it: 0 is false, any other whole number true.
    package func bool(_ column: String) throws(DatabaseError) -> Bool { try integer(column) != 0 }

    /// A number; whole numbers are widened. Throws on NULL and on any other type.
    package func real(_ column: String) throws(DatabaseError) -> Double {
        try required(optionalReal(column), column)
    }

    /// A number or NULL.
    package func optionalReal(_ column: String) throws(DatabaseError) -> Double? {
        switch try self[column] {
        case .null: return nil
        case .integer(let value): return Double(value)
        case .real(let value): return value
        default: throw .wrongType(column: column)
        }
    }

    /// A text; throws on NULL and on any other type.
    package func text(_ column: String) throws(DatabaseError) -> String {
        try required(optionalText(column), column)
    }

    /// A text or NULL.
    package func optionalText(_ column: String) throws(DatabaseError) -> String? {
        switch try self[column] {
        case .null: return nil
        case .text(let value): return value
        default: throw .wrongType(column: column)
        }
    }

    /// Bytes; throws on NULL and on any other type.
    package func blob(_ column: String) throws(DatabaseError) -> [UInt8] {
        try required(optionalBlob(column), column)
    }

    /// Bytes or NULL.
    package func optionalBlob(_ column: String) throws(DatabaseError) -> [UInt8]? {
        switch try self[column] {
        case .null: return nil
        case .blob(let value): return value
        default: throw .wrongType(column: column)
        }
    }

    private func required<T>(_ value: T?, _ column: String) throws(DatabaseError) -> T {
        guard let value else { throw .wrongType(column: column) }
        return value
    }
}
