// The accounts of `demo --accounts`: one a role, with passwords made anew at each start.
// SPDX-License-Identifier: Apache-2.0

import Domain
import Identity
import Primitives

/// Makes the demo's accounts. Their origin keeps every other server from running with them.
enum DemoAccounts {
    private struct Role {
        var login: String
        var role: String
        var english: String
        var arabic: String
        var agency: OrganizationUnit
        /// Of a group beside the agency's own; empty for none.
        var permissions: [String]
    }

    private static let roles = [
        Role(
            login: "operator", role: "operator of METRO", english: "Operator",
            arabic: "مشغّل",
            agency: OrganizationUnit(code: "METRO", name: "Metro", nameArabic: "المترو"),
            permissions: []),
        Role(
            login: "supervisor", role: "supervisor of all agencies", english: "Supervisor",
            arabic: "مشرف", agency: OrganizationUnit(code: ""),
            permissions: [
                "camera:*:view", "camera:*:ptz", "playback:*:view", "clip:*:view",
                "clip:*:create", "clip:*:export", "audit:read",
            ]),
        Role(
            login: "administrator", role: "administrator", english: "Administrator",
            arabic: "مسؤول", agency: OrganizationUnit(code: ""),
            permissions: Permission.Action.allCases.compactMap { action in
                Permission(action, action.isScoped ? .all : nil)?.description
            }),
    ]

    static func make(
        by identity: IdentityService, world: World
    ) async throws -> [Demonstration.Account] {
        let caller = Caller.program("demo")
        var accounts: [Demonstration.Account] = []
        for role in roles {
            guard let loginID = LoginID(role.login) else { continue }
            let password = PasswordRules.make(world: world)
            if let known = try await existing(loginID, identity, caller) {
                try await identity.setPassword(known.id, password, by: caller)
            } else {
                try await add(role, loginID, password, identity, caller)
            }
            accounts.append(
                Demonstration.Account(
                    login_id: role.login, password: password.reveal(), role: role.role))
        }
        return accounts
    }

    /// An account of this name that is not the demo's is somebody's own and stays as it is.
    private static func existing(
        _ loginID: LoginID, _ identity: IdentityService, _ caller: Caller
    ) async throws -> User? {
        do {
            let user = try await identity.user(named: loginID, for: caller)
            guard user.origin == .demo else {
                throw ConfigurationError(
                    description: "--accounts: \(loginID) is an account of this folder already; "
                        + "allowed: a folder without one of this name")
            }
            return user
        } catch let error as MarsadError where error.code == .notFound {
            return nil
        }
    }

    private static func add(
        _ role: Role, _ loginID: LoginID, _ password: Redacted<String>,
        _ identity: IdentityService, _ caller: Caller
    ) async throws {
        var new = NewUser(
            loginID: loginID, origin: .demo,
            profile: UserProfile(
                displayName: role.english, fullNameArabic: role.arabic, agency: role.agency),
            password: password)
        if !role.permissions.isEmpty {
            let group = try await identity.createGroup(
                name: "Demo: " + role.login, nameArabic: role.arabic,
                grants: role.permissions.compactMap { Permission($0).map { Grant($0) } },
                by: caller)
            new.groups = [group.id]
        }
        try await identity.createUser(new, by: caller)
    }
}
