// The identity system's webhook: signed, fresh and once; and what its events change.
// SPDX-License-Identifier: Apache-2.0

import Crypto
import Database
import Domain
import Foundation
import Identity
import JOSE
import Primitives
import Testing

@Suite(.everyDatabase) struct IAMWebhookTests {
    private static let secret = "0123456789abcdef0123456789abcdef"
    private static let now = TestWorld.start.microseconds / 1_000_000

    private static func sign(
        _ body: String, at seconds: Int64 = now, secret: String = secret
    ) -> (body: [UInt8], signature: String, timestamp: String) {
        let code = HMAC<SHA256>.authenticationCode(
            for: Data("\(seconds).\(body)".utf8), using: SymmetricKey(data: Data(secret.utf8)))
        return (Array(body.utf8), Array(code).hex, String(seconds))
    }

    private static func created(_ id: String = "e1", _ login: String = "amina") -> String {
        """
        {"event_id":"\(id)","event_type":"USER_CREATED","data":{"login_id":"\(login)",
        "display_name":"Amina","full_name_arabic":"أمينة","employee_number":"77",
        "agency":{"code":"METRO","name":"Metro","name_arabic":"المترو"}}}
        """
    }

    private func webhook() throws -> IAMWebhook {
        try #require(IAMWebhook(secret: Redacted(Self.secret)))
    }

    private func outcome(
        _ body: [UInt8], _ signature: String, _ timestamp: String
    ) async throws -> MarsadError.Code? {
        let webhook = try webhook()
        return await code {
            _ = try webhook.verify(
                body: body, signature: signature, timestamp: timestamp, at: TestWorld.start)
        }
    }

    @Test("an old, a future, an altered and another secret's message are refused")
    func signatures() async throws {
        let good = Self.sign(Self.created())
        #expect(try await outcome(good.body, good.signature, good.timestamp) == nil)
        #expect(try await outcome(good.body, "sha256=" + good.signature, good.timestamp) == nil)
        for offset in [-301, 301] as [Int64] {
            let late = Self.sign(Self.created(), at: Self.now + offset)
            #expect(
                try await outcome(late.body, late.signature, late.timestamp) == .invalidSignature)
        }
        for offset in [-300, 300] as [Int64] {
            let edge = Self.sign(Self.created(), at: Self.now + offset)
            #expect(try await outcome(edge.body, edge.signature, edge.timestamp) == nil)
        }
        let other = Self.sign(Self.created(), secret: String(repeating: "x", count: 32))
        #expect(
            try await outcome(other.body, other.signature, other.timestamp) == .invalidSignature)
        #expect(
            try await outcome(good.body + [32], good.signature, good.timestamp)
                == .invalidSignature)
        #expect(
            try await outcome(good.body, good.signature, String(Self.now + 1)) == .invalidSignature)
        for bit in stride(from: 0, to: good.body.count * 8, by: 37) {
            var changed = good.body
            changed[bit / 8] ^= 1 << (bit % 8)
            #expect(
                try await outcome(changed, good.signature, good.timestamp) == .invalidSignature)
        }
        for (signature, timestamp) in [
            ("", good.timestamp), ("zz", good.timestamp), (good.signature + "00", good.timestamp),
            (String(repeating: "é", count: 32), good.timestamp), (good.signature, ""),
            (good.signature, "999999999999999999999999"), (good.signature, "-1"),
            (good.signature, "9223372036854775807"),
        ] {
            #expect(try await outcome(good.body, signature, timestamp) == .invalidSignature)
        }
        #expect(IAMWebhook(secret: Redacted("short")) == nil)
    }

    @Test("a signed body that is no event is refused as a request")
    func shapes() async throws {
        for body in [
            "", "[]", "{}", #"{"event_id":"","event_type":"USER_CREATED","data":{}}"#,
            #"{"event_id":"1","event_type":"USER_EATEN","data":{}}"#,
            #"{"event_id":"1","event_type":"USER_CREATED"}"#,
            #"{"event_id":"1","event_id":"2","event_type":"USER_CREATED","data":{}}"#,
        ] {
            let signed = Self.sign(body)
            #expect(
                try await outcome(signed.body, signed.signature, signed.timestamp)
                    == .invalidRequest, "\(body)")
        }
        let large = Self.sign(String(repeating: " ", count: 65_537))
        #expect(
            try await outcome(large.body, large.signature, large.timestamp) == .payloadTooLarge)
    }

    private func apply(_ body: String, _ rig: IdentityRig) async throws -> Bool {
        let signed = Self.sign(body)
        let event = try webhook().verify(
            body: signed.body, signature: signed.signature, timestamp: signed.timestamp,
            at: TestWorld.start)
        return try await rig.identity.apply(event, from: RequestOrigin(address: "192.0.2.7"))
    }

    @Test("the life of a user: created, updated, moved between groups, disabled; each event once")
    func life() async throws {
        try await IdentityRig.with { rig in
            #expect(try await apply(Self.created(), rig))
            #expect(try await !apply(Self.created(), rig))
            let program = IdentityRig.program
            let name = try #require(LoginID("amina"))
            var user = try await rig.identity.user(named: name, for: program)
            #expect(user.origin == .external && user.status == .active)
            #expect(user.profile.fullNameArabic == "أمينة")
            #expect(try await rig.identity.groups(of: user.id, for: program).count == 1)
            #expect(
                try await apply(
                    #"""
                    {"event_id":"e2","event_type":"USER_UPDATED","data":{"login_id":"amina",
                    "email":"a@metro.example","section":{"code":"S1"}}}
                    """#, rig))
            user = try await rig.identity.user(named: name, for: program)
            #expect(user.profile.email == "a@metro.example")
            #expect(user.profile.employeeNumber == "77")
            #expect(user.profile.section?.code == "S1")
            let group = try await rig.identity.createGroup(
                name: "Exporters", grants: [Grant(try #require(Permission("clip:METRO:export")))],
                by: program)
            #expect(
                try await apply(
                    #"""
                    {"event_id":"e3","event_type":"GROUP_CHANGED",
                    "data":{"login_id":"amina","groups":["Exporters"]}}
                    """#, rig))
            #expect(try await rig.identity.groups(of: user.id, for: program) == [group])
            #expect(
                await code {
                    _ = try await apply(
                        #"""
                        {"event_id":"e4","event_type":"GROUP_CHANGED",
                        "data":{"login_id":"amina","groups":["Exporters","Unknown"]}}
                        """#, rig)
                } == .invalidRequest)
            #expect(
                try await apply(
                    #"""
                    {"event_id":"e5","event_type":"USER_DISABLED","data":{"login_id":"amina"}}
                    """#, rig))
            user = try await rig.identity.user(named: name, for: program)
            #expect(user.status == .disabled)
            #expect(
                rig.revocations.isRevoked(
                    user: user.id, session: nil, issuedAt: TestWorld.start))
            #expect(
                try await rig.events() == [
                    "USER_CREATED", "USER_UPDATED", "GROUP_CREATED", "GROUPS_CHANGED",
                    "USER_STATUS_CHANGED",
                ])
        }
    }

    @Test("the same event sent twice at once is taken once")
    func race() async throws {
        try await IdentityRig.with { rig in
            let taken = await withTaskGroup(of: Bool?.self) { group in
                for _ in 0..<4 {
                    group.addTask { try? await apply(Self.created(), rig) }
                }
                return await group.reduce(into: [Bool?]()) { $0.append($1) }
            }
            #expect(taken.filter { $0 == true }.count == 1)
            #expect(taken.filter { $0 == false }.count == 3)
        }
    }
}
