// Cameras' addresses as people give and read them.
// SPDX-License-Identifier: Apache-2.0

package import Domain
import Observability
package import Primitives
import RTSP

/// What may be told and taken of a camera's address.
package enum CameraAddress {
    /// Throws INVALID_REQUEST unless the text is an `rtsp:` address. The text is in no message: it may
    /// hold a password.
    package static func check(_ text: String, key: String) throws(MarsadError) {
        do {
            _ = try RTSPURL(parsing: text)
        } catch {
            throw MarsadError(
                .invalidRequest, details: ["key": key, "reason": "no address of the form rtsp://…"])
        }
    }

    /// What tells two addresses apart, whatever the credentials in them: for comparing, never to show,
    /// since a path may hold a password. `nil` for none.
    static func place(_ address: Redacted<String>) -> String? {
        (try? RTSPURL(parsing: address.reveal()))?.description
    }

    /// The address without user and password, also where a camera takes them in its path; `nil` for
    /// none.
    package static func withoutCredentials(_ address: Redacted<String>) -> String? {
        (try? RTSPURL(parsing: address.reveal())).map { Scrubber.scrub($0.description) }
    }
}
