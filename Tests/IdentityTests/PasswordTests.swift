// Passwords: the reference's own hashes, what is refused, and how many are hashed at once.
// SPDX-License-Identifier: Apache-2.0

import Database
import Dispatch
import Domain
import Identity
import NIOPosix
import Primitives
import Testing

@Suite struct PasswordTests {
    /// From the test of the reference implementation (P-H-C/phc-winner-argon2, src/test.c, v = 19).
    private static let vectors = [
        (
            "password",
            "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4"
        ),
        (
            "differentpassword",
            "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$C4TWUs9rDEvq7w3+J4umqA32aWKB1+DSiRuBfYxFj94"
        ),
    ]

    private func store(_ hash: String, in rig: IdentityRig) async throws {
        try await rig.engine.execute(
            Statement("UPDATE users SET password_hash = ?", [.text(hash)]))
    }

    private func stored(_ rig: IdentityRig) async throws -> String {
        try await rig.engine.query(Statement("SELECT password_hash FROM users"))
            .first?.text("password_hash") ?? ""
    }

    @Test("the hashes of the reference implementation are understood, and renewed at today's cost")
    func referenceVectors() async throws {
        try await IdentityRig.with { rig in
            try await rig.user("amina")
            for (password, hash) in Self.vectors {
                try await store(hash, in: rig)
                #expect(
                    await code { _ = try await rig.login("amina", Redacted(password + "x")) }
                        == .invalidCredentials)
                _ = try await rig.login("amina", Redacted(password))
                #expect(try await stored(rig).hasPrefix("$argon2id$v=19$m=64,t=1,p=1$"))
                _ = try await rig.login("amina", Redacted(password))
            }
        }
    }

    @Test("a hash that somebody wrote is refused without being computed")
    func hostileHashes() async throws {
        try await IdentityRig.with { rig in
            try await rig.user("amina")
            for hash in [
                "", "x", "$argon2id$", "$argon2i$v=19$m=64,t=1,p=1$c29tZXNhbHQ$AAAA",
                "$argon2id$v=19$m=4194304,t=1,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu",
                "$argon2id$v=19$m=64,t=4294967295,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu",
                "$argon2id$v=19$m=,t=,p=$$", "$argon2id$v=19$m=64,t=1,p=255$c29tZXNhbHQ$AAAA",
            ] {
                try await store(hash, in: rig)
                rig.clock.advance(by: .seconds(3601))
                #expect(
                    await code { _ = try await rig.login("amina", Redacted("password")) }
                        == .invalidCredentials, "\(hash)")
            }
        }
    }

    @Test(
        "refuses what is short, long, guessed first, or holds the login name",
        arguments: [
            "", "elevenchars", String(repeating: "x1y2z", count: 30), "Password-1234",
            "administrator", "aaaaaaaaaaaaaaaa", "121212121212", "my.amina.password",
            "QwertyUiop12", "Summer2026!!", "P@ssw0rd!2025", "Dubai-Metro-2026", "abcabcabcabc",
            "1qaz2wsx3edc", "correct horse battery staple", "Welcome2Marsad!", "qwerty-123456",
            "!!!!!!!!!!!!", "كلمةالمرور١٢٣٤", "poiuytrewq0987",
        ])
    func rules(_ password: String) async throws {
        let name = try #require(LoginID("amina"))
        #expect(throws: MarsadError.self) {
            try PasswordRules.check(Redacted(password), for: name)
        }
    }

    @Test("takes a sentence, Arabic letters, and what it makes itself")
    func good() throws {
        let name = try #require(LoginID("amina"))
        for password in ["a sentence that is mine", "كلمة سر طويلة جدا", "Xk29!mQ7#pLz"] {
            try PasswordRules.check(Redacted(password), for: name)
        }
        let world = TestWorld().world
        let made = (0..<50).map { _ in PasswordRules.make(world: world) }
        #expect(Set(made).count == 50)
        for password in made { try PasswordRules.check(password, for: name) }
    }

    @Test("of many logins at once two are hashed, sixteen wait, and the rest are told to come back")
    func overload() async throws {
        try await IdentityRig.with { rig in
            for number in 0..<40 { try await rig.user("user\(number)") }
            let gate = DispatchSemaphore(value: 0)
            for _ in 0..<2 { rig.pool.submit { _ in gate.wait() } }
            await withTaskGroup(of: MarsadError.Code?.self) { group in
                for number in 0..<40 {
                    group.addTask {
                        await code {
                            _ = try await rig.login(
                                "user\(number)", Redacted("wrong"), from: "198.51.100.\(number)")
                        }
                    }
                }
                for _ in 0..<22 { #expect(await group.next() == .overloaded) }
                for _ in 0..<2 { gate.signal() }
                while let outcome = await group.next() { #expect(outcome == .invalidCredentials) }
            }
        }
    }
}
