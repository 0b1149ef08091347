// Groups and who is in them; a change counts from the next request on.
// SPDX-License-Identifier: Apache-2.0

import Database
package import Domain

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
            groups.insert(group, at: world.wallTime()))
        return group
    }

    package func updateGroup(
        _ group: UserGroup, by caller: Caller
    ) async throws(MarsadError) {
        try require(.administerUsers, of: caller)
        try Self.check(group)
        var details = Self.details(group)
        details["permissions_before"] = Self.list(try await known(group.id).grants)
        try await commit(
            AuditEvent(.groupUpdated, by: caller, details: details),
            groups.update(group, at: world.wallTime()))
        accounts.forgetAll()
    }

    package func deleteGroup(_ id: GroupID, by caller: Caller) async throws(MarsadError) {
        try require(.administerUsers, of: caller)
        let group = try await known(id)
        try await commit(
            AuditEvent(.groupDeleted, by: caller, details: Self.details(group)),
            groups.delete(id))
        accounts.forgetAll()
    }

    package func addMember(
        _ user: UserID, to group: GroupID, by caller: Caller
    ) async throws(MarsadError) {
        try require(.administerUsers, of: caller)
        try await commit(
            AuditEvent(
                .groupMemberAdded, by: caller, subject: user, details: ["group_id": group.rawValue]),
            [groups.addMember(user, to: group, by: caller.actor, at: world.wallTime())])
        accounts.forget(user)
    }

    package func removeMember(
        _ user: UserID, from group: GroupID, by caller: Caller
    ) async throws(MarsadError) {
        try require(.administerUsers, of: caller)
        try await commit(
            AuditEvent(
                .groupMemberRemoved, by: caller, subject: user,
                details: ["group_id": group.rawValue]),
            [groups.removeMember(user, from: group)])
        accounts.forget(user)
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

    // MARK: Steps

    private func known(_ id: GroupID) async throws(MarsadError) -> UserGroup {
        let group = try await reading { () async throws(DatabaseError) in
            try await groups.group(id)
        }
        guard let group else { throw MarsadError(.notFound) }
        return group
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
