// Signing in: who gets in, who waits, and what a thief of a refresh token gets.
// SPDX-License-Identifier: Apache-2.0

import Database
import Domain
import Foundation
import Identity
import Primitives
import Synchronization
import Testing

@Suite(.everyDatabase) struct LoginTests {
    @Test("a user signs in, is known by its token, and sees its agency's cameras alone")
    func signIn() async throws {
        try await IdentityRig.with { rig in
            let user = try await rig.user("Fatima.A")
            let caller = try await rig.authenticate(try await rig.login("fatima.a"))
            #expect(caller.actor == .user(user.id))
            #expect(caller.agency == "METRO")
            let metro = try #require(Source("METRO"))
            let bus = try #require(Source("BUS"))
            #expect(caller.visibility.allows(metro, nil))
            #expect(!caller.visibility.allows(bus, nil))
            #expect(caller.visibility.sources == [metro])
            #expect(caller.may(.viewCamera, on: metro, FolderID("gates")))
            #expect(!caller.may(.exportClip, on: metro, nil))
            #expect(!caller.may(.administerUsers))
            #expect(try await rig.identity.user(user.id, for: caller).lastLogin != nil)
            #expect(try await rig.events() == ["USER_CREATED", "LOGIN_SUCCEEDED"])
        }
    }

    @Test("a wrong name, a wrong password and an account without one are the same refusal")
    func refusals() async throws {
        try await IdentityRig.with { rig in
            try await rig.user("amina")
            try await rig.user("outsider", origin: .external)
            for (name, address) in [
                ("amina", "192.0.2.1"), ("nobody", "192.0.2.2"), ("outsider", "192.0.2.3"),
                ("no such name!", "192.0.2.4"), ("", "192.0.2.5"),
            ] {
                #expect(
                    await code { _ = try await rig.login(name, Redacted("wrong"), from: address) }
                        == .invalidCredentials, "\(name)")
            }
            #expect(rig.hasher.hashesRun == 6)
            #expect(try await rig.events().filter { $0 == "LOGIN_FAILED" }.count == 5)
        }
    }

    @Test(
        "an account that is pending or disabled does not get in, and hears so only with its password"
    )
    func inactive() async throws {
        try await IdentityRig.with { rig in
            try await rig.user("pending", status: .pending)
            #expect(await code { _ = try await rig.login("pending") } == .userDisabled)
            #expect(
                await code { _ = try await rig.login("pending", Redacted("wrong")) }
                    == .invalidCredentials)
        }
    }

    @Test(
        "of 100 tries at one account at most 10 reach the hash, and its owner waits a quarter hour at most"
    )
    func bruteForce() async throws {
        try await IdentityRig.with { rig in
            try await rig.user("target")
            let before = rig.hasher.hashesRun
            for number in 0..<100 {
                _ = await code {
                    _ = try await rig.login(
                        "target", Redacted("wrong"), from: "198.51.100.\(number)")
                }
                rig.clock.advance(by: .seconds(1))
            }
            #expect(rig.hasher.hashesRun - before <= 10)
            #expect(await code { _ = try await rig.login("target") } == .rateLimitExceeded)
            rig.clock.advance(by: .seconds(15 * 60))
            #expect(await code { _ = try await rig.login("target") } == nil)
        }
    }

    @Test("of 100 names tried from one address, at once or over time, at most 10 reach the hash")
    func spraying() async throws {
        try await IdentityRig.with { rig in
            await withTaskGroup(of: Void.self) { group in
                for number in 0..<50 {
                    group.addTask {
                        _ = await code {
                            _ = try await rig.login("user\(number)", Redacted("Summer2026!!"))
                        }
                    }
                }
            }
            for number in 50..<100 {
                _ = await code {
                    _ = try await rig.login("user\(number)", Redacted("Summer2026!!"))
                }
                rig.clock.advance(by: .seconds(1))
            }
            #expect(rig.hasher.hashesRun <= 10)
        }
    }

    @Test("a refresh token is good once, and the second use of one ends the session of both")
    func theft() async throws {
        try await IdentityRig.with { rig in
            try await rig.user("amina")
            let first = try await rig.login("amina")
            let stolen = try #require(first.refreshToken)
            let ended = Mutex<[Revocation]>([])
            rig.revocations.onRevocation { revocation in
                ended.withLock { $0.append(revocation) }
            }
            rig.clock.advance(by: .seconds(60))
            let second = try await rig.identity.refresh(stolen, from: RequestOrigin())
            _ = try await rig.authenticate(second)
            rig.clock.advance(by: .seconds(1))
            let again = await code {
                _ = try await rig.identity.refresh(stolen, from: RequestOrigin())
            }
            #expect(again == .sessionRevoked)
            #expect(await code { _ = try await rig.authenticate(second) } == .sessionRevoked)
            #expect(await code { _ = try await rig.authenticate(first) } == .sessionRevoked)
            let token = try #require(second.refreshToken)
            #expect(
                await code { _ = try await rig.identity.refresh(token, from: RequestOrigin()) }
                    == .sessionRevoked)
            #expect(ended.withLock { $0.count } == 1)
            #expect(try await rig.events().last == "TOKEN_REUSED")
            // The account itself is not the thief's.
            #expect(
                await code { _ = try await rig.authenticate(try await rig.login("amina")) } == nil)
        }
    }

    @Test("of two uses of one refresh token at once, one is a reuse")
    func race() async throws {
        try await IdentityRig.with { rig in
            try await rig.user("amina")
            let token = try #require(try await rig.login("amina").refreshToken)
            let outcomes = await withTaskGroup(of: MarsadError.Code?.self) { group in
                for _ in 0..<2 {
                    group.addTask {
                        await code {
                            _ = try await rig.identity.refresh(token, from: RequestOrigin())
                        }
                    }
                }
                return await group.reduce(into: [MarsadError.Code?]()) { $0.append($1) }
            }
            #expect(outcomes.contains(.sessionRevoked))
            #expect(try await rig.events().contains("TOKEN_REUSED"))
        }
    }

    @Test("no refresh token is in the database's files, nor a password")
    func atRest() async throws {
        try await IdentityRig.with { rig in
            try await rig.user("amina")
            let token = try #require(try await rig.login("amina").refreshToken)
            for name in try FileManager.default.contentsOfDirectory(atPath: rig.folder.path) {
                let path = rig.folder.appendingPathComponent(name)
                guard let data = try? Data(contentsOf: path) else { continue }
                for secret in [token.reveal(), IdentityRig.password.reveal()] {
                    #expect(data.range(of: Data(secret.utf8)) == nil, "\(name)")
                }
            }
        }
    }

    @Test("a refresh token ends after twelve quiet hours; a logout ends the session at once")
    func ends() async throws {
        try await IdentityRig.with { rig in
            try await rig.user("amina")
            let grant = try await rig.login("amina")
            let caller = try await rig.authenticate(grant)
            try await rig.identity.logout(caller)
            #expect(await code { _ = try await rig.authenticate(grant) } == .sessionRevoked)
            let quiet = try #require(try await rig.login("amina").refreshToken)
            rig.clock.advance(by: .seconds(12 * 3600))
            #expect(
                await code { _ = try await rig.identity.refresh(quiet, from: RequestOrigin()) }
                    == .tokenExpired)
            #expect(
                await code {
                    _ = try await rig.identity.refresh(Redacted("made up"), from: RequestOrigin())
                } == .invalidToken)
        }
    }
}
