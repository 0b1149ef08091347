// Tokens of an external provider: its keys are fetched when they are needed, and not more often.
// SPDX-License-Identifier: Apache-2.0

import CryptoExtras
import Domain
import Foundation
import Identity
import JOSE
import JSON
import Primitives
import Synchronization
import Testing

@Suite struct ExternalTokenTests {
    /// A provider whose key set a test changes, and which counts how often it is asked.
    final class Provider: Sendable {
        let key: _RSA.Signing.PrivateKey
        private let state = Mutex((keyIDs: ["idp-1"], fetches: 0, isDown: false))

        init() throws { key = try _RSA.Signing.PrivateKey(keySize: .bits2048) }

        var fetches: Int { state.withLock { $0.fetches } }
        func publish(_ keyIDs: [String]) { state.withLock { $0.keyIDs = keyIDs } }
        func fail() { state.withLock { $0.isDown = true } }

        func fetch() throws -> [UInt8] {
            let (keyIDs, isDown) = state.withLock { state in
                state.fetches += 1
                return (state.keyIDs, state.isDown)
            }
            if isDown { throw MarsadError(.internalError) }
            let numbers = try key.publicKey.getKeyPrimitives()
            let keys = keyIDs.map {
                RSAPublicParameters(
                    keyID: $0, modulus: Array(numbers.modulus),
                    exponent: Array(numbers.publicExponent))
            }
            return Array(KeySet(keys: keys).serialized.utf8)
        }

        func token(_ keyID: String = "idp-1", _ changes: [String: JSONValue?] = [:]) throws
            -> String
        {
            let now = TestWorld.start.microseconds / 1_000_000
            return try TokenForge(
                key: key, keyID: keyID,
                claims: [
                    "iss": "https://idp.example", "aud": "marsad", "sub": "f00d",
                    "preferred_username": "Outsider", "iat": .number(String(now)),
                    "exp": .number(String(now + 86_400)),
                    // What the token says of permissions counts for nothing.
                    "permissions": .array(["iam:admin", "camera:*:view"]),
                ]
            ).token(changes)
        }
    }

    /// - Parameter clock: what the provider's keys grow old by; `nil` for the rig's own.
    private func with(
        _ provider: Provider, clock: TestWorld? = nil,
        _ body: (IdentityRig) async throws -> Void
    ) async throws {
        try await IdentityRig.with(
            external: { world in
                ExternalTokens(
                    provider: .init(issuer: "https://idp.example", audience: "marsad"),
                    world: clock?.world ?? world, fetch: { try provider.fetch() })
            }, body)
    }

    private func authenticate(_ rig: IdentityRig, _ token: String) async -> MarsadError.Code? {
        await code { _ = try await rig.identity.authenticate(token, from: RequestOrigin()) }
    }

    @Test(
        "a user that is known here gets in with the provider's token, and may what its groups may")
    func known() async throws {
        let provider = try Provider()
        try await with(provider) { rig in
            let token = try provider.token()
            #expect(await authenticate(rig, token) == .invalidToken)
            let user = try await rig.user("outsider", origin: .external)
            let caller = try await rig.identity.authenticate(token, from: RequestOrigin())
            #expect(caller.actor == .user(user.id))
            #expect(!caller.may(.administerUsers))
            #expect(caller.visibility.sources == [Source("METRO")].compactMap { $0 })
            #expect(provider.fetches == 1)
            rig.clock.advance(by: .milliseconds(1))
            try await rig.identity.setStatus(user.id, .disabled, by: IdentityRig.program)
            #expect(await authenticate(rig, token) == .userDisabled)
        }
    }

    @Test("a local account cannot be entered by the provider's word")
    func local() async throws {
        let provider = try Provider()
        try await with(provider) { rig in
            let user = try await rig.user("outsider")
            #expect(await authenticate(rig, try provider.token()) == .invalidToken)
            let byID = try provider.token("idp-1", ["sub": .string(user.id.rawValue)])
            #expect(await authenticate(rig, byID) == .invalidToken)
        }
    }

    @Test("another issuer's or audience's token is refused, and no key is fetched for the first")
    func foreign() async throws {
        let provider = try Provider()
        try await with(provider) { rig in
            try await rig.user("outsider", origin: .external)
            #expect(
                await authenticate(rig, try provider.token("idp-1", ["iss": "https://x"]))
                    == .invalidToken)
            #expect(provider.fetches == 0)
            #expect(
                await authenticate(rig, try provider.token("idp-1", ["aud": "else"]))
                    == .invalidToken)
            let other = try Provider()
            #expect(await authenticate(rig, try other.token()) == .invalidToken)
        }
    }

    @Test("an unknown key asks the provider once, however many tokens name it")
    func unknownKeys() async throws {
        let provider = try Provider()
        try await with(provider) { rig in
            try await rig.user("outsider", origin: .external)
            #expect(await authenticate(rig, try provider.token()) == nil)
            for number in 0..<20 {
                #expect(
                    await authenticate(rig, try provider.token("idp-x\(number)")) == .invalidToken)
            }
            #expect(provider.fetches == 1)
        }
    }

    @Test("a provider that is down lets in nobody whose key is not known yet")
    func down() async throws {
        let provider = try Provider()
        provider.fail()
        try await with(provider) { rig in
            try await rig.user("outsider", origin: .external)
            #expect(await authenticate(rig, try provider.token()) == .invalidToken)
        }
    }

    private func next(of stream: AsyncStream<String>) async -> String? {
        for await text in stream { return text }
        return nil
    }

    /// What became of fetches, as text, in order.
    private func reports() -> (AsyncStream<String>, @Sendable (KeyFetch) -> Void) {
        let (stream, continuation) = AsyncStream<String>.makeStream()
        return (
            stream,
            { fetch in
                if case .taken(let keys) = fetch { continuation.yield("taken \(keys)") }
                if case .failed = fetch { continuation.yield("failed") }
            }
        )
    }

    @Test("a new key of the provider is taken when its first token comes, and the old one goes")
    func rotation() async throws {
        let provider = try Provider()
        let clock = TestWorld()
        try await with(provider, clock: clock) { rig in
            try await rig.user("outsider", origin: .external)
            #expect(await authenticate(rig, try provider.token()) == nil)
            provider.publish(["idp-2"])
            #expect(await authenticate(rig, try provider.token("idp-2")) == .invalidToken)
            clock.advance(by: .seconds(31))
            #expect(await authenticate(rig, try provider.token("idp-2")) == nil)
            #expect(await authenticate(rig, try provider.token("idp-1")) == .invalidToken)
        }
    }

    @Test("a key that was withdrawn while nobody came opens nothing, not even once")
    func withdrawn() async throws {
        let provider = try Provider()
        let clock = TestWorld()
        try await with(provider, clock: clock) { rig in
            try await rig.user("outsider", origin: .external)
            #expect(await authenticate(rig, try provider.token()) == nil)
            provider.publish(["idp-2"])
            clock.advance(by: .seconds(7201))
            #expect(await authenticate(rig, try provider.token()) == .invalidToken)
            #expect(await authenticate(rig, try provider.token("idp-2")) == nil)
        }
    }

    @Test("while an old set is fetched anew, and when that fails, the known keys go on")
    func refresh() async throws {
        let provider = try Provider()
        let clock = TestWorld()
        let (release, open) = AsyncStream<Void>.makeStream()
        let gate = Task { for await _ in release {} }
        let (stream, report) = reports()
        try await IdentityRig.with(
            external: { _ in
                ExternalTokens(
                    provider: .init(issuer: "https://idp.example", audience: "marsad"),
                    world: clock.world,
                    fetch: {
                        if provider.fetches > 0 { await gate.value }
                        return try provider.fetch()
                    }, report: report)
            }
        ) { rig in
            try await rig.user("outsider", origin: .external)
            #expect(await authenticate(rig, try provider.token()) == nil)
            #expect(await next(of: stream) == "taken 1")
            provider.publish(["idp-1", "idp-2"])
            clock.advance(by: .seconds(3601))
            // The provider hangs: were this to wait for it, the test would not end.
            #expect(await authenticate(rig, try provider.token()) == nil)
            open.finish()
            #expect(await next(of: stream) == "taken 2")
            provider.fail()
            clock.advance(by: .seconds(3601))
            #expect(await authenticate(rig, try provider.token()) == nil)
            #expect(await next(of: stream) == "failed")
            #expect(await authenticate(rig, try provider.token("idp-2")) == nil)
        }
    }

    @Test(
        "what is no set of keys is a failure",
        arguments: ["", "{}", "[]", #"{"keys": []}"#, "<html>", #"{"keys": [{"kty": "RSA"}]}"#])
    func malformed(text: String) async throws {
        let provider = try Provider()
        let (stream, report) = reports()
        try await IdentityRig.with(
            external: { world in
                ExternalTokens(
                    provider: .init(issuer: "https://idp.example", audience: "marsad"),
                    world: world, fetch: { Array(text.utf8) }, report: report)
            }
        ) { rig in
            try await rig.user("outsider", origin: .external)
            #expect(await authenticate(rig, try provider.token()) == .invalidToken)
            #expect(await next(of: stream) == "failed")
        }
    }
}
