// Tokens of an external identity provider, believed by the keys at its JWKS address.
// SPDX-License-Identifier: Apache-2.0

import Crypto
import CryptoExtras
package import Domain
import Foundation
import JOSE
import JSON
import Primitives

/// What became of fetching a provider's keys.
package enum KeyFetch: Sendable {
    case taken(keys: Int)
    /// The keys that were known stay.
    case failed(any Error)
}

/// Checks tokens of one configured provider. Keys are fetched when a name is unknown or the set is an
/// hour old; while the provider cannot be reached, the known ones stay.
package actor ExternalTokens {
    /// What the provider must be; nothing of it is taken from a token.
    package struct Provider: Sendable {
        package var issuer: String
        package var audience: String

        package init(issuer: String, audience: String) {
            self.issuer = issuer
            self.audience = audience
        }
    }

    struct Token: Sendable {
        var subject: String
        var loginID: LoginID?
        var issuedAt: WallTime
        var expiresAt: WallTime
    }

    /// Reads the bytes at the provider's JWKS address; bounded in size and time by whoever gives it.
    package typealias Fetch = @Sendable () async throws -> [UInt8]

    /// A larger key set is not parsed.
    package static let keySetBytes = KeySet.maxBytes

    /// Of their types, what providers write: `JWT` mostly, `at+jwt` by RFC 9068.
    private static let types: Set<String> = ["JWT", "at+jwt"]

    private let provider: Provider
    private let fetch: Fetch
    private let report: @Sendable (KeyFetch) -> Void
    private let world: World
    private var keys: [String: RSAPublicParameters] = [:]
    private var fetchedAt: Instant?
    private var triedAt: Instant?
    private var fetching: Task<Void, Never>?

    package init(
        provider: Provider, world: World, fetch: @escaping Fetch,
        report: @escaping @Sendable (KeyFetch) -> Void = { _ in }
    ) {
        self.provider = provider
        self.world = world
        self.fetch = fetch
        self.report = report
    }

    /// Whether a token says that it is the provider's: only then are its keys asked for.
    nonisolated func isTheirs(_ bearer: String) -> Bool {
        guard let token = try? SignedToken(parsing: bearer, types: Self.types) else { return false }
        return token.claims["iss"]?.text == provider.issuer
    }

    func verify(_ bearer: String) async throws(MarsadError) -> Token {
        do {
            let token = try SignedToken(parsing: bearer, types: Self.types)
            guard let key = await publicKey(token.keyID) else { throw JOSEError.keyID }
            guard key.verifies(token) else { throw JOSEError.malformed("signature") }
            let claims = try TokenClaims(token.claims)
            try claims.check(
                issuer: provider.issuer, audience: provider.audience,
                at: world.wallTime().microseconds / 1_000_000)
            let name = (token.claims["login_id"] ?? token.claims["preferred_username"])?.text
            return Token(
                subject: claims.subject, loginID: name.flatMap { LoginID($0) },
                issuedAt: WallTime(microseconds: claims.issuedAt * 1_000_000),
                expiresAt: WallTime(microseconds: claims.expiresAt * 1_000_000))
        } catch {
            throw MarsadError(error as? JOSEError ?? .keyID)
        }
    }

    private func publicKey(_ keyID: String) async -> _RSA.Signing.PublicKey? {
        let now = world.now()
        let isOld = fetchedAt.map { now - $0 > Limits.externalKeysAge } ?? true
        let mayTry = triedAt.map { now - $0 > Limits.externalKeysRetry } ?? true
        if keys[keyID] == nil || isOld, mayTry, fetching == nil {
            triedAt = now
            fetching = Task { await refresh(at: now) }
        }
        // Who shows a key that is known does not wait for a provider that hangs, unless the provider has
        // not been heard of for so long that it may have withdrawn the key.
        let isStale = fetchedAt.map { now - $0 > Limits.externalKeysAge * 2 } ?? true
        if keys[keyID] == nil || isStale, let fetching { await fetching.value }
        guard let parameters = keys[keyID] else { return nil }
        return try? _RSA.Signing.PublicKey(n: parameters.modulus, e: parameters.exponent)
    }

    private func refresh(at now: Instant) async {
        do {
            let set = try KeySet(parsing: try await fetch())
            guard !set.keys.isEmpty else { throw JOSEError.malformed("no keys") }
            keys = Dictionary(
                set.keys.map { ($0.keyID, $0) }, uniquingKeysWith: { first, _ in first })
            fetchedAt = now
            report(.taken(keys: keys.count))
        } catch {
            report(.failed(error))
        }
        fetching = nil
    }
}
