// Relays for viewers whose networks let nothing else through: credentials that end by themselves.
// SPDX-License-Identifier: Apache-2.0

import Crypto
package import Primitives
import SDP

/// A relay and the right to use it for a while.
package struct ICEServer: Sendable, Equatable {
    /// `turn:host:port?transport=udp` and its like (RFC 7065).
    package var url: String
    package var username: String
    package var credential: Redacted<String>
}

/// The TURN servers of an installation, which share a secret with it (coturn's REST credentials,
/// `use-auth-secret`): the user name is the second at which it ends and whom it is for, the password its
/// HMAC-SHA1 in base64.
package struct TURNServers: Sendable {
    private let urls: [String]
    private let secret: Redacted<String>
    private let lifetime: Duration

    /// - Parameter lifetime: a relay checks it when an allocation is made or refreshed, so it must
    ///   outlast a reservation by minutes.
    package init(urls: [String], secret: Redacted<String>, lifetime: Duration) {
        self.urls = urls
        self.secret = secret
        self.lifetime = lifetime
    }

    /// Nothing without a server.
    /// - Parameter holder: goes to the relay's logs in the clear, so it names no person.
    package func servers(for holder: String, at wallTime: WallTime) -> [ICEServer] {
        guard !urls.isEmpty else { return [] }
        let end = (wallTime + lifetime).microseconds / 1_000_000
        let username = "\(end):\(holder)"
        let key = SymmetricKey(data: Array(secret.reveal().utf8))
        let code = HMAC<Insecure.SHA1>.authenticationCode(for: Array(username.utf8), using: key)
        let credential = Redacted(Base64.encode(Array(code)))
        return urls.map { ICEServer(url: $0, username: username, credential: credential) }
    }
}
