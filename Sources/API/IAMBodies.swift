// Users and groups as the HTTP contract writes and reads them.
// SPDX-License-Identifier: Apache-2.0

import Domain
import Identity
import Primitives

/// A part of an organisation.
struct UnitBody: Encodable {
    var code: String
    var name: String
    var nameArabic: String

    init(_ unit: OrganizationUnit) {
        code = unit.code
        name = unit.name
        nameArabic = unit.nameArabic
    }
}

struct UserBody: Encodable {
    var userId: String
    var loginId: String
    var origin: String
    var employeeNumber: String?
    var displayName: String
    var fullNameArabic: String
    var email: String?
    var agency: UnitBody
    var department: UnitBody?
    var section: UnitBody?
    var status: String
    var createdAt: String
    var updatedAt: String
    var lastLogin: String?

    init(_ user: User) {
        userId = user.id.rawValue
        loginId = user.loginID.rawValue
        origin = user.origin.rawValue
        employeeNumber = user.profile.employeeNumber
        displayName = user.profile.displayName
        fullNameArabic = user.profile.fullNameArabic
        email = user.profile.email
        agency = UnitBody(user.profile.agency)
        department = user.profile.department.map(UnitBody.init)
        section = user.profile.section.map(UnitBody.init)
        status = user.status.rawValue
        createdAt = user.createdAt.description
        updatedAt = user.updatedAt.description
        lastLogin = user.lastLogin?.description
    }
}

struct UserListBody: Encodable {
    var users: [UserBody]
    var total: Int
}

/// One user, with what follows from the groups.
struct UserDetailBody: Encodable {
    var user: UserBody
    var groups: [GroupBody]
    var permissions: [GrantBody]
}

/// The caller: what it may do, and which sources it sees (`*` for all).
struct CallerBody: Encodable {
    /// Missing for the machine itself.
    var user: UserBody?
    var actor: String
    var permissions: [GrantBody]
    var cameraSources: [String]

    init(_ caller: Caller, _ user: User?) {
        self.user = user.map(UserBody.init)
        actor = caller.actor.description
        permissions = caller.grants.map(GrantBody.init)
        cameraSources = caller.visibility.sources?.map(\.rawValue) ?? ["*"]
    }
}

struct GrantBody: Encodable {
    var permission: String
    /// How far back playback reaches; missing without a limit.
    var playbackHours: Int?

    init(_ grant: Grant) {
        permission = grant.permission.description
        playbackHours = grant.playbackHours
    }
}

struct GroupBody: Encodable {
    var groupId: String
    var name: String
    var nameArabic: String
    var description: String
    var defaultAgency: String?
    var permissions: [GrantBody]

    init(_ group: UserGroup) {
        groupId = group.id.rawValue
        name = group.name
        nameArabic = group.nameArabic
        description = group.description
        defaultAgency = group.defaultAgency
        permissions = group.grants.map(GrantBody.init)
    }
}

struct GroupListBody: Encodable {
    var groups: [GroupBody]
    var total: Int

    init(_ groups: [UserGroup]) {
        self.groups = groups.map(GroupBody.init)
        total = groups.count
    }
}

// MARK: What is read

extension UserProfile {
    /// All of a profile: what is left out is empty.
    init(_ body: JSONObject) throws(MarsadError) {
        self.init(
            displayName: try body.requiredText("display_name"),
            fullNameArabic: try body.text("full_name_arabic") ?? "",
            agency: try body.unit("agency") ?? OrganizationUnit(code: ""))
        employeeNumber = try body.text("employee_number")
        email = try body.text("email")
        department = try body.unit("department")
        section = try body.unit("section")
    }
}

/// A group's own fields, validated; its id is not among them.
struct GroupRequest {
    var name: String
    var nameArabic: String
    var description: String
    var defaultAgency: String?
    var grants: [Grant] = []

    init(_ body: JSONObject) throws(MarsadError) {
        name = try body.requiredText("name")
        nameArabic = try body.text("name_arabic") ?? ""
        description = try body.text("description") ?? ""
        defaultAgency = try body.text("default_agency")
        let objects = try body.objects(
            "permissions", upTo: Limits.grantsPerGroup, allowing: GrantBody.schema.keys)
        for object in objects ?? [] {
            let text = try object.requiredText("permission")
            guard let permission = Permission(text) else {
                throw MarsadError(
                    .invalidRequest,
                    details: ["key": "permission", "value": String(text.prefix(64))])
            }
            let hours = try object.integer("playback_hours", in: 1...Grant.maxPlaybackHours)
            grants.append(Grant(permission, playbackHours: hours))
        }
    }
}

extension JSONObject {
    /// A value of a closed set; `nil` where the key is missing.
    func choice<Value: RawRepresentable<String>>(
        _ key: String, _ allowed: [Value]
    ) throws(MarsadError) -> Value? {
        guard let text = try text(key) else { return nil }
        guard let value = allowed.first(where: { $0.rawValue == text }) else {
            let allowed = allowed.map(\.rawValue).joined(separator: ", ")
            throw MarsadError(.invalidRequest, details: ["key": key, "allowed": allowed])
        }
        return value
    }

    fileprivate func unit(_ key: String) throws(MarsadError) -> OrganizationUnit? {
        guard let unit = try object(key, allowing: UnitBody.request.keys) else { return nil }
        return OrganizationUnit(
            code: try unit.requiredText("code"), name: try unit.text("name") ?? "",
            nameArabic: try unit.text("name_arabic") ?? "")
    }
}
