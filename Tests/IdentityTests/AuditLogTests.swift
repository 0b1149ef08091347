// The audit log's writer: order, groups, several processes, and a database that fails.
// SPDX-License-Identifier: Apache-2.0

import Database
import Domain
import Foundation
import Identity
import NIOPosix
import Observability
import Primitives
import Synchronization
import Testing

/// An engine whose writes can be made to fail or to wait, and are told of.
final class FailingEngine: DatabaseEngine {
    private let engine: any DatabaseEngine
    private let isFailing = Mutex(false)
    /// Asked before each write; who answers lets it through.
    private let gate: @Sendable () async -> Void
    /// One for each write that succeeded.
    let writes: AsyncStream<Void>
    private let wrote: AsyncStream<Void>.Continuation

    init(_ engine: any DatabaseEngine, gate: @escaping @Sendable () async -> Void = {}) {
        self.engine = engine
        self.gate = gate
        (writes, wrote) = AsyncStream.makeStream(of: Void.self)
    }

    var dialect: SQLDialect { engine.dialect }
    func fail(_ value: Bool) { isFailing.withLock { $0 = value } }

    func query(_ statement: Statement) async throws(DatabaseError) -> [Row] {
        try await engine.query(statement)
    }

    func transaction(
        _ statements: [Statement]
    ) async throws(DatabaseError) -> [StatementOutcome] {
        if isFailing.withLock({ $0 }) { throw .full }
        await gate()
        let outcomes = try await engine.transaction(statements)
        wrote.yield()
        return outcomes
    }

    func close() async throws(DatabaseError) { try await engine.close() }
}

@Suite(.everyDatabase) struct AuditLogTests {
    private func event(_ number: Int, _ kind: AuditEvent.Kind = .viewStarted) -> AuditEvent {
        AuditEvent(
            kind, by: .program("test"), origin: RequestOrigin(address: "192.0.2.1"),
            details: ["camera_id": "c\(number)", "عربي": "\"\n"])
    }

    private func verify(_ rig: IdentityRig) async throws -> AuditVerification {
        let verifier = try #require(
            AuditVerifier(database: rig.engine, publicKey: rig.heads.publicKey))
        return try await verifier.verify(
            heads: (try? String(contentsOfFile: rig.heads.path, encoding: .utf8)) ?? "")
    }

    @Test("events of many tasks become one chain, each once, and heads are signed over it")
    func chain() async throws {
        try await IdentityRig.with { rig in
            await withTaskGroup(of: Void.self) { group in
                for number in 0..<200 {
                    group.addTask {
                        if number.isMultiple(of: 2) {
                            try? await rig.audit.record(event(number))
                        } else {
                            try? rig.audit.note(event(number))
                        }
                    }
                }
            }
            #expect(try await rig.events().count == 200)
            let details = try await rig.engine.query(Statement("SELECT details FROM audit_log"))
            #expect(Set(try details.map { try $0.text("details") }).count == 200)
            let result = try await verify(rig)
            #expect(result.finding == nil)
            #expect(result.rows == 200)
            #expect(result.heads >= 1)
            #expect(result.unsignedRows == 0)
            #expect(
                rig.registry.render().contains(
                    #"cctv_audit_events_total{event_type="VIEW_STARTED"} 200"#))
        }
    }

    @Test("what is noted is written by itself, much of it at once, also what comes during a write")
    func gathering() async throws {
        try await IdentityRig.with { rig in
            let (begun, begins) = AsyncStream.makeStream(of: Void.self)
            let (passes, lets) = AsyncStream.makeStream(of: Void.self)
            let engine = FailingEngine(rig.engine) {
                begins.yield()
                for await _ in passes { break }
            }
            let audit = AuditLog(
                database: engine, heads: rig.heads, world: rig.world, pool: rig.pool,
                registry: MetricsRegistry())
            func rows() async throws -> Int {
                try await rig.engine.query(Statement("SELECT id FROM audit_log")).count
            }
            var written = engine.writes.makeAsyncIterator()
            var starting = begun.makeAsyncIterator()
            try audit.note(event(0))
            await starting.next()
            // The first write waits for this.
            for number in 1...100 { try audit.note(event(number)) }
            lets.yield()
            await written.next()
            #expect(try await rows() == 1)
            await starting.next()
            lets.yield()
            await written.next()
            #expect(try await rows() == 101)
            // Who waits for his event does not wait for others.
            lets.yield()
            try await audit.record(event(101))
            #expect(try await rows() == 102)
        }
    }

    @Test("a head is signed each minute in which something was written, and after a thousand rows")
    func heads() async throws {
        try await IdentityRig.with { rig in
            func lines() -> Int {
                let text = try? String(contentsOfFile: rig.heads.path, encoding: .utf8)
                return text?.split(separator: "\n").count ?? 0
            }
            try await rig.audit.record(event(1))
            await rig.audit.advance()
            #expect(lines() == 0)
            rig.clock.advance(by: .seconds(60))
            await rig.audit.advance()
            #expect(lines() == 1)
            rig.clock.advance(by: .seconds(600))
            await rig.audit.advance()
            #expect(lines() == 1)
            await withTaskGroup(of: Void.self) { group in
                for number in 0..<1000 {
                    group.addTask { try? await rig.audit.record(event(number)) }
                }
            }
            rig.clock.advance(by: .seconds(1))
            await rig.audit.advance()
            #expect(lines() == 2)
        }
    }

    @Test("two processes write one chain between them")
    func twoWriters() async throws {
        try await IdentityRig.with { rig in
            let other = AuditLog(
                database: rig.engine, heads: rig.heads, world: rig.world, pool: rig.pool,
                registry: MetricsRegistry())
            for number in 0..<20 {
                try await (number.isMultiple(of: 3) ? rig.audit : other).record(event(number))
            }
            await other.finish()
            await rig.audit.finish()
            let result = try await verify(rig)
            #expect(result == AuditVerification(rows: 20, heads: 2))
        }
    }

    @Test(
        "while the log cannot be written exports are refused, viewing goes on, and nothing is lost")
    func outage() async throws {
        try await IdentityRig.with { rig in
            let engine = FailingEngine(rig.engine)
            let audit = AuditLog(
                database: engine, heads: rig.heads, world: rig.world, pool: rig.pool,
                registry: rig.registry)
            try await audit.record(event(0))
            engine.fail(true)
            let refused = await code { try await audit.record(event(1, .exported)) }
            #expect(refused == .storageUnavailable)
            for number in 2..<5 { try audit.note(event(number)) }
            await audit.finish()
            #expect(rig.registry.render().contains("cctv_audit_queue_depth 3"))
            engine.fail(false)
            await audit.finish()
            let rows = try await rig.engine.query(
                Statement("SELECT details FROM audit_log ORDER BY id"))
            #expect(rows.count == 4)
            #expect(!(try rows.map { try $0.text("details") }.joined().contains("c1\"")))
            #expect(try await verify(rig).finding == nil)
        }
    }

    @Test("when no more events can wait viewing must not begin, and what has begun is still told")
    func full() async throws {
        try await IdentityRig.with { rig in
            let engine = FailingEngine(rig.engine)
            engine.fail(true)
            let audit = AuditLog(
                database: engine, heads: rig.heads, world: rig.world, pool: rig.pool,
                registry: rig.registry)
            var taken = 0
            while await code({ try audit.note(event(taken)) }) == nil, taken < 20_000 { taken += 1 }
            // Those that a failing write holds at the moment do not count against the queue.
            #expect((8000...9024).contains(taken))
            try audit.note(event(taken, .viewStopped))
            engine.fail(false)
            await audit.finish()
            let kinds = try await rig.events()
            #expect(kinds.filter { $0 == "VIEW_STARTED" }.count == taken)
            #expect(kinds.filter { $0 == "VIEW_STOPPED" }.count == 1)
        }
    }

    @Test("a change whose audit row cannot be written does not happen")
    func failClosed() async throws {
        try await IdentityRig.with { rig in
            let engine = FailingEngine(rig.engine)
            let user = try await rig.user("amina")
            let revocations = Revocations(database: engine, world: rig.world)
            let identity = IdentityService(
                IdentityService.Parts(
                    database: engine,
                    audit: AuditLog(
                        database: engine, heads: rig.heads, world: rig.world, pool: rig.pool,
                        registry: rig.registry),
                    tokens: AccessTokens(
                        keys: rig.keys, issuer: "https://marsad.example", world: rig.world),
                    hasher: rig.hasher, revocations: revocations, world: rig.world))
            engine.fail(true)
            let refused = await code {
                try await identity.setStatus(user.id, .disabled, by: IdentityRig.program)
            }
            #expect(refused == .storageUnavailable)
            #expect(
                try await rig.identity.user(user.id, for: IdentityRig.program).status == .active)
            #expect(!revocations.isRevoked(user: user.id, session: nil, issuedAt: TestWorld.start))
        }
    }
}
