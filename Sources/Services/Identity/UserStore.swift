// The users' rows; a password's hash is read here and nowhere else.
// SPDX-License-Identifier: Apache-2.0

package import Database
package import Domain
import Primitives

/// Reads users; builds the statements that change them, so that a change and its audit row are one
/// transaction.
package struct UserStore: Sendable {
    private static let units = ["agency", "department", "section"]
    private static let columns = """
        user_id, login_id, origin, employee_number, display_name, email, full_name_arabic, \
        agency_code, agency_name, agency_name_arabic, department_code, department_name, \
        department_name_arabic, section_code, section_name, section_name_arabic, status, created_at, \
        updated_at, last_login
        """

    private let database: any DatabaseEngine

    package init(database: any DatabaseEngine) { self.database = database }

    /// Which users a list holds; `nil` is any.
    package struct Filter: Sendable {
        package var agency: String?
        package var status: UserStatus?
        package var group: GroupID?
        /// Part of the login or display name.
        package var text: String?
        package var limit = 100
        package var offset = 0

        package init() {}
    }

    func user(_ id: UserID) async throws(DatabaseError) -> User? {
        try await first("user_id", id.rawValue)
    }

    /// Without asking who asks: for commands on the machine itself.
    package func user(_ loginID: LoginID) async throws(DatabaseError) -> User? {
        try await first("login_id", loginID.rawValue)
    }

    func passwordHash(of id: UserID) async throws(DatabaseError) -> Redacted<String>? {
        let row = try await database.query(
            Statement("SELECT password_hash FROM users WHERE user_id = ?", [.text(id.rawValue)])
        ).first
        return try row?.optionalText("password_hash").map { Redacted($0) }
    }

    func users(_ filter: Filter) async throws(DatabaseError) -> (users: [User], total: Int) {
        var conditions = ["1 = 1"]
        var values: [DatabaseValue] = []
        if let agency = filter.agency {
            conditions.append("agency_code = ?")
            values.append(.text(agency))
        }
        if let status = filter.status {
            conditions.append("status = ?")
            values.append(.text(status.rawValue))
        }
        if let group = filter.group {
            conditions.append("user_id IN (SELECT user_id FROM user_groups WHERE group_id = ?)")
            values.append(.text(group.rawValue))
        }
        if let text = filter.text {
            conditions.append(
                "(login_id LIKE ? ESCAPE '!' OR LOWER(display_name) LIKE ? ESCAPE '!'"
                    + " OR LOWER(full_name_arabic) LIKE ? ESCAPE '!')")
            values += Array(repeating: .text(Self.pattern(text)), count: 3)
        }
        let condition = conditions.joined(separator: " AND ")
        let rows = try await database.query(
            Statement(
                "SELECT \(Self.columns) FROM users WHERE \(condition) ORDER BY login_id"
                    + " LIMIT ? OFFSET ?",
                values + [
                    .integer(Int64(min(max(filter.limit, 1), Limits.page))),
                    .integer(Int64(min(max(filter.offset, 0), 10_000_000))),
                ]))
        let count = try await database.query(
            Statement("SELECT COUNT(*) AS total FROM users WHERE \(condition)", values))
        var users: [User] = []
        for row in rows { users.append(try Self.user(row)) }
        return (users, Int(try count.first?.integer("total") ?? 0))
    }

    func isEmpty() async throws(DatabaseError) -> Bool {
        try await database.query(Statement("SELECT user_id FROM users LIMIT 1")).isEmpty
    }

    func hasDemoAccounts() async throws(DatabaseError) -> Bool {
        try await !database.query(
            Statement("SELECT user_id FROM users WHERE origin = 'DEMO' LIMIT 1")
        ).isEmpty
    }

    /// Whether somebody else who is active may administer users.
    func hasAdministrator() async throws(DatabaseError) -> Bool {
        try await !database.query(Self.administrator(.anything)).isEmpty
    }

    /// Fails the transaction that it ends where nobody is left who may administer users.
    func someAdministrator() -> Statement { Self.administrator(.someRows) }

    private static func administrator(_ expectation: Statement.Expectation) -> Statement {
        Statement(
            """
            SELECT users.user_id FROM users
            JOIN user_groups ON user_groups.user_id = users.user_id
            JOIN group_permissions ON group_permissions.group_id = user_groups.group_id
            WHERE users.status = 'ACTIVE' AND group_permissions.permission = ? LIMIT 1
            """, [.text(Permission.Action.administerUsers.rawValue)], expecting: expectation)
    }

    // MARK: Changes

    func insert(_ user: User, passwordHash: Redacted<String>?) -> Statement {
        Statement(
            "INSERT INTO users (\(Self.columns), password_hash) VALUES ("
                + Array(repeating: "?", count: 21).joined(separator: ", ") + ")",
            [
                .text(user.id.rawValue), .text(user.loginID.rawValue),
                .text(user.origin.rawValue),
            ] + Self.profile(user.profile) + [
                .text(user.status.rawValue), .integer(user.createdAt.microseconds),
                .integer(user.updatedAt.microseconds),
                DatabaseValue(user.lastLogin?.microseconds),
                DatabaseValue(passwordHash?.reveal()),
            ])
    }

    func update(_ id: UserID, profile: UserProfile, at now: WallTime) -> Statement {
        let units = Self.units.flatMap {
            ["\($0)_code = ?", "\($0)_name = ?", "\($0)_name_arabic = ?"]
        }
        return Statement(
            """
            UPDATE users SET employee_number = ?, display_name = ?, email = ?, full_name_arabic = ?,
            \(units.joined(separator: ", ")), updated_at = ? WHERE user_id = ?
            """,
            Self.profile(profile) + [.integer(now.microseconds), .text(id.rawValue)],
            expecting: .changes(1))
    }

    func setStatus(_ id: UserID, _ status: UserStatus, at now: WallTime) -> Statement {
        Statement(
            "UPDATE users SET status = ?, updated_at = ? WHERE user_id = ?",
            [.text(status.rawValue), .integer(now.microseconds), .text(id.rawValue)],
            expecting: .changes(1))
    }

    func setPasswordHash(
        _ id: UserID, _ hash: Redacted<String>, at now: WallTime
    ) -> Statement {
        Statement(
            "UPDATE users SET password_hash = ?, updated_at = ? WHERE user_id = ?",
            [.text(hash.reveal()), .integer(now.microseconds), .text(id.rawValue)],
            expecting: .changes(1))
    }

    func setLastLogin(_ id: UserID, at now: WallTime) -> Statement {
        Statement(
            "UPDATE users SET last_login = ? WHERE user_id = ?",
            [.integer(now.microseconds), .text(id.rawValue)])
    }

    // MARK: Rows

    private func first(_ column: String, _ value: String) async throws(DatabaseError) -> User? {
        let row = try await database.query(
            Statement("SELECT \(Self.columns) FROM users WHERE \(column) = ?", [.text(value)])
        ).first
        guard let row else { return nil }
        return try Self.user(row)
    }

    private static func profile(_ profile: UserProfile) -> [DatabaseValue] {
        [
            DatabaseValue(profile.employeeNumber), .text(profile.displayName),
            DatabaseValue(profile.email), .text(profile.fullNameArabic),
        ]
            + [profile.agency, profile.department, profile.section].flatMap { unit in
                [
                    DatabaseValue(unit?.code), DatabaseValue(unit?.name),
                    DatabaseValue(unit?.nameArabic),
                ]
            }
    }

    private static func user(_ row: Row) throws(DatabaseError) -> User {
        guard let id = UserID(try row.text("user_id")),
            let loginID = LoginID(try row.text("login_id")),
            let origin = UserOrigin(rawValue: try row.text("origin")),
            let status = UserStatus(rawValue: try row.text("status"))
        else { throw .wrongType(column: "user_id") }
        var profile = UserProfile(
            displayName: try row.text("display_name"),
            fullNameArabic: try row.text("full_name_arabic"),
            agency: try unit(row, "agency") ?? OrganizationUnit(code: ""))
        profile.employeeNumber = try row.optionalText("employee_number")
        profile.email = try row.optionalText("email")
        profile.department = try unit(row, "department")
        profile.section = try unit(row, "section")
        var user = User(
            id: id, loginID: loginID, origin: origin, profile: profile, status: status,
            createdAt: WallTime(microseconds: try row.integer("created_at")))
        user.updatedAt = WallTime(microseconds: try row.integer("updated_at"))
        user.lastLogin = try row.optionalInteger("last_login").map { WallTime(microseconds: $0) }
        return user
    }

    private static func unit(
        _ row: Row, _ name: String
    ) throws(DatabaseError) -> OrganizationUnit? {
        guard let code = try row.optionalText("\(name)_code") else { return nil }
        return OrganizationUnit(
            code: code, name: try row.optionalText("\(name)_name") ?? "",
            nameArabic: try row.optionalText("\(name)_name_arabic") ?? "")
    }

    private static func pattern(_ text: String) -> String {
        var escaped = ""
        for character in text.lowercased().prefix(Limits.textCharacters) {
            if "!%_".contains(character) { escaped.append("!") }
            escaped.append(character)
        }
        return "%" + escaped + "%"
    }
}
