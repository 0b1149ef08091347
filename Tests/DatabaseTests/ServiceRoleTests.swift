// The service's own role on PostgreSQL: it adds to the audit log, and cannot take anything back.
// SPDX-License-Identifier: Apache-2.0

import Database
import Foundation
import Primitives
import Testing

@Suite(.enabled(if: PostgreSQLCluster.isInstalled, PostgreSQLCluster.missing))
struct ServiceRoleTests {
    @Test("the service inserts and reads audit rows; the server refuses it every change of them")
    func appendOnly() async throws {
        let cluster = try await PostgreSQLCluster.shared()
        let name = "role_" + UUID().uuidString.prefix(8).lowercased()
        let owner = try await cluster.database(named: name)
        let migrator = Migrator(engine: owner)
        try await migrator.migrate(at: WallTime(microseconds: 1))
        try await owner.execute(Statement("CREATE ROLE \(name) LOGIN"))
        try await ServiceRole.grant(to: name, in: owner)
        // Every step of an upgrade may be done again.
        try await ServiceRole.grant(to: name, in: owner)
        let service = PostgreSQLEngine(
            try #require(
                PostgreSQLAddress(
                    parsing: "postgresql://\(name)@/postgres?host=\(cluster.folder)"
                        + "&options=-csearch_path%3Dt_\(name)")))
        #expect(try await Migrator(engine: service).migrate(at: WallTime(microseconds: 2)) == [])
        try await service.execute(
            Statement(
                """
                INSERT INTO audit_log (id, event_type, actor_id, timestamp, details, ip_address,
                    user_agent, request_id, previous_hash, hash)
                VALUES (1, 'LOGIN', 'a', 1, '{}', '', '', '', '', '')
                """))
        let denied = Int("42501", radix: 36)
        for sql in [
            "UPDATE audit_log SET details = '{\"planted\":1}'", "DELETE FROM audit_log",
            "TRUNCATE audit_log", "DROP TABLE audit_log", "CREATE TABLE more (id TEXT)",
            "ALTER TABLE audit_log DROP COLUMN hash", "DELETE FROM schema_migrations",
        ] {
            await #expect {
                try await service.execute(Statement(sql))
            } throws: { error in
                guard case .other(let code, let reason) = error as? DatabaseError
                else { return false }
                return code == denied && !reason.contains("planted")
            }
        }
        #expect(try await service.query(Statement("SELECT id FROM audit_log")).count == 1)
        // Elsewhere it works as ever.
        try await service.transaction([
            Statement(
                "INSERT INTO settings (name, version, document, updated_at) VALUES ('a', 1, '', 1)"
            ),
            Statement("UPDATE settings SET document = 'b'", expecting: .changes(1)),
            Statement("DELETE FROM settings", expecting: .changes(1)),
        ])
        #expect(try await ServiceRole.changeableTables(in: service) == [])
        #expect(try await ServiceRole.changeableTables(in: owner) == ["audit_log"])
        try await service.close()
        try await owner.execute(Statement("DROP OWNED BY \(name)"))
        try await owner.execute(Statement("DROP ROLE \(name)"))
        try await owner.close()
    }

    @Test("takes names of roles that need no quoting")
    func names() {
        #expect(ServiceRole.isName("marsad") && ServiceRole.isName("_m2"))
        for bad in ["", "2m", "m;DROP", "M", "m\"", "م", String(repeating: "m", count: 64)] {
            #expect(!ServiceRole.isName(bad), "\(bad)")
        }
    }
}
