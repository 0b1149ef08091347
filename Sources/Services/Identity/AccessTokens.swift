// Access tokens of our own: what they say, and who is believed.
// SPDX-License-Identifier: Apache-2.0

import Crypto
import CryptoExtras
package import Domain
import Foundation
import JOSE
import JSON
import Primitives

/// What a token is for. Each kind has a type and an audience of its own, so that none can stand in
/// for another (RFC 8725 §3.11, §3.12).
package enum TokenKind: String, Sendable, CaseIterable {
    case access
    case reservation
    case ticket

    var type: String {
        switch self {
        case .access: "at+jwt"
        case .reservation: "marsad-reservation+jwt"
        case .ticket: "marsad-ticket+jwt"
        }
    }

    var audience: String {
        switch self {
        case .access: "marsad"
        case .reservation: "marsad:live"
        case .ticket: "marsad:ws"
        }
    }
}

/// What a verified token of our own says.
struct VerifiedToken: Sendable {
    var userID: UserID
    var sessionID: String?
    var issuedAt: WallTime
    var expiresAt: WallTime
}

/// Issues and checks tokens signed by this installation.
package struct AccessTokens: Sendable {
    let keys: SigningKeys
    let issuer: String
    let world: World

    package init(keys: SigningKeys, issuer: String, world: World) {
        self.keys = keys
        self.issuer = issuer
        self.world = world
    }

    /// - Parameter sessionID: the login session that the token dies with; `nil` for one of its own.
    func issue(
        _ kind: TokenKind, for user: User, grants: [Grant], sessionID: String?, lifetime: Duration
    ) throws(MarsadError) -> (token: Redacted<String>, expiresAt: WallTime) {
        let now = world.wallTime()
        let seconds = now.microseconds / 1_000_000
        let expiry = seconds + max(1, lifetime.components.seconds)
        var claims: [String: JSONValue] = [
            "iss": .string(issuer), "aud": .string(kind.audience),
            "sub": .string(user.id.rawValue), "jti": .string(world.makeID()),
            "iat": .number(String(seconds)), "nbf": .number(String(seconds)),
            "exp": .number(String(expiry)),
            // Seconds are too coarse to tell a login before a revocation from one right after it.
            "issued_us": .number(String(now.microseconds)),
            "login_id": .string(user.loginID.rawValue),
            "display_name": .string(user.profile.displayName),
            "agency": .string(user.profile.agency.code),
            "permissions": .array(grants.map { .string($0.permission.description) }),
            "camera_sources": .array(
                (Visibility(grants: grants).sources?.map(\.rawValue) ?? ["*"])
                    .map { .string($0) }),
        ]
        claims["sid"] = sessionID.map { .string($0) }
        claims["employee_number"] = user.profile.employeeNumber.map { .string($0) }
        claims["email"] = user.profile.email.map { .string($0) }
        claims["department"] = user.profile.department.map { .string($0.code) }
        let token = try keys.sign(type: kind.type, claims: claims)
        return (token, WallTime(microseconds: expiry * 1_000_000))
    }

    /// Throws unless the token is of this kind, signed by a key of ours, and valid now.
    func verify(_ text: String, _ kind: TokenKind) throws(JOSEError) -> VerifiedToken {
        let token = try SignedToken(parsing: text, types: [kind.type])
        guard let key = keys.publicKey(token.keyID) else { throw .keyID }
        guard key.verifies(token) else { throw .malformed("signature") }
        let claims = try TokenClaims(token.claims)
        try claims.check(
            issuer: issuer, audience: kind.audience, at: world.wallTime().microseconds / 1_000_000)
        guard let userID = UserID(claims.subject) else { throw .claim("sub") }
        guard claims.notBefore != nil else { throw .claim("nbf") }
        guard let issued = token.claims["issued_us"].flatMap(Self.microseconds) else {
            throw .claim("issued_us")
        }
        let session = token.claims["sid"]?.text
        return VerifiedToken(
            userID: userID, sessionID: session, issuedAt: WallTime(microseconds: issued),
            expiresAt: WallTime(microseconds: claims.expiresAt * 1_000_000))
    }

    private static func microseconds(_ value: JSONValue) -> Int64? {
        guard case .number(let text) = value, let number = Int64(text),
            (0...7_258_118_400_000_000).contains(number)
        else { return nil }
        return number
    }
}

extension _RSA.Signing.PublicKey {
    /// RS256 over the token's first two parts (RFC 7515 §5.2).
    func verifies(_ token: SignedToken) -> Bool {
        isValidSignature(
            _RSA.Signing.RSASignature(rawRepresentation: token.signature),
            for: SHA256.hash(data: token.signingInput), padding: .insecurePKCS1v1_5)
    }
}

extension Visibility {
    /// What grants let see: the cameras that may be watched live, played back or found in clips.
    init(grants: [Grant]) {
        self.init(scopes: Set(grants.compactMap(\.permission.scope)))
    }
}

extension MarsadError {
    /// What a caller hears of a refused token: never which part of it was wrong.
    init(_ refusal: JOSEError) {
        self.init(refusal == .expired ? .tokenExpired : .invalidToken)
    }
}
