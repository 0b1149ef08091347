// What can be wrong with the bytes of a Valkey connection.
// SPDX-License-Identifier: Apache-2.0

/// Bytes that are not RESP, or more of them than is taken. The stream is lost; the bytes are not kept.
package enum RESPError: Error, Sendable, Hashable {
    /// No type begins with this byte.
    case unknownType(UInt8)
    case invalidNumber
    case invalidLength
    /// A line or a string does not end with CR LF.
    case missingEnd
    case lineTooLong
    case bulkTooLarge
    case tooManyElements
    case tooDeep
}
