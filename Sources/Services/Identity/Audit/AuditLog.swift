// The audit log's one writer: events in order, many a commit, each row chained to the one before.
// SPDX-License-Identifier: Apache-2.0

package import Database
package import Domain
package import NIOPosix
package import Observability
import Primitives
import Synchronization

/// Appends to the audit log. A change and its event are one transaction: neither is there without the
/// other. It has no switch.
package final class AuditLog: Sendable {
    private struct Request {
        var event: AuditEvent
        var time: WallTime
        /// What is done with the event, or not at all.
        var statements: [Statement] = []
        var completion: CheckedContinuation<Result<Void, DatabaseError>, Never>?
    }

    private struct State {
        var queue: [Request] = []
        var isWriting = false
        /// Somebody comes back in a moment for what was only noted.
        var isGathering = false
        /// The last write failed: what is only noted waits for the next `advance`.
        var isFailing = false
        var waiting: [CheckedContinuation<Void, Never>] = []

        /// Whether what is queued may wait for more.
        var hasTime: Bool {
            waiting.isEmpty && queue.count < Limits.auditBatch
                && queue.allSatisfy { $0.completion == nil }
        }

        mutating func endWriting() {
            isWriting = false
            for continuation in waiting { continuation.resume() }
            waiting = []
        }
        /// The newest row, as far as this process knows.
        var tail: Tail?
        var lost = 0
        var headID: Int64 = 0
        var headAt: Instant
    }

    private struct Tail: Sendable {
        var id: Int64
        var hash: String
    }

    private let database: any DatabaseEngine
    private let heads: AuditHeadFile
    private let world: World
    private let pool: NIOThreadPool
    private let written: MetricHandles<AuditEvent.Kind, Counter>
    private let depth: Gauge
    private let failures: Counter
    private let state: Mutex<State>

    /// - Parameter pool: for the file of heads, whose writes wait for the disk.
    package init(
        database: any DatabaseEngine, heads: AuditHeadFile, world: World, pool: NIOThreadPool,
        registry: MetricsRegistry
    ) {
        self.database = database
        self.heads = heads
        self.world = world
        self.pool = pool
        written = MetricHandles { kind in
            registry.counter(
                "cctv_audit_events_total", help: "Rows written to the audit log.",
                labels: ["event_type": kind.rawValue])
        }
        depth = registry.gauge(
            "cctv_audit_queue_depth", help: "Audit events that are not written yet.")
        failures = registry.counter(
            "cctv_audit_write_failures_total", help: "Failed writes of the audit log.")
        state = Mutex(State(headAt: world.now()))
    }

    /// The seam that other services get.
    package var auditing: Auditing {
        Auditing(
            record: { event throws(MarsadError) in try await self.record(event) },
            note: { event throws(MarsadError) in try self.note(event) })
    }

    /// Returns when the event is on the disk, or throws STORAGE_UNAVAILABLE.
    package func record(_ event: AuditEvent) async throws(MarsadError) {
        do {
            try await commit(event)
        } catch {
            throw MarsadError(.storageUnavailable)
        }
    }

    /// Queues the event. The start of something is refused before its end, so that what has begun
    /// can be told to the end.
    package func note(_ event: AuditEvent) throws(MarsadError) {
        let room = event.kind == .viewStopped ? Limits.auditQueue : Limits.auditQueueForStarts
        let isTaken = state.withLock { state in
            guard state.queue.count < room else {
                state.lost += 1
                return false
            }
            state.queue.append(Request(event: event, time: world.wallTime()))
            return true
        }
        guard isTaken else { throw MarsadError(.storageUnavailable) }
        if !state.withLock({ $0.isFailing }) { gather() }
    }

    /// Commits the statements with the event. A missed expectation carries the index of its statement.
    package func commit(
        _ event: AuditEvent, with statements: [Statement] = []
    ) async throws(DatabaseError) {
        let time = world.wallTime()
        let result = await withCheckedContinuation { continuation in
            state.withLock {
                $0.queue.append(
                    Request(
                        event: event, time: time, statements: statements,
                        completion: continuation))
            }
            startWriting()
        }
        try result.get()
    }

    /// Tries again what waits, and signs a head when one is due; call about once a second.
    package func advance() async {
        startWriting()
        let now = world.now()
        let due: Tail? = state.withLock { state in
            guard let tail = state.tail, tail.id > state.headID else { return nil }
            let isDue =
                tail.id - state.headID >= Limits.headRows
                || now - state.headAt >= Limits.headInterval
            return isDue ? tail : nil
        }
        if let due { await sign(due) }
    }

    /// Writes what waits and signs the last head: the end of the program, or of a command.
    package func finish() async {
        await write()
        // What was being written when this was called may have failed for a reason that is gone.
        if state.withLock({ !$0.queue.isEmpty }) { await write() }
        let tail: Tail? = state.withLock { state in
            state.tail.flatMap { $0.id > state.headID ? $0 : nil }
        }
        if let tail { await sign(tail) }
    }

    private func sign(_ tail: Tail) async {
        let (heads, time, now) = (heads, world.wallTime(), world.now())
        do {
            _ = try await pool.runIfActive {
                try heads.append(id: tail.id, hash: tail.hash, at: time)
            }
            state.withLock {
                $0.headID = max($0.headID, tail.id)
                $0.headAt = now
            }
        } catch {
            // Due again in a second.
            failures.increment()
        }
    }

    // MARK: Writing

    /// Writes what is queued after a moment, in which more comes.
    private func gather() {
        let starts = state.withLock { state in
            guard !state.isWriting, !state.isGathering, !state.queue.isEmpty else { return false }
            state.isGathering = true
            return true
        }
        guard starts else { return }
        Task {
            try? await Task.sleep(for: Limits.auditGathering)
            state.withLock { $0.isGathering = false }
            startWriting()
        }
    }

    private func startWriting() {
        let starts = state.withLock { state in
            guard !state.isWriting, !state.queue.isEmpty else { return false }
            state.isWriting = true
            return true
        }
        // Not in the caller's task: a request that is cancelled is audited all the same.
        if starts { Task { await self.writeAll() } }
    }

    /// Returns when nothing is being written any more.
    private func write() async {
        await withCheckedContinuation { continuation in
            let starts = state.withLock { state in
                state.waiting.append(continuation)
                guard !state.isWriting else { return false }
                state.isWriting = true
                return true
            }
            if starts { Task { await self.writeAll() } }
        }
    }

    private func writeAll() async {
        var isFirst = true
        while let batch = nextBatch(isFirst: isFirst) {
            isFirst = false
            let result = await append(batch)
            if case .failure = result, batch.contains(where: { $0.completion == nil }) {
                failures.increment()
                return giveUp(batch)
            }
            state.withLock { $0.isFailing = false }
            for request in batch { request.completion?.resume(returning: result) }
        }
        gather()
    }

    /// One change with its event, or as many events without one as fit; after the first batch only what
    /// cannot wait.
    private func nextBatch(isFirst: Bool) -> [Request]? {
        let lost = state.withLock { state in
            defer { state.lost = 0 }
            return state.lost
        }
        let world = world
        return state.withLock { state in
            if lost > 0 {
                let event = AuditEvent(
                    .eventsLost, by: .program("server"), details: ["count": String(lost)])
                state.queue.insert(Request(event: event, time: world.wallTime()), at: 0)
            }
            depth.set(Double(state.queue.count))
            guard let first = state.queue.first, isFirst || !state.hasTime else {
                state.endWriting()
                return nil
            }
            let count =
                first.statements.isEmpty
                ? state.queue.prefix(Limits.auditBatch).prefix { $0.statements.isEmpty }.count : 1
            let batch = Array(state.queue.prefix(count))
            state.queue.removeFirst(count)
            return batch
        }
    }

    /// The log cannot be written: who waits is told so, what was only noted waits on.
    private func giveUp(_ batch: [Request]) {
        let refused: [Request] = state.withLock { state in
            let all = batch + state.queue
            state.queue = all.filter { $0.completion == nil }
            state.endWriting()
            state.isFailing = true
            depth.set(Double(state.queue.count))
            return all.filter { $0.completion != nil }
        }
        for request in refused {
            request.completion?.resume(
                returning: .failure(.unavailable("the audit log cannot be written")))
        }
    }

    private func append(_ batch: [Request]) async -> Result<Void, DatabaseError> {
        let statements = batch.flatMap(\.statements)
        // Another process may append as well: its rows come first, and ours follow them.
        for _ in 0..<8 {
            do throws(DatabaseError) {
                let tail = try await knownTail()
                let rows = Self.rows(batch, after: tail)
                try await database.transaction(
                    statements + [Self.isStillTail(tail)] + rows.map(\.insert))
                state.withLock { $0.tail = rows.last.map { Tail(id: $0.id, hash: $0.hash) } }
                for request in batch { written[request.event.kind].increment() }
                return .success(())
            } catch {
                state.withLock { $0.tail = nil }
                guard Self.isStale(error, statements.count) else { return .failure(error) }
            }
        }
        return .failure(.unavailable("the audit log is being written elsewhere"))
    }

    private func knownTail() async throws(DatabaseError) -> Tail {
        if let known = state.withLock({ $0.tail }) { return known }
        let row = try await database.query(
            Statement("SELECT id, hash FROM audit_log ORDER BY id DESC LIMIT 1")
        ).first
        guard let row else { return Tail(id: 0, hash: AuditRow.noHash) }
        return Tail(id: try row.integer("id"), hash: try row.text("hash"))
    }

    private static func rows(_ batch: [Request], after tail: Tail) -> [AuditRow] {
        var rows: [AuditRow] = []
        var tail = tail
        for request in batch {
            let row = AuditRow(
                request.event, id: tail.id + 1, at: request.time, after: tail.hash)
            tail = Tail(id: row.id, hash: row.hash)
            rows.append(row)
        }
        return rows
    }

    private static func isStillTail(_ tail: Tail) -> Statement {
        guard tail.id > 0 else {
            return Statement("SELECT id FROM audit_log LIMIT 1", expecting: .noRows)
        }
        return Statement(
            "SELECT id FROM audit_log WHERE id = ? AND hash = ?",
            [.integer(tail.id), .text(tail.hash)], expecting: .someRows)
    }

    private static func isStale(_ error: DatabaseError, _ statements: Int) -> Bool {
        switch error {
        case .expectationFailed(let index): index >= statements
        case .constraint(.unique, let detail): detail.contains("audit_log")
        default: false
        }
    }
}
