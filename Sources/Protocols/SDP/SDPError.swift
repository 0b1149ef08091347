// What can be wrong with a session description.
// SPDX-License-Identifier: Apache-2.0

/// A refused session description, with the line (from 1) where reading stopped.
package struct SDPError: Error, Equatable, Sendable {
    package var reason: Reason
    package var line: Int

    /// The kinds of damage; small ones are passed over, since cameras make them.
    package enum Reason: Equatable, Sendable {
        case tooLarge
        case notASessionDescription
        case tooManyMedia
    }

    package init(_ reason: Reason, line: Int) {
        self.reason = reason
        self.line = line
    }
}

extension SDPError: CustomStringConvertible {
    package var description: String { "\(reason) at line \(line)" }
}
