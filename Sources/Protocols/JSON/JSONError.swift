// Why a text is no JSON that is read here.
// SPDX-License-Identifier: Apache-2.0

/// What was wrong, and where.
package enum JSONError: Error, Hashable, Sendable {
    /// More values than the reader takes.
    case tooLarge
    /// More arrays and objects in one another than the reader takes.
    case tooDeep
    /// - Parameter at: the place, in bytes from the beginning.
    case malformed(String, at: Int)
    /// One name twice in an object: two readers would see two values (RFC 8259 §4).
    case duplicateName(String)
}
