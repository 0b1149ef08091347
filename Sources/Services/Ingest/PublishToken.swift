// What a publisher shows, and how little of it is kept.
// SPDX-License-Identifier: Apache-2.0

import Crypto
package import Domain
package import Primitives

/// The secret of a camera that publishes. It is shown once, when the camera is added.
package enum PublishToken {
    private static let bytes = 24

    package static func make(world: World) -> Redacted<String> {
        Redacted(world.secureRandomBytes(bytes).hex)
    }

    /// What is kept of a token. It has the entropy of a key, so one plain hash is enough.
    package static func hash(_ token: Redacted<String>) -> String {
        Array(SHA256.hash(data: Array(token.reveal().utf8))).hex
    }
}

extension Camera {
    /// Takes the same time whichever digit is wrong.
    package func accepts(_ token: Redacted<String>) -> Bool {
        guard origin == .whip, let known = publishTokenHash.map({ Array($0.utf8) }) else {
            return false
        }
        let given = Array(PublishToken.hash(token).utf8)
        guard known.count == given.count else { return false }
        return zip(known, given).reduce(UInt8(0)) { $0 | ($1.0 ^ $1.1) } == 0
    }
}
