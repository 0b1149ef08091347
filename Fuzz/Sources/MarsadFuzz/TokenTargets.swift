// The fuzz target of signed tokens and published keys.
// SPDX-License-Identifier: Apache-2.0

import JOSE
import JSON
import NIOCore

/// The input as a token, as the object inside one, and as a key set.
func fuzzToken(_ input: ByteBuffer) {
    let bytes = Array(input.readableBytesView)
    let text = String(decoding: bytes, as: UTF8.self)
    let types: Set<String> = ["at+jwt", "JWT"]
    if let token = try? SignedToken(parsing: text, types: types) { check(token.claims) }
    if let value = try? JSONValue(parsing: bytes, depth: 8, count: 4096) {
        let again = try? JSONValue(
            parsing: Array(value.serialized.utf8), depth: 8, count: 4096)
        precondition(again == value, "what was read can be written and read again")
        check(value.members ?? [:])
    }
    if let set = try? KeySet(parsing: bytes) {
        precondition((try? KeySet(parsing: Array(set.serialized.utf8))) == set)
    }
    if let decoded = Base64URL.decode(bytes) {
        precondition(Base64URL.encode(decoded) == text, "a value has one text")
    }
    // The parts of a token, without whoever mutates having to know base64.
    let parts = text.split(separator: "\n", maxSplits: 1)
    guard parts.count == 2 else { return }
    let made =
        Base64URL.encode(parts[0].utf8) + "." + Base64URL.encode(parts[1].utf8) + "."
        + Base64URL.encode([UInt8](repeating: 1, count: 256))
    if let token = try? SignedToken(parsing: made, types: types) { check(token.claims) }
}

private func check(_ claims: [String: JSONValue]) {
    guard let claims = try? TokenClaims(claims) else { return }
    for now in [0, 1_800_000_000, Int64.max - 60] {
        try? claims.check(issuer: claims.issuer, audience: "marsad", at: now)
    }
}

let tokenSeeds: [ByteBuffer] = [
    #"{"alg":"RS256","typ":"at+jwt","kid":"k"}"# + "\n"
        + #"{"iss":"i","aud":["marsad"],"sub":"s","exp":1800000000,"iat":1,"nbf":1.5,"jti":"j"}"#,
    #"{"keys":[{"kty":"RSA","kid":"k","use":"sig","alg":"RS256","e":"AQAB","n":""#
        + Base64URL.encode([UInt8](repeating: 0xAB, count: 256)) + #""}]}"#,
    #"{"a":[null,true,-0.5e+1,"\u0628\ud83d\udea8\"\\"],"b":{}}"#,
].map { ByteBuffer(string: $0) }
