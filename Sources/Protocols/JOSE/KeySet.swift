// Published keys: what a provider offers at its JWKS address, and what we offer at ours.
// SPDX-License-Identifier: Apache-2.0

import JSON

/// An RSA public key for RS256, by the numbers that a JWK holds (RFC 7518 §6.3.1).
package struct RSAPublicParameters: Hashable, Sendable {
    package let keyID: String
    /// Big-endian, without leading zeros.
    package let modulus: [UInt8]
    package let exponent: [UInt8]

    package init(keyID: String, modulus: [UInt8], exponent: [UInt8]) {
        self.keyID = keyID
        self.modulus = modulus
        self.exponent = exponent
    }

    /// The members that RFC 7638 hashes for a key's thumbprint.
    package var thumbprintInput: String {
        JSONValue.object([
            "e": .string(Base64URL.encode(exponent)), "kty": "RSA",
            "n": .string(Base64URL.encode(modulus)),
        ]).serialized
    }
}

/// A JWK set (RFC 7517 §5).
package struct KeySet: Hashable, Sendable {
    package static let maxBytes = 65_536
    package static let maxKeys = 32

    package let keys: [RSAPublicParameters]

    package init(keys: [RSAPublicParameters]) { self.keys = keys }

    /// Keys of other kinds, uses and algorithms are passed over; a known name twice is refused.
    package init(parsing bytes: [UInt8]) throws(JOSEError) {
        guard bytes.count <= Self.maxBytes else { throw .tooLarge }
        guard let elements = try JSONValue(parsingSigned: bytes).members?["keys"]?.elements else {
            throw .malformed("no keys")
        }
        guard elements.count <= Self.maxKeys else { throw .tooLarge }
        keys = elements.compactMap(Self.key)
        guard Set(keys.map(\.keyID)).count == keys.count else { throw .duplicateName("kid") }
    }

    package var serialized: String {
        JSONValue.object([
            "keys": .array(
                keys.map {
                    .object([
                        "kty": "RSA", "use": "sig", "alg": .string(SignedToken.algorithm),
                        "kid": .string($0.keyID), "n": .string(Base64URL.encode($0.modulus)),
                        "e": .string(Base64URL.encode($0.exponent)),
                    ])
                })
        ]).serialized
    }

    /// 2048 to 8192 bits; the public exponent of every provider is three bytes or one.
    private static func key(_ value: JSONValue) -> RSAPublicParameters? {
        guard let members = value.members, members["kty"]?.text == "RSA",
            members["use"].map({ $0.text == "sig" }) ?? true,
            members["alg"].map({ $0.text == SignedToken.algorithm }) ?? true,
            let keyID = members["kid"]?.text, SignedToken.isKeyID(keyID),
            let n = members["n"]?.text, let e = members["e"]?.text,
            let modulus = Base64URL.decode(n.utf8), (256...1024).contains(modulus.count),
            modulus[0] != 0,
            let exponent = Base64URL.decode(e.utf8), (1...4).contains(exponent.count)
        else { return nil }
        return RSAPublicParameters(keyID: keyID, modulus: modulus, exponent: exponent)
    }
}
