// Notices rights that another process has changed: a command, or another node at the same database.
// SPDX-License-Identifier: Apache-2.0

package import Domain
import Identity
import Live
import Playback

/// What people who watch, play back or listen may do, as it was known last.
package struct RightsWatch {
    private var known: [UserID: Set<Grant>] = [:]

    package init() {}

    /// Those whose rights are others than when they were asked last, or than what they opened something
    /// with.
    /// - Parameter present: the grants of a user now; `nil` where they could not be read.
    package mutating func changed(
        among callers: [Caller], now present: (Caller) async -> Set<Grant>?
    ) async -> Set<UserID> {
        var next: [UserID: Set<Grant>] = [:]
        var changed: Set<UserID> = []
        for caller in callers {
            guard let user = caller.actor.userID else { continue }
            let before = known[user] ?? Set(caller.grants)
            let grants: Set<Grant>
            if let asked = next[user] {
                grants = asked
            } else {
                grants = await present(caller) ?? before
            }
            next[user] = grants
            if grants != before { changed.insert(user) }
        }
        known = next
        return changed
    }
}

extension Routes {
    /// Ends what is watched, played back and listened to with rights that another process took away; what
    /// this one takes away ends at once. Call every few seconds.
    package func followRights(_ watch: inout RightsWatch) async {
        let callers =
            await services.reservations.held.map(\.holder)
            + services.playback.held.map(\.holder) + services.hub.callers()
        let changed = await watch.changed(among: callers) { caller in
            do {
                return Set(try await services.identity.renewed(caller)?.grants ?? [])
            } catch {
                return nil
            }
        }
        if !changed.isEmpty { await reviewRights(of: changed) }
    }
}
