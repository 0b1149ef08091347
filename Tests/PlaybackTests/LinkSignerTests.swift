// Links: good for one path, session, camera and time, and for nothing else.
// SPDX-License-Identifier: Apache-2.0

import Domain
import Playback
import Primitives
import Testing

@Suite struct LinkSignerTests {
    private static let now = WallTime(microseconds: 1_748_736_000_000_000)
    private static let expiry = now + .seconds(300)
    private let signer = LinkSigner(key: [UInt8](repeating: 1, count: 32), keyID: "k1")

    private func scope(
        path: String = "/api/v1/playback/segment/s/0.m4s", session: String = "s",
        camera: String = "3f2504e0-4f89-41d3-9a0c-0305e82c3301"
    ) throws -> LinkSigner.Scope {
        .init(path: path, sessionID: session, cameraID: try #require(CameraID(camera)))
    }

    private func code(
        _ token: String, _ scope: LinkSigner.Scope, at now: WallTime = LinkSignerTests.now,
        signer: LinkSigner? = nil
    ) -> MarsadError.Code? {
        do {
            try (signer ?? self.signer).verify(token, for: scope, at: now)
            return nil
        } catch {
            return error.code
        }
    }

    @Test("a link is good until its last second and expired from then on")
    func expiry() throws {
        let scope = try scope()
        let token = signer.token(for: scope, expiresAt: Self.expiry)
        #expect(code(token, scope) == nil)
        #expect(code(token, scope, at: Self.expiry + .microseconds(-1)) == nil)
        #expect(code(token, scope, at: Self.expiry) == .linkExpired)
        #expect(code(token, scope, at: Self.expiry + .seconds(86_400)) == .linkExpired)
    }

    @Test("a link for another path, session or camera is refused")
    func otherScope() throws {
        let token = signer.token(for: try scope(), expiresAt: Self.expiry)
        let others = [
            try scope(path: "/api/v1/playback/segment/s/1.m4s"), try scope(session: "t"),
            try scope(camera: "00000000-0000-0000-0000-000000000000"),
        ]
        for other in others { #expect(code(token, other) == .invalidSignature) }
    }

    @Test("another key, key name or expiry is refused, also long after the expiry")
    func tampered() throws {
        let scope = try scope()
        let token = signer.token(for: scope, expiresAt: Self.expiry)
        let parts = token.split(separator: ".").map(String.init)
        let later = (Int64(parts[1]) ?? 0) + 3600
        let forged = ["k1.\(later).\(parts[2])", "k2.\(parts[1]).\(parts[2])"]
        for token in forged {
            #expect(code(token, scope) == .invalidSignature)
            #expect(code(token, scope, at: Self.expiry + .seconds(7200)) == .invalidSignature)
        }
        let otherKey = LinkSigner(key: [UInt8](repeating: 2, count: 32), keyID: "k1")
        #expect(code(token, scope, signer: otherKey) == .invalidSignature)
    }

    @Test("cut and changed tokens are refused and never trap")
    func sweep() throws {
        let scope = try scope()
        let token = Array(signer.token(for: scope, expiresAt: Self.expiry).utf8)
        for end in 0..<token.count {
            let cut = String(decoding: token[..<end], as: UTF8.self)
            #expect(code(cut, scope) == .invalidSignature)
        }
        var random = SeededRandom(seed: 51)
        for _ in 0..<2000 {
            var changed = token
            let position = Int.random(in: 0..<token.count, using: &random)
            changed[position] = changed[position] &+ 1
            let text = String(decoding: changed, as: UTF8.self)
            #expect(code(text, scope) == .invalidSignature)
        }
        let strange = [
            "", ".", "..", "...", "k1.9223372036854775808." + String(repeating: "0", count: 64),
            "k1.-1." + String(repeating: "f", count: 64),
            "k1.1." + String(repeating: "٣", count: 32), String(repeating: "k", count: 100_000),
        ]
        for text in strange { #expect(code(text, scope) == .invalidSignature) }
    }
}
