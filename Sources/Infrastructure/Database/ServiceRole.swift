// What the service may do in its own database where roles exist: on PostgreSQL.
// SPDX-License-Identifier: Apache-2.0

/// The rights of the role that the service connects with. The tables belong to another one, which
/// migrates: so what is only ever added to cannot be changed, whatever becomes of the service.
package enum ServiceRole {
    /// Tables that get new rows and nothing else.
    package static let appendOnlyTables: Set<String> = ["audit_log"]
    private static let readOnlyTables: Set<String> = ["schema_migrations"]

    /// Whether a name is one that needs no quoting.
    package static func isName(_ name: String) -> Bool {
        guard let first = name.utf8.first, (1...63).contains(name.utf8.count) else { return false }
        let isLetter = { (byte: UInt8) in (97...122).contains(byte) || byte == UInt8(ascii: "_") }
        return isLetter(first) && name.utf8.allSatisfy { isLetter($0) || (48...57).contains($0) }
    }

    /// Gives the role its rights on every table of the schema, and takes all others. Run by the owner
    /// after each migration.
    package static func grant(
        to role: String, in engine: any DatabaseEngine
    ) async throws(DatabaseError) {
        precondition(isName(role), "checked where it entered")
        let tables = try await engine.query(
            Statement(
                """
                SELECT tablename AS name, schemaname AS schema FROM pg_tables
                WHERE schemaname = current_schema()
                """))
        var statements: [Statement] = []
        for row in tables {
            let name = try row.text("name")
            let schema = quoted(try row.text("schema"))
            let table = "\(schema).\(quoted(name))"
            let rights =
                appendOnlyTables.contains(name)
                ? "SELECT, INSERT"
                : readOnlyTables.contains(name) ? "SELECT" : "SELECT, INSERT, UPDATE, DELETE"
            statements += [
                Statement("GRANT USAGE ON SCHEMA \(schema) TO \(role)"),
                Statement("REVOKE ALL ON \(table) FROM \(role)"),
                Statement("GRANT \(rights) ON \(table) TO \(role)"),
            ]
        }
        try await engine.transaction(statements)
    }

    /// The append-only tables that this connection could change all the same: none, where it is not
    /// their owner. On SQLite there are no roles, and the answer is empty.
    package static func changeableTables(
        in engine: any DatabaseEngine
    ) async throws(DatabaseError) -> [String] {
        guard engine.dialect == .postgresql else { return [] }
        var tables: [String] = []
        for table in appendOnlyTables.sorted() {
            let row = try await engine.query(
                Statement(
                    "SELECT has_table_privilege(?, 'UPDATE, DELETE, TRUNCATE') AS may",
                    [.text(table)])
            ).first
            if try row?.bool("may") ?? false { tables.append(table) }
        }
        return tables
    }

    private static func quoted(_ name: String) -> String {
        "\""
            + name.split(separator: "\"", omittingEmptySubsequences: false)
            .joined(separator: "\"\"") + "\""
    }
}
