// Accounts as of a second ago, so that a request costs no query.
// SPDX-License-Identifier: Apache-2.0

import Database
import Domain
import Primitives
import Synchronization

/// Users with their grants, read again after a second: a change made by another process counts then.
final class AccountCache: Sendable {
    struct Account: Sendable {
        var user: User
        var grants: [Grant]
        var visibility: Visibility
    }

    private struct Entry {
        var account: Account
        var readAt: Instant
    }

    private let entries = Mutex<[UserID: Entry]>([:])
    private let users: UserStore
    private let groups: GroupStore
    private let world: World

    init(users: UserStore, groups: GroupStore, world: World) {
        self.users = users
        self.groups = groups
        self.world = world
    }

    func account(_ id: UserID) async throws(DatabaseError) -> Account? {
        let now = world.now()
        if let known = entries.withLock({ $0[id] }), now - known.readAt < Limits.accountCache {
            return known.account
        }
        guard let user = try await users.user(id) else { return nil }
        let grants = try await groups.grants(of: id)
        let account = Account(
            user: user, grants: grants, visibility: Visibility(grants: grants))
        entries.withLock { entries in
            if entries.count >= Limits.cachedTokens {
                entries = entries.filter { now - $0.value.readAt < Limits.accountCache }
            }
            entries[id] = Entry(account: account, readAt: now)
        }
        return account
    }

    func forget(_ id: UserID) { entries.withLock { $0[id] = nil } }
}
