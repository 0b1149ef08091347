// Links that carry their own right to be followed, for a while (api contract, Playback).
// SPDX-License-Identifier: Apache-2.0

import Crypto
package import Domain
package import Primitives

/// Signs and checks links with HMAC-SHA256 over path, session, camera and expiry.
package struct LinkSigner: Sendable {
    /// What a token is good for.
    package struct Scope: Sendable, Equatable {
        package var path: String
        package var sessionID: String
        package var cameraID: CameraID

        package init(path: String, sessionID: String, cameraID: CameraID) {
            self.path = path
            self.sessionID = sessionID
            self.cameraID = cameraID
        }
    }

    private let key: Redacted<SymmetricKey>
    private let keyID: String

    /// - Parameter key: 32 bytes from the system's random source.
    package init(key: [UInt8], keyID: String) {
        self.key = Redacted(SymmetricKey(data: key))
        self.keyID = keyID
    }

    /// `{key id}.{expiry, seconds}.{HMAC in hex}`, the value of the query parameter `token`.
    package func token(for scope: Scope, expiresAt: WallTime) -> String {
        let expiry = expiresAt.microseconds / 1_000_000
        return "\(keyID).\(expiry).\(code(scope, expiry).hex)"
    }

    /// Throws INVALID_SIGNATURE for a token of another link or key, LINK_EXPIRED for an old one.
    package func verify(_ token: String, for scope: Scope, at now: WallTime) throws(MarsadError) {
        let parts = token.split(separator: ".", omittingEmptySubsequences: false)
        guard token.utf8.count <= 256, parts.count == 3, parts[0] == keyID,
            let expiry = Int64(parts[1]), let given = Self.bytes(hex: parts[2])
        else { throw MarsadError(.invalidSignature) }
        // Compares in constant time.
        guard
            HMAC<SHA256>.isValidAuthenticationCode(
                given, authenticating: message(scope, expiry), using: key.reveal())
        else { throw MarsadError(.invalidSignature) }
        guard now.microseconds / 1_000_000 < expiry else { throw MarsadError(.linkExpired) }
    }

    private func code(_ scope: Scope, _ expiry: Int64) -> [UInt8] {
        Array(HMAC<SHA256>.authenticationCode(for: message(scope, expiry), using: key.reveal()))
    }

    /// Unambiguous: no part can hold a line feed.
    private func message(_ scope: Scope, _ expiry: Int64) -> [UInt8] {
        Array("\(scope.path)\n\(scope.sessionID)\n\(scope.cameraID)\n\(expiry)".utf8)
    }

    private static func bytes(hex text: Substring) -> [UInt8]? {
        guard text.utf8.count == 64 else { return nil }
        var bytes: [UInt8] = []
        var high: UInt8?
        for character in text {
            guard let digit = character.hexDigitValue, character.isASCII else { return nil }
            if let first = high {
                bytes.append(first << 4 | UInt8(digit))
                high = nil
            } else {
                high = UInt8(digit)
            }
        }
        return bytes
    }
}
