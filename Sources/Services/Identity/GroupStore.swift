// Groups, their permissions and their members.
// SPDX-License-Identifier: Apache-2.0

package import Database
import Domain
import Primitives

/// Reads groups; builds the statements that change them.
package struct GroupStore: Sendable {
    private let database: any DatabaseEngine

    package init(database: any DatabaseEngine) { self.database = database }

    func groups() async throws(DatabaseError) -> [UserGroup] {
        try await groups(where: "1 = 1", [])
    }

    func group(_ id: GroupID) async throws(DatabaseError) -> UserGroup? {
        try await groups(where: "group_id = ?", [.text(id.rawValue)]).first
    }

    func group(named name: String) async throws(DatabaseError) -> UserGroup? {
        try await groups(where: "name = ?", [.text(name)]).first
    }

    func defaultGroup(of agency: String) async throws(DatabaseError) -> UserGroup? {
        try await groups(where: "default_agency = ?", [.text(agency)]).first
    }

    func groups(of user: UserID) async throws(DatabaseError) -> [UserGroup] {
        try await groups(
            where: "group_id IN (SELECT group_id FROM user_groups WHERE user_id = ?)",
            [.text(user.rawValue)])
    }

    func members(of group: GroupID) async throws(DatabaseError) -> Set<UserID> {
        let rows = try await database.query(
            Statement(
                "SELECT user_id FROM user_groups WHERE group_id = ?", [.text(group.rawValue)]))
        var members: Set<UserID> = []
        for row in rows {
            if let id = UserID(try row.text("user_id")) { members.insert(id) }
        }
        return members
    }

    /// What a user may do: the grants of all its groups; of one permission the widest.
    func grants(of user: UserID) async throws(DatabaseError) -> [Grant] {
        try await grants(of: [user])[user] ?? []
    }

    /// The same of many; none for who has none.
    func grants(of users: [UserID]) async throws(DatabaseError) -> [UserID: [Grant]] {
        var widest: [UserID: [Permission: Grant]] = [:]
        for first in stride(from: 0, to: users.count, by: Limits.usersAtOnce) {
            let some = users[first..<min(first + Limits.usersAtOnce, users.count)]
            let places = Array(repeating: "?", count: some.count).joined(separator: ", ")
            let rows = try await database.query(
                Statement(
                    """
                    SELECT user_groups.user_id AS user_id,
                        group_permissions.permission AS permission,
                        group_permissions.playback_hours AS playback_hours
                    FROM group_permissions
                    JOIN user_groups ON user_groups.group_id = group_permissions.group_id
                    WHERE user_groups.user_id IN (\(places))
                    """, some.map { .text($0.rawValue) }))
            for row in rows {
                guard let user = UserID(try row.text("user_id")), let grant = try Self.grant(row)
                else { continue }
                let known = widest[user]?[grant.permission]
                let isWider = known?.playbackHours.map { old in
                    grant.playbackHours.map { $0 > old } ?? true
                }
                if known == nil || isWider == true {
                    widest[user, default: [:]][grant.permission] = grant
                }
            }
        }
        return widest.mapValues { Self.sorted($0.values) }
    }

    /// One statement for each camera group that the permissions name, expecting that it exists: in the
    /// transaction of a change, so that none is removed meanwhile.
    static func proofs(of grants: [Grant]) -> [(folder: CameraScope, proof: Statement)] {
        Set(grants.compactMap(\.permission.scope)).sorted { $0.description < $1.description }
            .compactMap { scope in
                guard case .folder(let source, let folder) = scope else { return nil }
                return (
                    scope,
                    Statement(
                        "SELECT folder_id FROM camera_folders WHERE source = ? AND folder_id = ?",
                        [.text(source.rawValue), .text(folder.rawValue)], expecting: .someRows)
                )
            }
    }

    // MARK: Changes

    func insert(_ group: UserGroup, at now: WallTime) -> [Statement] {
        [
            Statement(
                """
                INSERT INTO groups (group_id, name, name_arabic, description, default_agency,
                    created_at, updated_at) VALUES (?, ?, ?, ?, ?, ?, ?)
                """,
                [
                    .text(group.id.rawValue), .text(group.name), .text(group.nameArabic),
                    .text(group.description), DatabaseValue(group.defaultAgency),
                    .integer(now.microseconds), .integer(now.microseconds),
                ])
        ] + permissions(of: group)
    }

    func update(_ group: UserGroup, at now: WallTime) -> [Statement] {
        [
            Statement(
                """
                UPDATE groups SET name = ?, name_arabic = ?, description = ?, default_agency = ?,
                    updated_at = ? WHERE group_id = ?
                """,
                [
                    .text(group.name), .text(group.nameArabic), .text(group.description),
                    DatabaseValue(group.defaultAgency), .integer(now.microseconds),
                    .text(group.id.rawValue),
                ], expecting: .changes(1)),
            Statement(
                "DELETE FROM group_permissions WHERE group_id = ?", [.text(group.id.rawValue)]),
        ] + permissions(of: group)
    }

    func delete(_ id: GroupID) -> Statement {
        Statement(
            "DELETE FROM groups WHERE group_id = ?", [.text(id.rawValue)], expecting: .changes(1))
    }

    func addMember(
        _ user: UserID, to group: GroupID, by actor: Actor, at now: WallTime
    ) -> Statement {
        Statement(
            """
            INSERT INTO user_groups (user_id, group_id, assigned_at, assigned_by)
            VALUES (?, ?, ?, ?)
            """,
            [
                .text(user.rawValue), .text(group.rawValue), .integer(now.microseconds),
                .text(actor.description),
            ])
    }

    func removeMember(_ user: UserID, from group: GroupID) -> Statement {
        Statement(
            "DELETE FROM user_groups WHERE user_id = ? AND group_id = ?",
            [.text(user.rawValue), .text(group.rawValue)], expecting: .changes(1))
    }

    func removeMemberships(of user: UserID) -> Statement {
        Statement("DELETE FROM user_groups WHERE user_id = ?", [.text(user.rawValue)])
    }

    private func permissions(of group: UserGroup) -> [Statement] {
        group.grants.map {
            Statement(
                """
                INSERT INTO group_permissions (group_id, permission, playback_hours)
                VALUES (?, ?, ?)
                """,
                [
                    .text(group.id.rawValue), .text($0.permission.description),
                    DatabaseValue($0.playbackHours),
                ])
        }
    }

    // MARK: Rows

    private func groups(
        where condition: String, _ values: [DatabaseValue]
    ) async throws(DatabaseError) -> [UserGroup] {
        let rows = try await database.query(
            Statement("SELECT * FROM groups WHERE \(condition) ORDER BY name", values))
        let permissions = try await database.query(
            Statement(
                """
                SELECT * FROM group_permissions
                WHERE group_id IN (SELECT group_id FROM groups WHERE \(condition))
                """, values))
        var grants: [String: [Grant]] = [:]
        for row in permissions {
            guard let grant = try Self.grant(row) else { continue }
            grants[try row.text("group_id"), default: []].append(grant)
        }
        var groups: [UserGroup] = []
        for row in rows {
            guard let id = GroupID(try row.text("group_id")) else {
                throw .wrongType(column: "group_id")
            }
            groups.append(
                UserGroup(
                    id: id, name: try row.text("name"), nameArabic: try row.text("name_arabic"),
                    description: try row.text("description"),
                    defaultAgency: try row.optionalText("default_agency"),
                    grants: Self.sorted(grants[id.rawValue] ?? [])))
        }
        return groups
    }

    /// `nil` for a permission that this program does not know: it permits nothing.
    private static func grant(_ row: Row) throws(DatabaseError) -> Grant? {
        guard let permission = Permission(try row.text("permission")) else { return nil }
        let hours = try row.optionalInteger("playback_hours")
        return Grant(permission, playbackHours: hours.map { Int(clamping: $0) })
    }

    private static func sorted(_ grants: some Sequence<Grant>) -> [Grant] {
        grants.sorted { $0.permission.description < $1.permission.description }
    }
}
