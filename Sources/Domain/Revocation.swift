// The end of a right that was already given.
// SPDX-License-Identifier: Apache-2.0

package import Primitives

/// Whose rights end, and since when: what was given out before is dead, what comes after is not.
package struct Revocation: Hashable, Sendable {
    package enum Target: Hashable, Sendable {
        case user(UserID)
        case session(String)
    }

    package let target: Target
    package let notBefore: WallTime

    package init(_ target: Target, notBefore: WallTime) {
        self.target = target
        self.notBefore = notBefore
    }

    /// Whether it ends what a caller holds.
    package func ends(_ caller: Caller) -> Bool {
        guard caller.issuedAt <= notBefore else { return false }
        return switch target {
        case .user(let id): caller.actor.userID == id
        case .session(let id): caller.sessionID == id
        }
    }
}
