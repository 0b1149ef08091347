// Groups and who is in them; a change counts from the next request on.
// SPDX-License-Identifier: Apache-2.0

import Database
package import Domain
import Synchronization

extension IdentityService {
    package func groups(for caller: Caller) async throws(MarsadError) -> [UserGroup] {
        try require(.administerUsers, of: caller)
        return try await reading { () async throws(DatabaseError) in try await groups.groups() }
    }

    package func group(_ id: GroupID, for caller: Caller) async throws(MarsadError) -> UserGroup {
        try require(.administerUsers, of: caller)
        return try await known(id)
    }

    package func group(
        named name: String, for caller: Caller
    ) async throws(MarsadError) -> UserGroup {
        try require(.administerUsers, of: caller)
        let group = try await reading { () async throws(DatabaseError) in
            try await groups.group(named: name)
        }
        guard let group else { throw MarsadError(.notFound) }
        return group
    }

    /// A new group with an id of its own; the given one's is not used.
    package func createGroup(
        name: String, nameArabic: String = "", description: String = "",
        defaultAgency: String? = nil, grants: [Grant], by caller: Caller
    ) async throws(MarsadError) -> UserGroup {
        try require(.administerUsers, of: caller)
        guard let id = GroupID(world.makeID()) else { throw MarsadError(.internalError) }
        let group = UserGroup(
            id: id, name: name, nameArabic: nameArabic, description: description,
            defaultAgency: defaultAgency, grants: grants)
        try Self.check(group)
        try await commit(
            AuditEvent(.groupCreated, by: caller, details: Self.details(group)),
            try await provingFolders(of: group) + groups.insert(group, at: world.wallTime()),
            missing: .unprocessable)
        return group
    }

    package func updateGroup(
        _ group: UserGroup, by caller: Caller
    ) async throws(MarsadError) {
        try require(.administerUsers, of: caller)
        try Self.check(group)
        var details = Self.details(group)
        details["permissions_before"] = Self.list(try await known(group.id).grants)
        let members = try await members(of: group.id)
        try await commit(
            AuditEvent(.groupUpdated, by: caller, details: details),
            try await keepingAdministrator(
                try await provingFolders(of: group) + groups.update(group, at: world.wallTime())),
            missing: .lastAdministrator)
        await rightsChanged(of: members)
    }

    package func deleteGroup(_ id: GroupID, by caller: Caller) async throws(MarsadError) {
        try require(.administerUsers, of: caller)
        let group = try await known(id)
        let members = try await members(of: id)
        try await commit(
            AuditEvent(.groupDeleted, by: caller, details: Self.details(group)),
            try await keepingAdministrator([groups.delete(id)]), missing: .lastAdministrator)
        await rightsChanged(of: members)
    }

    package func addMember(
        _ user: UserID, to group: GroupID, by caller: Caller
    ) async throws(MarsadError) {
        try require(.administerUsers, of: caller)
        try await commit(
            AuditEvent(
                .groupMemberAdded, by: caller, subject: user, details: ["group_id": group.rawValue]),
            [groups.addMember(user, to: group, by: caller.actor, at: world.wallTime())])
        await rightsChanged(of: [user])
    }

    package func removeMember(
        _ user: UserID, from group: GroupID, by caller: Caller
    ) async throws(MarsadError) {
        try require(.administerUsers, of: caller)
        guard try await members(of: group).contains(user) else { throw MarsadError(.notFound) }
        try await commit(
            AuditEvent(
                .groupMemberRemoved, by: caller, subject: user,
                details: ["group_id": group.rawValue]),
            try await keepingAdministrator([groups.removeMember(user, from: group)]),
            missing: .lastAdministrator)
        await rightsChanged(of: [user])
    }

    package func groups(of user: UserID, for caller: Caller) async throws(MarsadError)
        -> [UserGroup]
    {
        if caller.actor.userID != user { try require(.administerUsers, of: caller) }
        return try await reading { () async throws(DatabaseError) in
            try await groups.groups(of: user)
        }
    }

    /// What a user may do, through all its groups.
    package func effectiveGrants(
        of user: UserID, for caller: Caller
    ) async throws(MarsadError) -> [Grant] {
        if caller.actor.userID != user { try require(.administerUsers, of: caller) }
        return try await reading { () async throws(DatabaseError) in
            try await groups.grants(of: user)
        }
    }

    // MARK: Changed rights

    /// What these users may do, read anew: another process may have changed it.
    package func presentGrants(
        of users: Set<UserID>
    ) async throws(MarsadError) -> [UserID: Set<Grant>] {
        let found = try await reading { () async throws(DatabaseError) in
            try await groups.grants(of: Array(users))
        }
        return Dictionary(uniqueKeysWithValues: users.map { ($0, Set(found[$0] ?? [])) })
    }

    /// Called after each change of permissions by this process: what is watched with rights that are
    /// gone ends then.
    package func onRightsChange(_ listener: @escaping RightsListener) {
        rightsListeners.withLock { $0.append(listener) }
    }

    /// The same caller with the rights that he has now; `nil` for one who is not active any more.
    package func renewed(_ caller: Caller) async throws(MarsadError) -> Caller? {
        guard let id = caller.actor.userID else { return caller }
        guard let account = try await account(id), account.user.status == .active else {
            return nil
        }
        return Caller(
            actor: caller.actor, loginID: caller.loginID, agency: caller.agency,
            sessionID: caller.sessionID, grants: account.grants, visibility: account.visibility,
            issuedAt: caller.issuedAt, expiresAt: caller.expiresAt, origin: caller.origin)
    }

    func rightsChanged(of users: Set<UserID>) async {
        for user in users { accounts.forget(user) }
        for listener in rightsListeners.withLock({ $0 }) { await listener(users) }
    }

    // MARK: Steps

    private func members(of group: GroupID) async throws(MarsadError) -> Set<UserID> {
        try await reading { () async throws(DatabaseError) in try await groups.members(of: group) }
    }

    private func known(_ id: GroupID) async throws(MarsadError) -> UserGroup {
        let group = try await reading { () async throws(DatabaseError) in
            try await groups.group(id)
        }
        guard let group else { throw MarsadError(.notFound) }
        return group
    }

    /// Throws UNPROCESSABLE, which names it, where a permission is for a camera group that does not exist:
    /// whoever made one of that name later would give it to people unknown to him. A camera group that
    /// goes before the change is written fails the change.
    private func provingFolders(
        of group: UserGroup
    ) async throws(MarsadError) -> [Statement] {
        let proofs = GroupStore.proofs(of: group.grants)
        for (folder, proof) in proofs {
            let rows = try await reading { () async throws(DatabaseError) in
                try await parts.database.query(Statement(proof.sql, proof.values))
            }
            guard rows.isEmpty else { continue }
            throw MarsadError(
                .unprocessable,
                details: [
                    "field": "permissions", "folder": folder.description,
                    "reason": "there is no such camera group",
                ])
        }
        return proofs.map(\.proof)
    }

    private static func check(_ group: UserGroup) throws(MarsadError) {
        let texts = [group.name, group.nameArabic, group.description, group.defaultAgency ?? ""]
        guard !group.name.isEmpty, group.grants.count <= Limits.grantsPerGroup,
            texts.allSatisfy({ $0.unicodeScalars.count <= Limits.textCharacters }),
            Set(group.grants.map(\.permission)).count == group.grants.count
        else { throw MarsadError(.unprocessable, details: ["field": "group"]) }
    }

    private static func details(_ group: UserGroup) -> [String: String] {
        ["group_id": group.id.rawValue, "name": group.name, "permissions": list(group.grants)]
    }

    private static func list(_ grants: [Grant]) -> String {
        grants.map { grant in
            grant.permission.description + (grant.playbackHours.map { "≤\($0)h" } ?? "")
        }.joined(separator: " ")
    }
}
