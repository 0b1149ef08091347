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

    private struct State {
        var entries: [UserID: Entry] = [:]
        /// Counts what was forgotten: what was read before that is not kept after it.
        var forgotten = 0
    }

    private let state = Mutex(State())
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
        let (known, forgotten) = state.withLock { ($0.entries[id], $0.forgotten) }
        if let known, now - known.readAt < Limits.accountCache { return known.account }
        guard let user = try await users.user(id) else { return nil }
        let grants = try await groups.grants(of: id)
        let account = Account(
            user: user, grants: grants, visibility: Visibility(grants: grants))
        state.withLock { state in
            guard state.forgotten == forgotten else { return }
            if state.entries.count >= Limits.cachedTokens {
                state.entries = state.entries.filter {
                    now - $0.value.readAt < Limits.accountCache
                }
            }
            state.entries[id] = Entry(account: account, readAt: now)
        }
        return account
    }

    func forget(_ id: UserID) {
        state.withLock { state in
            state.entries[id] = nil
            state.forgotten += 1
        }
    }
}
