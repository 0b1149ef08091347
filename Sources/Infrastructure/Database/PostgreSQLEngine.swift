// The engine for many machines: PostgreSQL by libpq, one connection that writes and some that read.
// SPDX-License-Identifier: Apache-2.0
import Synchronization

/// PostgreSQL behind `DatabaseEngine`. Transactions run one after the other, whichever process they
/// come from, as they do in SQLite: each holds the schema's advisory lock until it ends. So what a
/// statement checked is still true when the next one changes it.
package final class PostgreSQLEngine: DatabaseEngine {
    private let writer: PostgreSQLWriter
    private let readers: [PostgreSQLConnection]
    /// Queries under way, by reader.
    private let load: Mutex<[Int]>

    package var dialect: SQLDialect { .postgresql }

    /// Connects when it is first asked something.
    package init(_ address: PostgreSQLAddress, timeouts: PostgreSQLTimeouts = PostgreSQLTimeouts())
    {
        writer = PostgreSQLWriter(PostgreSQLConnection(address, timeouts, isReadOnly: false))
        readers = (0..<Limits.readers).map { _ in
            PostgreSQLConnection(address, timeouts, isReadOnly: true)
        }
        load = Mutex([Int](repeating: 0, count: Limits.readers))
    }

    package func query(_ statement: Statement) async throws(DatabaseError) -> [Row] {
        let reader = load.withLock { load in
            let least = load.indices.min { load[$0] < load[$1] } ?? 0
            load[least] += 1
            return least
        }
        defer { load.withLock { $0[reader] -= 1 } }
        do throws(PostgreSQLFailure) {
            let outcome = try await readers[reader].round([.statement(statement)]).first
            guard outcome?.meets(statement.expectation) ?? false else {
                throw PostgreSQLFailure(error: .expectationFailed(statement: 0))
            }
            return outcome?.rows ?? []
        } catch {
            throw error.error
        }
    }

    @discardableResult
    package func transaction(
        _ statements: [Statement]
    ) async throws(DatabaseError) -> [StatementOutcome] {
        let outcomes = try await writer.transaction(statements)
        if statements.contains(where: { $0.sql.hasPrefix("ALTER ") }) {
            for reader in readers { await reader.forgetPrepared() }
        }
        return outcomes
    }

    package func close() async throws(DatabaseError) {
        await writer.close()
        for reader in readers { await reader.close() }
    }
}
