// Why a token or a key set is not taken.
// SPDX-License-Identifier: Apache-2.0

import JSON

/// A refusal, for the log and the tests; callers outside hear only that the token is not valid.
package enum JOSEError: Error, Hashable, Sendable {
    /// Larger, deeper or longer than any token of ours.
    case tooLarge
    case malformed(String)
    /// One name twice in an object: two readers would see two values (RFC 8725 §2.6).
    case duplicateName(String)
    /// Anything but RS256 (RFC 8725 §3.1).
    case algorithm
    /// A token of another kind (RFC 8725 §3.11).
    case type
    /// No `kid`, or one that no key of ours could have.
    case keyID
    /// A header parameter that would choose the key for us, or change how the token is read.
    case forbiddenHeader(String)
    /// Missing, or of another type than its definition says.
    case claim(String)
    case issuer
    case audience
    case expired
    case notYetValid
}

extension JOSEError {
    init(_ error: JSONError) {
        self =
            switch error {
            case .tooLarge, .tooDeep: .tooLarge
            case .malformed(let reason, _): .malformed(reason)
            case .duplicateName(let name): .duplicateName(name)
            }
    }
}
