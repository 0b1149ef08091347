// The registered claims of a token, and when they hold.
// SPDX-License-Identifier: Apache-2.0

package import JSON

/// The claims that every token must make (RFC 7519 §4.1), read once. Times are seconds since 1970.
package struct TokenClaims: Sendable {
    /// How far the clocks of two machines may be apart.
    package static let leewaySeconds: Int64 = 30

    package let issuer: String
    package let audiences: [String]
    package let subject: String
    package let expiresAt: Int64
    package let issuedAt: Int64
    package let notBefore: Int64?
    package let id: String?

    package init(_ claims: [String: JSONValue]) throws(JOSEError) {
        issuer = try Self.text(claims, "iss")
        subject = try Self.text(claims, "sub")
        expiresAt = try Self.time(claims, "exp")
        issuedAt = try Self.time(claims, "iat")
        notBefore = claims["nbf"] == nil ? nil : try Self.time(claims, "nbf")
        id = claims["jti"] == nil ? nil : try Self.text(claims, "jti")
        switch claims["aud"] {
        case .string(let audience): audiences = [audience]
        case .array(let values):
            let texts = values.compactMap(\.text)
            guard texts.count == values.count else { throw .claim("aud") }
            audiences = texts
        default: throw .claim("aud")
        }
    }

    /// Throws unless the token is from `issuer`, for `audience`, and valid at `now` seconds.
    package func check(issuer: String, audience: String, at now: Int64) throws(JOSEError) {
        guard self.issuer == issuer else { throw .issuer }
        guard audiences.contains(audience) else { throw .audience }
        guard now < expiresAt + Self.leewaySeconds else { throw .expired }
        guard issuedAt <= now + Self.leewaySeconds,
            (notBefore ?? issuedAt) <= now + Self.leewaySeconds
        else { throw .notYetValid }
    }

    private static func text(
        _ claims: [String: JSONValue], _ name: String
    ) throws(JOSEError) -> String {
        guard let text = claims[name]?.text, (1...512).contains(text.utf8.count) else {
            throw .claim(name)
        }
        return text
    }

    /// Bounded to the years until 2200, so that no arithmetic with it can overflow.
    private static func time(
        _ claims: [String: JSONValue], _ name: String
    ) throws(JOSEError) -> Int64 {
        guard let seconds = claims[name]?.integer, (0...7_258_118_400).contains(seconds) else {
            throw .claim(name)
        }
        return seconds
    }
}
