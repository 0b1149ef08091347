// Notices rights that another process has changed: a command, or another node at the same database.
// SPDX-License-Identifier: Apache-2.0

import Domain
import Identity
import Live
import Playback

extension Routes {
    /// Ends what is watched, played back and listened to with rights that another process took away; what
    /// this one takes away ends at once. Call every few seconds. While the database is away, all goes on.
    package func followRights() async {
        let held =
            await services.reservations.held.map(\.holder) + services.playback.held.map(\.holder)
        let callers = await held + services.hub.callers()
        let users = Set(callers.compactMap(\.actor.userID))
        guard !users.isEmpty,
            let present = try? await services.identity.presentGrants(of: users)
        else { return }
        await review(of: { caller in
            guard let user = caller.actor.userID, let now = present[user] else { return false }
            return Set(caller.grants) != now
        })
    }
}
