// What tampering with the audit log looks like: each kind is found, and its row named.
// SPDX-License-Identifier: Apache-2.0

import Crypto
import Database
import Domain
import Foundation
import Identity
import Primitives
import Testing

@Suite(.everyDatabase) struct AuditVerifierTests {
    /// A log of 40 rows with a head at each tenth.
    private func withLog(_ body: (IdentityRig) async throws -> Void) async throws {
        try await IdentityRig.with { rig in
            for number in 1...40 {
                try rig.audit.note(
                    AuditEvent(
                        .viewStarted, by: .program("test"), details: ["number": String(number)]))
                if number.isMultiple(of: 10) { await rig.audit.finish() }
            }
            let good = try await verify(rig)
            #expect(good == AuditVerification(rows: 40, heads: 4))
            try await body(rig)
        }
    }

    private func verify(
        _ rig: IdentityRig, heads: String? = nil
    ) async throws -> AuditVerification {
        let verifier = try #require(
            AuditVerifier(database: rig.engine, publicKey: rig.heads.publicKey))
        let text = try heads ?? String(contentsOfFile: rig.heads.path, encoding: .utf8)
        return try await verifier.verify(heads: text)
    }

    private func finding(_ rig: IdentityRig) async throws -> String {
        try await verify(rig).finding?.description ?? "nothing"
    }

    private func tamper(_ rig: IdentityRig, _ statements: [String]) async throws {
        try await rig.engine.transaction(statements.map { Statement($0) })
    }

    /// What somebody who knows the program, but has no key, would do: the chain anew from a row on.
    private func recompute(_ rig: IdentityRig, from first: Int64, to last: Int64 = .max)
        async throws
    {
        let rows = try await rig.engine.query(Statement("SELECT * FROM audit_log ORDER BY id"))
        var previous = String(repeating: "0", count: 64)
        for row in rows {
            let id = try row.integer("id")
            guard id >= first, id <= last else {
                previous = try row.text("hash")
                continue
            }
            var hasher = SHA256()
            hasher.update(data: Data(previous.utf8))
            let fields: [String?] = [
                String(id), try row.text("event_type"), try row.optionalText("user_id"),
                try row.text("actor_id"), String(try row.integer("timestamp")),
                try row.text("details"), try row.text("ip_address"), try row.text("user_agent"),
                try row.text("request_id"),
            ]
            for field in fields {
                hasher.update(data: Data((field.map { "\($0.utf8.count):\($0)" } ?? "-").utf8))
            }
            let hash = Array(hasher.finalize()).hex
            try await rig.engine.execute(
                Statement(
                    "UPDATE audit_log SET previous_hash = ?, hash = ? WHERE id = ?",
                    [.text(previous), .text(hash), .integer(id)]))
            previous = hash
        }
    }

    @Test(
        "a changed row is named, whichever column was changed",
        arguments: [
            "event_type = 'LOGOUT'", "user_id = 'somebody'", "actor_id = 'else'",
            "timestamp = timestamp + 1", "details = '{}'", "ip_address = '::1'",
            "user_agent = 'x'", "request_id = 'x'", "hash = REPLACE(hash, SUBSTR(hash, 1, 1), 'z')",
        ])
    func changed(_ change: String) async throws {
        try await withLog { rig in
            try await tamper(rig, ["UPDATE audit_log SET \(change) WHERE id = 17"])
            #expect(try await finding(rig) == "row 17: changed")
        }
    }

    @Test("a row with a hash made to fit is named")
    func changedWithHash() async throws {
        try await withLog { rig in
            try await tamper(rig, ["UPDATE audit_log SET details = '{}' WHERE id = 17"])
            try await recompute(rig, from: 17, to: 17)
            #expect(try await finding(rig) == "row 17: changed")
        }
    }

    @Test("removed rows are named: one, several, the first, and with the numbers closed up")
    func removed() async throws {
        try await withLog { rig in
            try await tamper(rig, ["DELETE FROM audit_log WHERE id = 17"])
            #expect(try await finding(rig) == "row 17: removed")
            try await tamper(rig, ["DELETE FROM audit_log WHERE id IN (16, 18)"])
            #expect(try await finding(rig) == "rows 16 to 18: removed")
            try await tamper(rig, ["DELETE FROM audit_log WHERE id = 1"])
            #expect(try await finding(rig) == "row 1: removed")
        }
        try await withLog { rig in
            try await tamper(
                rig,
                [
                    "DELETE FROM audit_log WHERE id IN (17, 18)",
                    "UPDATE audit_log SET id = 2 - id WHERE id > 18",
                    "UPDATE audit_log SET id = -id WHERE id < 0",
                ])
            #expect(try await finding(rig) == "rows 17 to 18: removed")
        }
    }

    @Test("an inserted row is named")
    func inserted() async throws {
        try await withLog { rig in
            try await tamper(
                rig,
                [
                    "UPDATE audit_log SET id = -id - 1 WHERE id >= 17",
                    "UPDATE audit_log SET id = -id WHERE id < 0",
                    """
                    INSERT INTO audit_log SELECT 17, event_type, user_id, actor_id, timestamp, '{}',
                        ip_address, user_agent, request_id, hash, hash FROM audit_log WHERE id = 16
                    """,
                ])
            try await recompute(rig, from: 17, to: 17)
            #expect(try await finding(rig) == "row 17: inserted")
        }
        try await withLog { rig in
            try await tamper(
                rig,
                [
                    """
                    INSERT INTO audit_log SELECT 0, event_type, user_id, actor_id, timestamp, '{}',
                        ip_address, user_agent, request_id, hash, hash FROM audit_log WHERE id = 16
                    """
                ])
            #expect(try await finding(rig) == "row 0: inserted")
        }
    }

    @Test("rows in each other's place are named")
    func swapped() async throws {
        for (one, two) in [(17, 18), (12, 25)] {
            try await withLog { rig in
                try await tamper(
                    rig,
                    [
                        "UPDATE audit_log SET id = -1 WHERE id = \(one)",
                        "UPDATE audit_log SET id = \(one) WHERE id = \(two)",
                        "UPDATE audit_log SET id = \(two) WHERE id = -1",
                    ])
                #expect(
                    try await finding(rig) == "rows \(one) to \(two): in each other's place")
            }
        }
    }

    @Test("a cut tail is named")
    func cutTail() async throws {
        try await withLog { rig in
            try await tamper(rig, ["DELETE FROM audit_log WHERE id > 33"])
            #expect(try await finding(rig) == "rows 34 to 40: signed, and gone from the end")
            try await tamper(rig, ["DELETE FROM audit_log"])
            #expect(try await finding(rig) == "rows 1 to 40: signed, and gone from the end")
        }
    }

    @Test("a recomputed chain is named by the heads between which it begins")
    func recomputed() async throws {
        try await withLog { rig in
            try await tamper(rig, ["UPDATE audit_log SET details = '{}' WHERE id = 17"])
            try await recompute(rig, from: 17)
            #expect(
                try await finding(rig) == "rows 11 to 20: recomputed; not what was signed")
        }
        // The tail cut and grown again, by whoever can restart the server on the cut database.
        try await withLog { rig in
            try await tamper(rig, ["DELETE FROM audit_log WHERE id > 33"])
            let again = try rig.secondService()
            for number in 0..<10 {
                _ = try await again.createGroup(
                    name: "g\(number)", grants: [], by: IdentityRig.program)
            }
            #expect(
                try await finding(rig) == "rows 31 to 40: recomputed; not what was signed")
        }
    }

    @Test("a forged, an altered and a missing head are named by their lines")
    func forgedHeads() async throws {
        try await withLog { rig in
            let text = try String(contentsOfFile: rig.heads.path, encoding: .utf8)
            let lines = text.split(separator: "\n").map(String.init)
            func outcome(_ lines: [String]) async throws -> String {
                try await verify(rig, heads: lines.joined(separator: "\n")).finding?.description
                    ?? "nothing"
            }
            var altered = lines
            altered[1] = altered[1].replacing("\"id\":20", with: "\"id\":19")
            #expect(altered != lines)
            #expect(
                try await outcome(altered)
                    == "line 2 of the heads: not signed by this installation")
            var without = lines
            without.remove(at: 1)
            #expect(
                try await outcome(without) == "line 2 of the heads: the line before it is missing")
            #expect(
                try await outcome([])
                    == "no signed heads: nothing to hold the rows against")
            // A line that a power cut left unfinished is no forgery.
            #expect(try await outcome(lines + [String(lines[3].prefix(40))]) == "nothing")
            let other = try AuditHeadFile(
                path: rig.folder.path + "/other.log", keyFile: rig.folder.path + "/other.key")
            let keyFile = rig.folder.path + "/other.key"
            #expect(try AuditHeadFile.publicKey(of: keyFile) == other.publicKey)
            #expect(try AuditHeadFile.publicKey(of: keyFile + ".gone") == nil)
            let verifier = try #require(
                AuditVerifier(database: rig.engine, publicKey: other.publicKey))
            #expect(try await verifier.verify(heads: text).finding?.kind == .headForged)
            #expect(AuditVerifier(database: rig.engine, publicKey: "abc") == nil)
        }
    }

    @Test("heads go on after a line that was left unfinished, and rows after the last are counted")
    func tornHead() async throws {
        try await withLog { rig in
            let handle = try FileHandle(
                forWritingTo: URL(fileURLWithPath: rig.heads.path))
            try handle.seekToEnd()
            try handle.write(contentsOf: Data(#"{"at":"17"#.utf8))
            try handle.close()
            try await rig.audit.record(AuditEvent(.logout, by: .anonymous))
            #expect(try await verify(rig).unsignedRows == 1)
            await rig.audit.finish()
            #expect(try await verify(rig) == AuditVerification(rows: 41, heads: 5))
        }
    }

    @Test("the report says who watched what, what failed, what left, and what was done at night")
    func report() async throws {
        try await IdentityRig.with { rig in
            let user = try await rig.user("amina")
            func record(_ kind: AuditEvent.Kind, _ details: [String: String]) async throws {
                try await rig.audit.record(
                    AuditEvent(
                        kind, by: .user(user.id), origin: RequestOrigin(address: "192.0.2.9"),
                        details: details))
            }
            try await record(.viewStarted, ["camera_id": "gate"])
            try await record(.viewStarted, ["camera_id": "gate"])
            try await record(.playbackOpened, ["camera_id": "gate"])
            try await record(.exported, ["camera_id": "gate", "reason": "case 7"])
            try await rig.user("badr")
            _ = await code { _ = try await rig.login("badr", Redacted("no")) }
            let grant = try await rig.login("amina")
            let stolen = try #require(grant.refreshToken)
            _ = try await rig.identity.refresh(stolen, from: RequestOrigin())
            _ = await code { _ = try await rig.identity.refresh(stolen, from: RequestOrigin()) }
            for _ in 0..<3 {
                _ = await code { _ = try await rig.login("amina", Redacted("no")) }
            }
            await rig.audit.finish()
            // 14:13 UTC is 18:13 in Dubai, eleven hours later is night there.
            rig.clock.advance(by: .seconds(11 * 3600))
            try await record(.viewStarted, ["camera_id": "vault"])
            var question = AuditReporter.Question(
                from: TestWorld.start, to: rig.world.wallTime() + .seconds(1))
            let reporter = AuditReporter(database: rig.engine)
            let report = try await reporter.report(question)
            #expect(report.viewings.map(\.camera_id) == ["gate", "vault"])
            #expect(report.viewings[0].live == 2 && report.viewings[0].playback == 1)
            #expect(report.viewings[0].login_id == "amina")
            #expect(
                report.failures.map(\.event_type)
                    == ["LOGIN_FAILED", "LOGIN_FAILED", "TOKEN_REUSED"])
            #expect(report.failures.map(\.count) == [3, 1, 1])
            #expect(report.failures.map(\.login_id) == ["amina", "badr", "amina"])
            #expect(report.exports.map(\.details) == [["camera_id": "gate", "reason": "case 7"]])
            #expect(report.oddHours.map(\.details) == [["camera_id": "vault"]])
            question.user = user.id
            #expect(
                try await reporter.report(question).failures
                    == report.failures.filter { $0.login_id == "amina" })
            question.to = TestWorld.start
            #expect(try await reporter.report(question) == AuditReport())
        }
    }
}
