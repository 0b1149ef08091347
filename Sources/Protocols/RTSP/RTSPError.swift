// What can be wrong with a URL or with the bytes of an RTSP connection.
// SPDX-License-Identifier: Apache-2.0

/// A refused URL or message. It never holds the text itself, which may hold a password.
package struct RTSPError: Error, Equatable, Sendable {
    package var reason: Reason
    /// Bytes from the start of the text or of the message.
    package var offset: Int

    /// The kinds of damage.
    package enum Reason: Equatable, Sendable {
        case unsupportedScheme
        case invalidHost
        case invalidPort
        case invalidCharacter
        case invalidPercentEncoding
        case invalidStartLine
        case invalidContentLength
        case headerTooLarge
        case bodyTooLarge
        case notRTSP
    }

    package init(_ reason: Reason, at offset: Int) {
        self.reason = reason
        self.offset = offset
    }
}

extension RTSPError: CustomStringConvertible {
    package var description: String { "\(reason) at byte \(offset)" }
}
