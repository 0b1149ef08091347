// A signed token taken apart, before any key is chosen.
// SPDX-License-Identifier: Apache-2.0

package import JSON

/// A JWS in compact form (RFC 7515 §7.1) whose header is one that we would write ourselves.
///
/// Nothing here is authentic until the signature over `signingInput` has been checked with the key
/// that `keyID` names.
package struct SignedToken: Sendable {
    /// No token of ours comes near it; a larger one costs its sender nothing and us a parse.
    package static let maxBytes = 8192
    /// The only algorithm (RFC 7518 §3.3).
    package static let algorithm = "RS256"

    package let type: String
    package let keyID: String
    package let claims: [String: JSONValue]
    package let signingInput: [UInt8]
    package let signature: [UInt8]

    /// Certificate thumbprints are written by some providers and mean nothing here; every other
    /// parameter beyond the three of ours could choose the key or change the reading.
    private static let knownParameters: Set<String> = ["alg", "typ", "kid", "x5t", "x5t#S256"]

    /// - Parameter types: the values of `typ` that the caller takes (RFC 8725 §3.11).
    package init(parsing text: String, types: Set<String>) throws(JOSEError) {
        let bytes = Array(text.utf8.prefix(Self.maxBytes + 1))
        guard bytes.count <= Self.maxBytes else { throw .tooLarge }
        let parts = bytes.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
        guard parts.count == 3 else { throw .malformed("not three parts") }
        let header = try Self.object(parts[0])
        for name in header.keys.sorted() where !Self.knownParameters.contains(name) {
            throw .forbiddenHeader(name)
        }
        guard header["alg"]?.text == Self.algorithm else { throw .algorithm }
        guard let type = header["typ"]?.text, types.contains(type) else { throw .type }
        guard let keyID = header["kid"]?.text, Self.isKeyID(keyID) else { throw .keyID }
        guard let signature = Base64URL.decode(parts[2]), (256...1024).contains(signature.count)
        else { throw .malformed("signature") }
        claims = try Self.object(parts[1])
        self.type = type
        self.keyID = keyID
        self.signature = signature
        signingInput = Array(bytes[..<parts[1].endIndex])
    }

    /// What is to be signed, without the signature.
    package static func signingInput(
        type: String, keyID: String, claims: [String: JSONValue]
    ) -> String {
        let header = JSONValue.object([
            "alg": .string(algorithm), "typ": .string(type), "kid": .string(keyID),
        ])
        return Base64URL.encode(header.serialized.utf8) + "."
            + Base64URL.encode(JSONValue.object(claims).serialized.utf8)
    }

    /// Letters, digits and the few marks that key names have: safe in a log and a file name.
    package static func isKeyID(_ text: String) -> Bool {
        (1...128).contains(text.utf8.count)
            && text.utf8.allSatisfy {
                (48...57).contains($0) || (65...90).contains($0) || (97...122).contains($0)
                    || $0 == UInt8(ascii: "-") || $0 == UInt8(ascii: "_") || $0 == UInt8(ascii: ".")
            } && !text.contains("..")
    }

    private static func object(_ part: ArraySlice<UInt8>) throws(JOSEError) -> [String: JSONValue] {
        guard let bytes = Base64URL.decode(part) else { throw .malformed("not base64url") }
        guard let members = try JSONValue(parsingSigned: bytes).members else {
            throw .malformed("not an object")
        }
        return members
    }
}
