// People and the groups that give them their permissions.
// SPDX-License-Identifier: Apache-2.0

package import Primitives

/// A named part of an organisation, in both languages.
package struct OrganizationUnit: Sendable, Equatable {
    package var code: String
    package var name: String
    package var nameArabic: String

    package init(code: String, name: String = "", nameArabic: String = "") {
        self.code = code
        self.name = name
        self.nameArabic = nameArabic
    }
}

/// What may become of an account.
package enum UserStatus: String, Sendable, CaseIterable {
    /// Known, but not let in yet.
    case pending = "PENDING"
    case active = "ACTIVE"
    /// Not let in any more; everything that it held has ended.
    case disabled = "DISABLED"
}

/// Where an account comes from.
package enum UserOrigin: String, Sendable {
    /// Signs in here, with a password.
    case local = "LOCAL"
    /// Signs in at an identity provider; has no password here.
    case external = "EXTERNAL"
    /// Made by `demo` with a random password; refused everywhere else.
    case demo = "DEMO"
}

/// The name by which somebody signs in.
package struct LoginID: Hashable, Comparable, Sendable, CustomStringConvertible {
    package let rawValue: String

    /// 1 to 64 letters, digits, `.`, `_`, `-`, `@`; capitals become small, so that nobody can be
    /// mistaken for somebody else.
    package init?(_ text: some StringProtocol) {
        guard (1...64).contains(text.utf8.count) else { return nil }
        let small = text.utf8.map { (65...90).contains($0) ? $0 + 32 : $0 }
        let marks = Array("._-@".utf8)
        let isAllowed = small.allSatisfy {
            (97...122).contains($0) || (48...57).contains($0) || marks.contains($0)
        }
        guard isAllowed else { return nil }
        rawValue = String(decoding: small, as: UTF8.self)
    }

    package static func < (a: LoginID, b: LoginID) -> Bool { a.rawValue < b.rawValue }
    package var description: String { rawValue }
}

/// What an administrator or a provider says about a person.
package struct UserProfile: Sendable, Equatable {
    package var employeeNumber: String?
    package var displayName: String
    package var email: String?
    package var fullNameArabic: String
    package var agency: OrganizationUnit
    package var department: OrganizationUnit?
    package var section: OrganizationUnit?

    package init(displayName: String, fullNameArabic: String = "", agency: OrganizationUnit) {
        self.displayName = displayName
        self.fullNameArabic = fullNameArabic
        self.agency = agency
    }
}

/// A user's row, without the password's hash: that never leaves the store.
package struct User: Sendable, Equatable {
    package let id: UserID
    package let loginID: LoginID
    package let origin: UserOrigin
    package var profile: UserProfile
    package var status: UserStatus
    package let createdAt: WallTime
    package var updatedAt: WallTime
    package var lastLogin: WallTime?

    package init(
        id: UserID, loginID: LoginID, origin: UserOrigin, profile: UserProfile,
        status: UserStatus, createdAt: WallTime
    ) {
        self.id = id
        self.loginID = loginID
        self.origin = origin
        self.profile = profile
        self.status = status
        self.createdAt = createdAt
        updatedAt = createdAt
    }
}

/// A set of permissions that users are put into.
package struct UserGroup: Sendable, Equatable {
    package let id: GroupID
    package var name: String
    package var nameArabic: String
    package var description: String
    /// The agency whose new users are put here; `nil` for a group that nobody enters by himself.
    package var defaultAgency: String?
    /// In the order of their texts.
    package var grants: [Grant]

    package init(
        id: GroupID, name: String, nameArabic: String = "", description: String = "",
        defaultAgency: String? = nil, grants: [Grant] = []
    ) {
        self.id = id
        self.name = name
        self.nameArabic = nameArabic
        self.description = description
        self.defaultAgency = defaultAgency
        self.grants = grants
    }
}
