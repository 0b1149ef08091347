// Tokens taken apart: the vectors of the RFCs, and everything that is not a token of ours.
// SPDX-License-Identifier: Apache-2.0

import JOSE
import JSON
import Primitives
import Testing

@Suite struct SignedTokenTests {
    private static let types: Set<String> = ["at+jwt"]

    /// Three parts with a signature of the right length.
    static func token(header: String, claims: String = "{}", signatureBytes: Int = 256) -> String {
        [Array(header.utf8), Array(claims.utf8), [UInt8](repeating: 7, count: signatureBytes)]
            .map { Base64URL.encode($0) }.joined(separator: ".")
    }

    private static let header = #"{"alg":"RS256","typ":"at+jwt","kid":"k1"}"#

    @Test("takes a token of ours apart, and signs over its first two parts")
    func good() throws {
        let text = Self.token(header: Self.header, claims: #"{"sub":"x","n":1.5}"#)
        let token = try SignedToken(parsing: text, types: Self.types)
        #expect(token.keyID == "k1")
        #expect(token.type == "at+jwt")
        #expect(token.claims == ["sub": "x", "n": .number("1.5")])
        #expect(token.signature == [UInt8](repeating: 7, count: 256))
        let parts = text.split(separator: ".")
        #expect(String(decoding: token.signingInput, as: UTF8.self) == parts[0] + "." + parts[1])
    }

    @Test(
        "refuses each header that is not exactly ours",
        arguments: [
            (#"{"alg":"none","typ":"at+jwt","kid":"k1"}"#, JOSEError.algorithm),
            (#"{"alg":"NONE","typ":"at+jwt","kid":"k1"}"#, .algorithm),
            (#"{"alg":"HS256","typ":"at+jwt","kid":"k1"}"#, .algorithm),
            (#"{"alg":"RS512","typ":"at+jwt","kid":"k1"}"#, .algorithm),
            (#"{"alg":"PS256","typ":"at+jwt","kid":"k1"}"#, .algorithm),
            (#"{"alg":["RS256"],"typ":"at+jwt","kid":"k1"}"#, .algorithm),
            (#"{"typ":"at+jwt","kid":"k1"}"#, .algorithm),
            (#"{"alg":"RS256","typ":"JWT","kid":"k1"}"#, .type),
            (#"{"alg":"RS256","kid":"k1"}"#, .type),
            (#"{"alg":"RS256","typ":"at+jwt"}"#, .keyID),
            (#"{"alg":"RS256","typ":"at+jwt","kid":""}"#, .keyID),
            (#"{"alg":"RS256","typ":"at+jwt","kid":"../../etc/passwd"}"#, .keyID),
            (#"{"alg":"RS256","typ":"at+jwt","kid":"k1' OR 1=1"}"#, .keyID),
            (#"{"alg":"RS256","typ":"at+jwt","kid":7}"#, .keyID),
            (
                #"{"alg":"RS256","typ":"at+jwt","kid":"k1","jku":"https://x"}"#,
                .forbiddenHeader("jku")
            ),
            (#"{"alg":"RS256","typ":"at+jwt","kid":"k1","jwk":{}}"#, .forbiddenHeader("jwk")),
            (#"{"alg":"RS256","typ":"at+jwt","kid":"k1","x5u":"u"}"#, .forbiddenHeader("x5u")),
            (#"{"alg":"RS256","typ":"at+jwt","kid":"k1","x5c":[]}"#, .forbiddenHeader("x5c")),
            (
                #"{"alg":"RS256","typ":"at+jwt","kid":"k1","crit":["b64"]}"#,
                .forbiddenHeader("crit")
            ),
            (#"{"alg":"RS256","typ":"at+jwt","kid":"k1","alg":"none"}"#, .duplicateName("alg")),
            (#"{"alg":"RS256","typ":"at+jwt","kid":"k1","a\u006cg":"no"}"#, .duplicateName("alg")),
        ])
    func headers(_ header: String, _ expected: JOSEError) {
        #expect(throws: expected) {
            try SignedToken(parsing: Self.token(header: header), types: Self.types)
        }
    }

    @Test("refuses what is not three canonical parts of bounded size")
    func shapes() {
        let good = Self.token(header: Self.header)
        let parts = good.split(separator: ".").map(String.init)
        let bad = [
            "", ".", "..", "...", good + ".", "." + good, parts[0] + "." + parts[1],
            good + "." + parts[2], good + "=", good + " ", " " + good, good + "\n",
            parts[0] + "=." + parts[1] + "." + parts[2],
            parts[0] + "." + parts[1] + ".", parts[0] + ".." + parts[2],
            good.replacingLast("BwcHBw", with: "BwcHB+"),
            String(good.dropLast()) + "x",
            Self.token(header: Self.header, signatureBytes: 255),
            Self.token(header: "[]"), Self.token(header: "{"), Self.token(header: "\u{FEFF}{}"),
            Self.token(header: Self.header + "{}"), Self.token(header: Self.header, claims: "1"),
            Self.token(header: Self.header, claims: #"{"a":1,"a":2}"#),
            Self.token(header: Self.header, claims: #"{"a":"\ud800"}"#),
            Self.token(header: Self.header, claims: #"{"a":"\u0000"}"#),
            Self.token(header: Self.header, claims: String(repeating: "[", count: 200)),
            Self.token(
                header: Self.header, claims: "{\"a\":\"" + String(repeating: "x", count: 8000)),
            String(repeating: "a", count: 1 << 20),
        ]
        for text in bad {
            #expect(throws: JOSEError.self, "\(text.prefix(80))") {
                try SignedToken(parsing: text, types: Self.types)
            }
        }
    }

    @Test("neither truncations nor mutations of a token trap")
    func malformed() {
        let good = Array(
            Self.token(header: Self.header, claims: #"{"sub":"x","exp":1,"aud":["a"]}"#).utf8)
        for count in 0..<good.count {
            _ = try? SignedToken(
                parsing: String(decoding: good[..<count], as: UTF8.self), types: Self.types)
        }
        var random = SeededRandom(seed: 11)
        for _ in 0..<3000 {
            var bytes = good
            for _ in 0..<Int.random(in: 1...8, using: &random) {
                bytes[Int.random(in: 0..<bytes.count, using: &random)] = UInt8.random(
                    in: 0...255, using: &random)
            }
            let text = String(decoding: bytes, as: UTF8.self)
            if let token = try? SignedToken(parsing: text, types: Self.types) {
                _ = try? TokenClaims(token.claims)
            }
        }
    }
}

extension String {
    fileprivate func replacingLast(_ old: String, with new: String) -> String {
        hasSuffix(old) ? String(dropLast(old.count)) + new : self + new
    }
}

@Suite struct TokenClaimsTests {
    private func claims(_ changes: [String: JSONValue?] = [:]) throws -> TokenClaims {
        var values: [String: JSONValue] = [
            "iss": "me", "aud": "them", "sub": "x", "iat": 1000, "nbf": 1000, "exp": 2000,
        ]
        for (name, value) in changes { values[name] = value }
        return try TokenClaims(values)
    }

    @Test("holds from 30 seconds before its beginning until 30 seconds after its end")
    func times() throws {
        let claims = try claims()
        for now in [970, 1000, 2000, 2029] as [Int64] {
            try claims.check(issuer: "me", audience: "them", at: now)
        }
        #expect(throws: JOSEError.notYetValid) {
            try claims.check(issuer: "me", audience: "them", at: 969)
        }
        #expect(throws: JOSEError.expired) {
            try claims.check(issuer: "me", audience: "them", at: 2030)
        }
    }

    @Test("is only for whom it names")
    func parties() throws {
        #expect(throws: JOSEError.issuer) {
            try claims().check(issuer: "you", audience: "them", at: 1500)
        }
        #expect(throws: JOSEError.audience) {
            try claims().check(issuer: "me", audience: "thems", at: 1500)
        }
        try claims(["aud": .array(["a", "them"])]).check(issuer: "me", audience: "them", at: 1500)
    }

    @Test("refuses claims that are missing or of another type")
    func types() {
        for name in ["iss", "aud", "sub", "iat", "exp"] {
            #expect(throws: JOSEError.claim(name)) { try claims([name: nil]) }
            #expect(throws: JOSEError.claim(name)) { try claims([name: .some(JSONValue.null)]) }
        }
        for time in ["-1", "1e9", "99999999999999999999", "7258118401", "9223372036854775807"] {
            #expect(throws: JOSEError.claim("exp"), "\(time)") {
                try claims(["exp": .number(time)])
            }
        }
        #expect(throws: JOSEError.claim("exp")) { try claims(["exp": "2000"]) }
        #expect(throws: JOSEError.claim("aud")) { try claims(["aud": .array([1])]) }
    }

    @Test("reads the example of RFC 7519 §3.1, fractions of seconds included")
    func example() throws {
        let text =
            "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"
        let bytes = try #require(Base64URL.decode(text.utf8))
        let value = try JSONValue(parsing: bytes, depth: 8, count: 100)
        #expect(value.members?["iss"] == "joe")
        #expect(value.members?["exp"]?.integer == 1_300_819_380)
        #expect(value.members?["http://example.com/is_root"] == .bool(true))
        #expect(JSONValue.number("1300819380.9").integer == 1_300_819_380)
    }
}

@Suite struct KeySetTests {
    @Test("Base64URL decodes exactly what it encodes (RFC 7515 Appendix C, RFC 4648 §10)")
    func base64() {
        #expect(Base64URL.encode([3, 236, 255, 224, 193]) == "A-z_4ME")
        #expect(Base64URL.decode("A-z_4ME".utf8) == [3, 236, 255, 224, 193])
        for count in 0..<40 {
            let bytes = (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 37) }
            #expect(Base64URL.decode(Base64URL.encode(bytes).utf8) == bytes)
        }
        for text in ["A", "A-z_4MF", "A-z_4ME=", "A+z/4ME", "AB\n", "é"] {
            #expect(Base64URL.decode(text.utf8) == nil, "\(text)")
        }
    }

    @Test("a key set keeps the keys that can check a token of ours, and passes over the others")
    func keySets() throws {
        let n = Base64URL.encode([UInt8](repeating: 0xAB, count: 256))
        let text = """
            {"keys":[
            {"kty":"RSA","kid":"good","use":"sig","alg":"RS256","n":"\(n)","e":"AQAB"},
            {"kty":"RSA","kid":"plain","n":"\(n)","e":"AQAB","x5c":["…"]},
            {"kty":"EC","kid":"curve","crv":"P-256"},
            {"kty":"RSA","kid":"encryption","use":"enc","n":"\(n)","e":"AQAB"},
            {"kty":"RSA","kid":"other","alg":"PS256","n":"\(n)","e":"AQAB"},
            {"kty":"RSA","kid":"small","n":"AQAB","e":"AQAB"},
            {"kty":"RSA","kid":"../x","n":"\(n)","e":"AQAB"},
            {"kty":"RSA","n":"\(n)","e":"AQAB"}]}
            """
        let set = try KeySet(parsing: Array(text.utf8))
        #expect(set.keys.map(\.keyID) == ["good", "plain"])
        #expect(try KeySet(parsing: Array(set.serialized.utf8)) == set)
        let twice = text.replacing("plain", with: "good")
        #expect(throws: JOSEError.duplicateName("kid")) {
            try KeySet(parsing: Array(twice.utf8))
        }
        #expect(throws: JOSEError.self) { try KeySet(parsing: Array("{}".utf8)) }
    }
}
