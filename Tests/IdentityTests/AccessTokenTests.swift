// Access tokens: more than thirty ways in that are shut, and the one that is open.
// SPDX-License-Identifier: Apache-2.0

import Crypto
import CryptoExtras
import Domain
import Foundation
import Identity
import JOSE
import JSON
import Primitives
import Testing

/// Signs whatever a test wants with a key that the server believes.
struct TokenForge {
    let key: _RSA.Signing.PrivateKey
    var header: [String: JSONValue]
    var claims: [String: JSONValue]

    /// With the server's own key, and the claims of a token of its own.
    init(_ rig: IdentityRig, like grant: TokenGrant) throws {
        let folder = rig.folder.path + "/keys"
        let name = try #require(try FileManager.default.contentsOfDirectory(atPath: folder).max())
        key = try _RSA.Signing.PrivateKey(
            pemRepresentation: String(contentsOfFile: folder + "/" + name, encoding: .utf8))
        let token = try SignedToken(parsing: grant.accessToken.reveal(), types: ["at+jwt"])
        header = ["alg": "RS256", "typ": "at+jwt", "kid": .string(token.keyID)]
        claims = token.claims
    }

    init(key: _RSA.Signing.PrivateKey, keyID: String, claims: [String: JSONValue]) {
        self.key = key
        header = ["alg": "RS256", "typ": "JWT", "kid": .string(keyID)]
        self.claims = claims
    }

    func token(
        header headerChanges: [String: JSONValue?] = [:], _ claimChanges: [String: JSONValue?] = [:]
    ) throws -> String {
        var header = header
        var claims = claims
        for (name, value) in headerChanges { header[name] = value }
        for (name, value) in claimChanges { claims[name] = value }
        return try sign(
            JSONValue.object(header).serialized, JSONValue.object(claims).serialized)
    }

    func sign(
        _ header: String, _ claims: String,
        padding: _RSA.Signing.Padding = .insecurePKCS1v1_5
    ) throws -> String {
        let input = Base64URL.encode(header.utf8) + "." + Base64URL.encode(claims.utf8)
        let signature = try key.signature(
            for: SHA256.hash(data: Data(input.utf8)), padding: padding)
        return input + "." + Base64URL.encode(signature.rawRepresentation)
    }
}

@Suite struct AccessTokenTests {
    @Test("of more than thirty bad tokens none is taken, and the good one is")
    func badTokens() async throws {
        try await IdentityRig.with { rig in
            try await rig.user("amina")
            let grant = try await rig.login("amina")
            let forge = try TokenForge(rig, like: grant)
            let good = grant.accessToken.reveal()
            let parts = good.split(separator: ".").map(String.init)
            let now = rig.world.wallTime().microseconds / 1_000_000
            let header = JSONValue.object(forge.header).serialized
            let claims = JSONValue.object(forge.claims).serialized
            let other = try _RSA.Signing.PrivateKey(keySize: .bits2048)
            let foreign = TokenForge(
                key: other, keyID: forge.header["kid"]?.text ?? "", claims: forge.claims)
            let pem = forge.key.publicKey.pemRepresentation
            let hmac = Self.hmacToken(forge.header, claims, secret: Data(pem.utf8))
            let bad: [(String, String)] = [
                ("empty", ""), ("a dot", "."), ("none", try forge.token(header: ["alg": "none"])),
                (
                    "none without a signature",
                    Base64URL.encode(#"{"alg":"none","typ":"at+jwt","kid":"x"}"#.utf8) + "."
                        + parts[1] + "."
                ),
                ("HS256 with the public key", hmac),
                ("RS512", try forge.token(header: ["alg": "RS512"])),
                ("PS256", try forge.token(header: ["alg": "PS256"])),
                (
                    "PSS under RS256",
                    try forge.sign(header, claims, padding: .PSS)
                ),
                ("lower-case alg", try forge.token(header: ["alg": "rs256"])),
                ("no kid", try forge.token(header: ["kid": nil])),
                ("unknown kid", try forge.token(header: ["kid": "unknown"])),
                ("kid as path", try forge.token(header: ["kid": "../keys/signing.pem"])),
                ("kid as SQL", try forge.token(header: ["kid": "x' OR '1'='1"])),
                ("jku", try forge.token(header: ["jku": "https://evil.example/jwks"])),
                ("jwk", try forge.token(header: ["jwk": .object(["kty": "RSA"])])),
                ("x5u", try forge.token(header: ["x5u": "https://evil.example/c"])),
                ("crit", try forge.token(header: ["crit": .array(["exp"])])),
                ("typ JWT", try forge.token(header: ["typ": "JWT"])),
                (
                    "a reservation's type",
                    try forge.token(header: ["typ": "marsad-reservation+jwt"])
                ),
                ("a ticket's audience", try forge.token(["aud": "marsad:ws"])),
                ("no audience", try forge.token(["aud": nil])),
                ("another issuer", try forge.token(["iss": "https://evil.example"])),
                ("ended 31 s ago", try forge.token(["exp": .number(String(now - 31))])),
                ("begins in 31 s", try forge.token(["nbf": .number(String(now + 31))])),
                ("issued in 31 s", try forge.token(["iat": .number(String(now + 31))])),
                ("no end", try forge.token(["exp": nil])),
                ("end as text", try forge.token(["exp": .string(String(now + 60))])),
                ("endless", try forge.token(["exp": .number("1e300")])),
                ("no beginning", try forge.token(["nbf": nil])),
                ("nobody", try forge.token(["sub": nil])),
                ("a subject that is no id", try forge.token(["sub": "admin"])),
                (
                    "an unknown user",
                    try forge.token(["sub": "00000000-0000-4000-8000-000000000000"])
                ),
                ("a claim twice", try forge.sign(header, claims.dropLast() + #","sub":"x"}"#)),
                (
                    "a header twice",
                    try forge.sign(header.dropLast() + #","alg":"RS256"}"#, claims)
                ),
                ("another key", try foreign.token(header: ["typ": "at+jwt"])),
                ("another signature", parts[0] + "." + parts[1] + "." + Self.flipped(parts[2])),
                ("other claims", parts[0] + "." + Self.flipped(parts[1]) + "." + parts[2]),
                ("trailing dot", good + "."), ("padding", good + "="), ("a blank", good + " "),
                ("two parts", parts[0] + "." + parts[1]),
                ("1 MB", good + String(repeating: "A", count: 1 << 20)),
                ("9 KB", try forge.token(["x": .string(String(repeating: "x", count: 9000))])),
                ("refresh token", grant.refreshToken?.reveal() ?? ""),
            ]
            #expect(bad.count >= 30)
            for (name, token) in bad {
                let refusal = await code {
                    _ = try await rig.identity.authenticate(token, from: RequestOrigin())
                }
                #expect(
                    refusal == .invalidToken || refusal == .tokenExpired,
                    "\(name): \(String(describing: refusal))")
            }
            #expect(await code { _ = try await rig.authenticate(grant) } == nil)
            let again = try forge.token()
            #expect(
                await code {
                    _ = try await rig.identity.authenticate(again, from: RequestOrigin())
                } == nil, "the forge itself must be able to make a good one")
        }
    }

    @Test("no token with one bit of its signature turned is taken")
    func bitFlips() async throws {
        try await IdentityRig.with { rig in
            try await rig.user("amina")
            let grant = try await rig.login("amina")
            let parts = grant.accessToken.reveal().split(separator: ".").map(String.init)
            let signature = try #require(Base64URL.decode(parts[2].utf8))
            for bit in stride(from: 0, to: signature.count * 8, by: 41) {
                var changed = signature
                changed[bit / 8] ^= 1 << (bit % 8)
                let token = parts[0] + "." + parts[1] + "." + Base64URL.encode(changed)
                #expect(
                    await code {
                        _ = try await rig.identity.authenticate(token, from: RequestOrigin())
                    } == .invalidToken)
            }
        }
    }

    @Test("an access token ends by itself after a quarter of an hour")
    func lifetime() async throws {
        try await IdentityRig.with { rig in
            try await rig.user("amina")
            let grant = try await rig.login("amina")
            #expect(grant.expiresIn == .seconds(900))
            rig.clock.advance(by: .seconds(929))
            #expect(await code { _ = try await rig.authenticate(grant) } == nil)
            rig.clock.advance(by: .seconds(1))
            #expect(await code { _ = try await rig.authenticate(grant) } == .tokenExpired)
        }
    }

    @Test(
        "after a rotation the new key signs, and the old one is believed until its tokens are dead")
    func rotation() async throws {
        try await IdentityRig.with { rig in
            try await rig.user("amina")
            let old = try await rig.login("amina")
            let oldKey = rig.keys.currentKeyID
            rig.clock.advance(by: .seconds(60))
            try rig.keys.rotate()
            let new = try await rig.login("amina")
            #expect(rig.keys.currentKeyID != oldKey)
            #expect(rig.identity.keySet.keys.count == 2)
            _ = try await rig.authenticate(old)
            _ = try await rig.authenticate(new)
            rig.clock.advance(by: .seconds(3 * 24 * 3600))
            try rig.keys.rotate()
            #expect(!rig.identity.keySet.keys.map(\.keyID).contains(oldKey))
            #expect(rig.identity.keySet.keys.count == 2)
            // Another process with the same folder signs with, and believes, the same keys.
            let twin = try SigningKeys(folder: rig.folder.path + "/keys", world: rig.world)
            #expect(twin.keySet == rig.keys.keySet)
            #expect(twin.currentKeyID == rig.keys.currentKeyID)
            // What the other one signs with a key of its own making is believed here too.
            rig.clock.advance(by: .seconds(5))
            try twin.rotate()
            let user = try #require(LoginID("amina"))
            let elsewhere = try await rig.secondService(keys: twin).issueToken(
                for: user, lifetime: .seconds(60), by: IdentityRig.program)
            _ = try await rig.authenticate(elsewhere)
        }
    }

    @Test("an empty folder gets a first key, for its owner alone, which a second start finds")
    func firstKey() async throws {
        try await IdentityRig.with { rig in
            let folder = rig.folder.path + "/other-keys"
            let keys = try SigningKeys(folder: folder, world: rig.world)
            #expect(keys.keySet.keys.count == 1)
            let name = try #require(
                try FileManager.default.contentsOfDirectory(atPath: folder).first)
            let attributes = try FileManager.default.attributesOfItem(atPath: folder + "/" + name)
            #expect(attributes[.posixPermissions] as? Int == 0o600)
            #expect(try SigningKeys(folder: folder, world: rig.world).keySet == keys.keySet)
        }
    }

    @Test("a signing key that others may read is refused, with its name")
    func fileMode() async throws {
        try await IdentityRig.with { rig in
            let folder = rig.folder.path + "/keys"
            let name = try #require(
                try FileManager.default.contentsOfDirectory(atPath: folder).first)
            let path = folder + "/" + name
            let attributes = try FileManager.default.attributesOfItem(atPath: path)
            #expect(attributes[.posixPermissions] as? Int == 0o600)
            try FileManager.default.setAttributes(
                [.posixPermissions: 0o644], ofItemAtPath: path)
            #expect {
                _ = try SigningKeys(folder: folder, world: rig.world)
            } throws: {
                "\($0)".contains("chmod 600")
            }
        }
    }

    @Test("a token that was issued by itself acts as its user, and ends with it")
    func issued() async throws {
        try await IdentityRig.with { rig in
            let user = try await rig.user("robot")
            let name = try #require(LoginID("robot"))
            let grant = try await rig.identity.issueToken(
                for: name, lifetime: .seconds(3600), by: IdentityRig.program)
            #expect(grant.refreshToken == nil)
            let caller = try await rig.authenticate(grant)
            #expect(caller.actor == .user(user.id))
            #expect(
                await code {
                    _ = try await rig.identity.issueToken(
                        for: name, lifetime: .seconds(1), by: caller)
                } == .forbidden)
            rig.clock.advance(by: .milliseconds(1))
            try await rig.identity.setStatus(user.id, .disabled, by: IdentityRig.program)
            #expect(await code { _ = try await rig.authenticate(grant) } == .userDisabled)
        }
    }

    private static func flipped(_ text: String) -> String {
        let middle = text.index(text.startIndex, offsetBy: text.count / 2)
        let other = text[middle] == "A" ? "B" : "A"
        return text.replacingCharacters(in: middle...middle, with: other)
    }

    private static func hmacToken(
        _ header: [String: JSONValue], _ claims: String, secret: Data
    ) -> String {
        var header = header
        header["alg"] = "HS256"
        let input =
            Base64URL.encode(JSONValue.object(header).serialized.utf8) + "."
            + Base64URL.encode(claims.utf8)
        let code = HMAC<SHA256>.authenticationCode(
            for: Data(input.utf8), using: SymmetricKey(data: secret))
        return input + "." + Base64URL.encode(code)
    }
}
