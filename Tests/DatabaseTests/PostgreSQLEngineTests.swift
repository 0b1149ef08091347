// What is PostgreSQL's alone: lost connections, a killed server, time-outs, rights.
// SPDX-License-Identifier: Apache-2.0

import Database
import Foundation
import Testing

@Suite(.enabled(if: PostgreSQLCluster.isInstalled, PostgreSQLCluster.missing))
struct PostgreSQLEngineTests {
    /// Runs `body` with a fresh database of the shared server, made as the current engine's are.
    private func withDatabase(
        _ body: (PostgreSQLCluster, _ name: String, PostgreSQLEngine) async throws -> Void
    ) async throws {
        let cluster = try await PostgreSQLCluster.shared()
        let name = "lone-\(UUID().uuidString)"
        let engine = try await cluster.database(named: name)
        try await engine.makeTable()
        try await body(cluster, name, engine)
        try await engine.close()
    }

    /// Tries until the engine has its connection again.
    @discardableResult
    private func whenAvailable<Result>(
        _ body: () async throws -> Result
    ) async throws -> Result {
        while true {
            do {
                return try await body()
            } catch  where isUnavailable(error) {
                await Task.yield()
            }
        }
    }

    @Test("a connection that is lost fails what was under way, once, and a new one is made")
    func lostConnections() async throws {
        try await withDatabase { cluster, _, engine in
            let administrator = try cluster.engine()
            let end = "SELECT pg_terminate_backend(CAST(? AS INTEGER)) AS ended"
            // The writer, in the middle of a transaction.
            await #expect {
                try await engine.transaction([
                    Statement("INSERT INTO t (id) VALUES ('lost')"),
                    Statement("SELECT pg_terminate_backend(pg_backend_pid()) AS ended"),
                    Statement("INSERT INTO t (id) VALUES ('also lost')"),
                ])
            } throws: { isUnavailable($0) }
            try await whenAvailable {
                try await engine.execute(Statement("INSERT INTO t (id) VALUES ('kept')"))
            }
            // A reader, while nothing is under way.
            let rows = try await engine.query(Statement("SELECT pg_backend_pid() AS pid"))
            let reader = try #require(try rows.first?.integer("pid"))
            try await administrator.execute(Statement(end, [.integer(reader)]))
            let kept = try await whenAvailable {
                try await engine.query(Statement("SELECT id FROM t"))
            }
            #expect(try kept.map { try $0.text("id") } == ["kept"])
            try await administrator.close()
        }
    }

    @Test("a connection that is lost in front of its commit says that nobody knows")
    func unknownOutcome() async throws {
        try await withDatabase { _, _, engine in
            await #expect(
                throws: DatabaseError.unavailable(
                    "the connection was lost while it committed: outcome unknown")
            ) {
                try await engine.transaction([
                    Statement("SELECT pg_terminate_backend(pg_backend_pid()) AS ended")
                ])
            }
            // With an expectation the commit was not sent yet: surely nothing happened.
            await #expect {
                try await whenAvailable {
                    try await engine.transaction([Statement("SELECT 1 AS one")])
                }
                try await engine.transaction([
                    Statement(
                        "SELECT pg_terminate_backend(pg_backend_pid()) AS ended",
                        expecting: .someRows)
                ])
            } throws: { error in
                guard case .unavailable(let reason) = error as? DatabaseError else { return false }
                return !reason.contains("unknown")
            }
        }
    }

    @Test("a server that is killed and comes back is found again, with all that was answered")
    func crash() async throws {
        let cluster = PostgreSQLCluster(String(UUID().uuidString.prefix(8)))
        try await cluster.start()
        let engine = try cluster.engine()
        try await engine.makeTable()
        try await engine.execute(Statement("INSERT INTO t (id) VALUES ('before')"))
        try await cluster.crash()
        await #expect {
            try await engine.execute(Statement("INSERT INTO t (id) VALUES ('during')"))
        } throws: { isUnavailable($0) }
        await #expect {
            try await engine.query(Statement("SELECT 1"))
        } throws: { isUnavailable($0) }
        try await cluster.start()
        let changes = try await whenAvailable {
            try await engine.execute(Statement("INSERT INTO t (id) VALUES ('after')"))
        }
        #expect(changes == 1)
        let rows = try await whenAvailable {
            try await engine.query(Statement("SELECT id FROM t ORDER BY id"))
        }
        #expect(try rows.map { try $0.text("id") } == ["after", "before"])
        try await engine.close()
        try await cluster.stop()
    }

    @Test("waits for another writer no longer than it may, and for none of another schema")
    func lockTimeout() async throws {
        try await withDatabase { cluster, name, engine in
            var timeouts = PostgreSQLTimeouts()
            timeouts.lockSeconds = 1
            let hasty = try await cluster.database(named: name, timeouts: timeouts)
            let elsewhere = try cluster.engine(timeouts: timeouts)
            let sleeps = "SELECT pg_sleep(60), 'holder'"
            let holder = Task { try await engine.transaction([Statement(sleeps)]) }
            let find = "SELECT pid FROM pg_stat_activity WHERE query = ? AND state = 'active'"
            var found: Row?
            while found == nil {
                found = try await hasty.query(Statement(find, [.text(sleeps)])).first
            }
            let statement = Statement("SELECT 1 AS one")
            await #expect(throws: DatabaseError.unavailable("SQLSTATE 55P03")) {
                try await hasty.transaction([statement])
            }
            try await elsewhere.transaction([statement])
            let pid = try #require(try found?.integer("pid"))
            _ = try await hasty.query(
                Statement("SELECT pg_terminate_backend(CAST(? AS INTEGER))", [.integer(pid)]))
            await #expect { try await holder.value } throws: { isUnavailable($0) }
            try await hasty.close()
            try await elsewhere.close()
        }
    }

    @Test("ends a statement that takes too long, and waits for no server that is silent")
    func timeouts() async throws {
        let cluster = try await PostgreSQLCluster.shared()
        var timeouts = PostgreSQLTimeouts()
        timeouts.statementSeconds = 1
        let hasty = try cluster.engine(timeouts: timeouts)
        await #expect(throws: DatabaseError.unavailable("SQLSTATE 57014")) {
            try await hasty.query(Statement("SELECT pg_sleep(60)"))
        }
        // Ended by the server, and nothing else: the same connection goes on.
        #expect(try await hasty.query(Statement("SELECT 1 AS one")).count == 1)
        try await hasty.close()
        timeouts.statementSeconds = 30
        timeouts.answerSeconds = 2
        let impatient = try cluster.engine(timeouts: timeouts)
        await #expect(throws: DatabaseError.unavailable("the server does not answer")) {
            try await impatient.query(Statement("SELECT pg_sleep(60)"))
        }
        try await impatient.close()
    }

    @Test("prepares more statements than it keeps")
    func manyStatements() async throws {
        try await withDatabase { _, _, engine in
            for round in 0..<2 {
                for number in 0..<600 {
                    let rows = try await engine.query(
                        Statement("SELECT ? AS n\(number)", [.integer(Int64(round))]))
                    #expect(try rows.first?.integer("n\(number)") == Int64(round))
                }
            }
        }
    }

    @Test("another process's change of the schema is an error once, and no wrong columns")
    func foreignMigration() async throws {
        try await withDatabase { cluster, name, engine in
            let other = try await cluster.database(named: name)
            #expect(try await engine.query(Statement("SELECT * FROM t")).isEmpty)
            try await other.execute(Statement("ALTER TABLE t ADD COLUMN later BIGINT"))
            try await other.execute(Statement("INSERT INTO t (id, later) VALUES ('a', 5)"))
            let rows = try await whenAvailable {
                try await engine.query(Statement("SELECT * FROM t"))
            }
            #expect(try rows.first?.integer("later") == 5)
            try await other.close()
        }
    }

    @Test("says why it cannot connect, and never the password")
    func refused() async throws {
        let cluster = try await PostgreSQLCluster.shared()
        for url in [
            "postgresql://nobody:hunter2secret@/postgres?host=\(cluster.folder)",
            "postgresql://postgres:hunter2secret@/nothing?host=\(cluster.folder)",
            "postgresql://postgres:hunter2secret@127.0.0.1:1/postgres",
            "postgresql://postgres:hunter2secret@/postgres?host=\(cluster.folder)&sslmode=verify",
        ] {
            let engine = PostgreSQLEngine(try #require(PostgreSQLAddress(parsing: url)))
            await #expect {
                try await engine.query(Statement("SELECT 1"))
            } throws: { isUnavailable($0) && !"\($0)".contains("hunter2secret") }
            try await engine.close()
        }
    }

    @Test("takes addresses of PostgreSQL and no others")
    func addresses() {
        for good in [
            "postgresql://u:p@h:5433/d?sslmode=verify-full", "postgres:///d", "postgresql://a,b/d",
            "postgresql://u%40x:p@h-1.a_b/d", "postgresql://u@[fe80::1%25eth0]:1,127.0.0.1/d",
            "postgresql://u@%2Frun%2Fpostgresql/d", "postgresql:///d?host=/run/a%20b",
        ] { #expect(PostgreSQLAddress(parsing: good) != nil) }
        for bad in [
            "", "sqlite:", "host=h", "mysql://h/d", "postgresql://h/d?nothing=1", "postgresql://[h",
            "postgresql://h/d%00", "postgresql://h/\0", "postgresql://h:p:q@@/%zz",
            // An @ of the password's own.
            "postgresql://u:p@ss@h/d", "postgresql://u:p@s$s@h/d", "postgresql://u:p@s/s@h/d",
        ] { #expect(PostgreSQLAddress(parsing: bad) == nil, "\(bad)") }
    }
}
