// Why a text is no JSON that is read here.
// SPDX-License-Identifier: Apache-2.0

package enum JSONError: Error, Hashable, Sendable {
    /// More values than the reader takes.
    case tooLarge
    case tooDeep
    case malformed(String)
    /// One name twice in an object: two readers would see two values (RFC 8259 §4).
    case duplicateName(String)
}
