// A Lua script that the server keeps by its digest.
// SPDX-License-Identifier: Apache-2.0

import Crypto
import Primitives

/// Sent whole only to a server that does not have it yet.
package struct ValkeyScript: Sendable {
    package let body: String
    /// SHA-1 in hexadecimal, as `EVALSHA` takes it.
    package let digest: String

    package init(_ body: String) {
        self.body = body
        digest = Array(Insecure.SHA1.hash(data: Array(body.utf8))).hex
    }
}
