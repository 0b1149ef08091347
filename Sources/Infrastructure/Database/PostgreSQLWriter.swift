// Transactions on one connection: each whole or not at all, and never twice.
// SPDX-License-Identifier: Apache-2.0

/// The writing connection's owner: one transaction at a time, in the order in which they came.
actor PostgreSQLWriter {
    /// Held by each transaction until its end, for the schema in which its tables are made: another one is
    /// another installation. The seed is "marsad" in ASCII.
    private static let lock = PostgreSQLConnection.Command.control(
        """
        SELECT pg_advisory_xact_lock(
            hashtextextended(coalesce(current_schema(), ''), \(0x6d61_7273_6164)))
        """)

    private let connection: PostgreSQLConnection
    private var isTaken = false
    private var isClosed = false
    private var waiting: [CheckedContinuation<Void, Never>] = []

    init(_ connection: PostgreSQLConnection) { self.connection = connection }

    /// Runs all of the statements or none. Without an expectation everything goes in one round; with
    /// one the commit waits until all outcomes are known.
    func transaction(
        _ statements: [Statement]
    ) async throws(DatabaseError) -> [StatementOutcome] {
        try await takeTurn()
        defer { endTurn() }
        let isUnconditional = statements.allSatisfy { $0.expectation == .anything }
        let commands =
            [.control("BEGIN"), Self.lock] + statements.map { .statement($0) }
            + (isUnconditional ? [.control("COMMIT")] : [])
        do throws(PostgreSQLFailure) {
            let outcomes = try await connection.round(commands).dropFirst(2)
            guard !isUnconditional else { return Array(outcomes.prefix(statements.count)) }
            if let missed = Self.missed(Array(outcomes), statements) {
                await rollBack()
                throw PostgreSQLFailure(error: .expectationFailed(statement: missed))
            }
            try await commit()
            return Array(outcomes)
        } catch {
            throw await undone(error, statements, hasCommit: isUnconditional)
        }
    }

    /// Waits for the transactions that began; later ones fail.
    func close() async {
        isClosed = true
        if isTaken { await withCheckedContinuation { waiting.append($0) } }
        isTaken = true
        await connection.close()
        endTurn()
    }

    // MARK: The end of a transaction

    private func commit() async throws(PostgreSQLFailure) {
        do throws(PostgreSQLFailure) {
            _ = try await connection.round([.control("COMMIT")], isFirst: false)
        } catch {
            guard error.isLost || error.isUnavailable else { throw error }
            throw PostgreSQLFailure(error: Self.unknown)
        }
    }

    /// What the caller is told of a failed round, with the transaction ended.
    private func undone(
        _ failure: PostgreSQLFailure, _ statements: [Statement], hasCommit: Bool
    ) async -> DatabaseError {
        let outcomes = Array(failure.outcomes.dropFirst(2))
        let reachedCommit = hasCommit && outcomes.count == statements.count
        if failure.isLost { return hasCommit ? Self.unknown : failure.error }
        guard !failure.outcomes.isEmpty else { return failure.error }
        await rollBack()
        if reachedCommit, failure.isUnavailable { return Self.unknown }
        // The statements were sent together: one that failed may have done so because of a miss before.
        if let missed = Self.missed(outcomes, statements) {
            return .expectationFailed(statement: missed)
        }
        return failure.error
    }

    private func rollBack() async {
        do throws(PostgreSQLFailure) {
            _ = try await connection.round([.control("ROLLBACK")], isFirst: false)
        } catch {
            // The server rolls back what a broken connection leaves.
            await connection.disconnect()
        }
    }

    private static func missed(
        _ outcomes: [StatementOutcome], _ statements: [Statement]
    ) -> Int? {
        zip(outcomes, statements).enumerated().first { !$1.0.meets($1.1.expectation) }?.offset
    }

    private static let unknown = DatabaseError.unavailable(
        "the connection was lost while it committed: outcome unknown")

    // MARK: Turns

    private func takeTurn() async throws(DatabaseError) {
        guard !isClosed else { throw .unavailable("the database is closed") }
        guard waiting.count < Limits.waiting else { throw .unavailable("too many wait") }
        if isTaken {
            await withCheckedContinuation { waiting.append($0) }
            // Closed meanwhile: who waits next is told so as well.
            guard !isClosed else {
                endTurn()
                throw .unavailable("the database is closed")
            }
        } else {
            isTaken = true
        }
    }

    /// Hands the turn to who waits longest.
    private func endTurn() {
        guard !waiting.isEmpty else { return isTaken = false }
        waiting.removeFirst().resume()
    }
}

extension PostgreSQLFailure {
    fileprivate var isUnavailable: Bool {
        if case .unavailable = error { true } else { false }
    }
}
