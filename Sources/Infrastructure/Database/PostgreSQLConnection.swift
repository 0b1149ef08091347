// A connection to PostgreSQL that makes itself anew: rounds of statements in, their outcomes out.
// SPDX-License-Identifier: Apache-2.0
import CPQ

/// One connection, made when it is first needed and again after it broke. Statements of different
/// callers are under way together; nothing that was sent is ever sent again.
actor PostgreSQLConnection {
    /// What is sent in a round.
    enum Command {
        case statement(Statement)
        /// Text of ours without values, whose answer says nothing.
        case control(String)
    }

    /// Not libpq's message: it may repeat a statement's report, with values in it.
    private static let lost = "the connection was lost"

    private enum State {
        case disconnected(backoff: Duration?, until: ContinuousClock.Instant)
        case connected(PostgreSQLLink)
        case closed
    }

    nonisolated private let executor: QueueExecutor
    nonisolated var unownedExecutor: UnownedSerialExecutor {
        executor.asUnownedSerialExecutor()
    }

    private let address: PostgreSQLAddress
    private let timeouts: PostgreSQLTimeouts
    private let isReadOnly: Bool
    private var state = State.disconnected(backoff: nil, until: .now)
    private var pipeline = PostgreSQLPipeline()
    private var prepared: [PostgreSQLStatementKey: String] = [:]
    private var preparedCount = 0
    private var forgetsPrepared = false
    private var isClosing = false
    private var onIdle: [CheckedContinuation<Void, Never>] = []

    init(_ address: PostgreSQLAddress, _ timeouts: PostgreSQLTimeouts, isReadOnly: Bool) {
        self.address = address
        self.timeouts = timeouts
        self.isReadOnly = isReadOnly
        executor = QueueExecutor(label: isReadOnly ? "postgresql.reads" : "postgresql.writes")
    }

    /// Sends the commands together and answers with the outcomes of all, or the first error: what comes
    /// after it in the round is not run.
    /// - Parameter isFirst: the round does not continue an open transaction.
    func round(
        _ commands: [Command], isFirst: Bool = true
    ) async throws(PostgreSQLFailure) -> [StatementOutcome] {
        let link: PostgreSQLLink
        do throws(DatabaseError) {
            guard pipeline.count < Limits.waiting else { throw .unavailable("too many wait") }
            link = try isFirst ? connected() : stillConnected()
        } catch {
            throw PostgreSQLFailure(error: error)
        }
        let answer = await withCheckedContinuation { completion in
            pipeline.begin(completion)
            if !(send(commands, isFirst: isFirst, over: link) && link.flush()) {
                lose(link, Self.lost)
            }
        }
        return try answer.get()
    }

    /// The statements that were prepared answer with the columns that were there then.
    func forgetPrepared() { forgetsPrepared = true }

    /// Ends the connection without waiting; what is under way fails, the next round makes a new one.
    func disconnect() {
        guard case .connected(let link) = state else { return }
        lose(link, "the connection was given up")
    }

    /// Waits for what is under way, then refuses everything.
    func close() async {
        isClosing = true
        if !pipeline.isEmpty { await withCheckedContinuation { onIdle.append($0) } }
        state = .closed
    }

    // MARK: Connecting

    private func connected() throws(DatabaseError) -> PostgreSQLLink {
        guard !isClosing else { throw .unavailable("the database is closed") }
        switch state {
        case .connected(let link): return link
        case .closed: throw .unavailable("the database is closed")
        case .disconnected(let backoff, let until):
            guard until <= .now else { throw .unavailable("not connected") }
            let options = address.options(timeouts)
            do throws(DatabaseError) {
                let link = try PostgreSQLLink(
                    options, isReadOnly: isReadOnly, on: executor.queue
                ) { [weak self] event in
                    self?.assumeIsolated { $0.receive(event) }
                }
                state = .connected(link)
                return link
            } catch {
                let pause = backoff ?? Limits.firstBackoff
                // Jittered: many processes lose the same server at the same moment.
                state = .disconnected(
                    backoff: min(pause * 2, Limits.longestBackoff),
                    until: .now + pause * Double.random(in: 0.5...1))
                throw error
            }
        }
    }

    /// A transaction goes on where it began, or not at all.
    private func stillConnected() throws(DatabaseError) -> PostgreSQLLink {
        guard case .connected(let link) = state else {
            throw .unavailable(Self.lost)
        }
        return link
    }

    private func lose(_ link: PostgreSQLLink, _ reason: String) {
        guard case .connected(let current) = state, current === link else { return }
        state = .disconnected(backoff: nil, until: .now)
        prepared = [:]
        forgetsPrepared = false
        for (completion, answer) in pipeline.abandon(reason) {
            completion.resume(returning: answer)
        }
        tellIdle()
    }

    // MARK: Sending

    private func send(_ commands: [Command], isFirst: Bool, over link: PostgreSQLLink) -> Bool {
        let connection = link.connection
        if isFirst, forgetsPrepared || prepared.count >= Limits.preparedStatements {
            prepared = [:]
            forgetsPrepared = false
            pipeline.owe(.preparation(nil))
            guard Self.send("DEALLOCATE ALL", to: connection) else { return false }
        }
        for command in commands {
            switch command {
            case .control(let sql):
                pipeline.owe(.statement)
                guard Self.send(sql, to: connection) else { return false }
            case .statement(let statement):
                guard send(statement, to: connection) else { return false }
            }
        }
        pipeline.owe(.synchronization)
        return PQpipelineSync(connection) == 1
    }

    private func send(_ statement: Statement, to connection: OpaquePointer) -> Bool {
        let arguments = PostgreSQLArguments(statement.values)
        guard Self.isWorthPreparing(statement.sql) else {
            pipeline.owe(.statement)
            return Self.send(Statement.numbered(statement.sql), arguments, to: connection)
        }
        let key = PostgreSQLStatementKey(sql: statement.sql, types: arguments.types)
        let name: String
        if let known = prepared[key] {
            name = known
        } else {
            // Never a name twice: one that failed may exist all the same.
            preparedCount += 1
            name = "s\(preparedCount)"
            prepared[key] = name
            pipeline.owe(.preparation(key))
            let isSent = PQsendPrepare(
                connection, name, Statement.numbered(statement.sql),
                Int32(clamping: arguments.types.count), arguments.types)
            guard isSent == 1 else { return false }
        }
        pipeline.owe(.statement)
        return arguments.withPointers { count, values, lengths, formats in
            PQsendQueryPrepared(connection, name, count, values, lengths, formats, 1) == 1
        }
    }

    private static func send(
        _ sql: String, _ arguments: PostgreSQLArguments = PostgreSQLArguments([]),
        to connection: OpaquePointer
    ) -> Bool {
        arguments.withPointers { count, values, lengths, formats in
            PQsendQueryParams(
                connection, sql, count, arguments.types, values, lengths, formats, 1) == 1
        }
    }

    /// Changes of the schema run once.
    private static func isWorthPreparing(_ sql: String) -> Bool {
        ["SELECT", "INSERT", "UPDATE", "DELETE", "WITH"].contains(where: sql.hasPrefix)
    }

    // MARK: Receiving

    /// Reads until there is nothing more: of a peer that hangs up, the queue tells once at most, so
    /// each tick looks as well.
    private func receive(_ event: PostgreSQLLink.Event) {
        guard case .connected(let link) = state else { return }
        if case .tick = event, pipeline.age() >= timeouts.answerSeconds {
            return lose(link, "the server does not answer")
        }
        if case .writable = event, !link.flush() { return lose(link, Self.lost) }
        while link.isReadable {
            let isAlive = PQconsumeInput(link.connection) == 1 && link.flush()
            readResults(link)
            guard isAlive, PQstatus(link.connection) == CONNECTION_OK
            else { return lose(link, Self.lost) }
        }
        tellIdle()
    }

    private func readResults(_ link: PostgreSQLLink) {
        while let owed = pipeline.next, PQisBusy(link.connection) == 0 {
            guard let result = PQgetResult(link.connection) else {
                guard PQstatus(link.connection) == CONNECTION_OK else { return }
                if case .synchronization = owed {
                    return lose(link, "the server's answers are out of step")
                }
                pipeline.endCommand()
                continue
            }
            defer { PQclear(result) }
            switch PQresultStatus(result) {
            case PGRES_PIPELINE_SYNC:
                if let (completion, answer) = pipeline.endRound() {
                    completion.resume(returning: answer)
                }
            case PGRES_TUPLES_OK, PGRES_COMMAND_OK: succeed(result)
            case PGRES_PIPELINE_ABORTED: forget(pipeline.skip())
            default:
                guard PQstatus(link.connection) == CONNECTION_OK else { return }
                let report = PostgreSQLReport(result)
                if report.state == "0A000" { forgetsPrepared = true }
                forget(pipeline.fail(report.error))
            }
        }
    }

    private func succeed(_ result: OpaquePointer) {
        do throws(DatabaseError) {
            pipeline.succeed(try StatementOutcome(result))
        } catch {
            forget(pipeline.fail(error))
        }
    }

    private func forget(_ key: PostgreSQLStatementKey?) {
        if let key { prepared[key] = nil }
    }

    private func tellIdle() {
        guard pipeline.isEmpty else { return }
        for continuation in onIdle { continuation.resume() }
        onIdle = []
    }
}

extension StatementOutcome {
    /// What a result of libpq holds.
    fileprivate init(_ result: OpaquePointer) throws(DatabaseError) {
        let fields = PQnfields(result)
        let columns = Row.Columns(
            (0..<fields).map { PQfname(result, $0).map { String(cString: $0) } ?? "" })
        let types = (0..<fields).map { PQftype(result, $0) }
        var rows: [Row] = []
        for row in 0..<PQntuples(result) {
            var values: [DatabaseValue] = []
            values.reserveCapacity(types.count)
            for field in 0..<fields {
                guard PQgetisnull(result, row, field) == 0 else {
                    values.append(.null)
                    continue
                }
                let bytes = UnsafeRawBufferPointer(
                    start: PQgetvalue(result, row, field),
                    count: Int(PQgetlength(result, row, field)))
                guard let value = DatabaseValue(bytes, of: types[Int(field)])
                else { throw .wrongType(column: columns.names[Int(field)]) }
                values.append(value)
            }
            rows.append(Row(columns: columns, values: values))
        }
        // "INSERT 0 3", "UPDATE 3"; a SELECT counts what it found, which is no change.
        let tag = PQcmdStatus(result).map { String(cString: $0) } ?? ""
        let isChange = ["INSERT", "UPDATE", "DELETE"].contains(where: tag.hasPrefix)
        let count = PQcmdTuples(result).flatMap { Int(String(cString: $0)) } ?? 0
        self.init(rows: rows, changes: isChange ? count : 0)
    }
}
