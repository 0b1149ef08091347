// The accounts of `demo`: one a role, with passwords made once for each folder.
// SPDX-License-Identifier: Apache-2.0

import Domain
import Foundation
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

    /// Makes the accounts that are missing. A password that somebody has changed since is set again: what
    /// is shown is what lets in.
    static func make(
        by identity: IdentityService, in folder: String, world: World
    ) async throws -> [Demonstration.Account] {
        let caller = Caller.program("demo")
        let passwords = try passwords(in: folder, world: world)
        var accounts: [Demonstration.Account] = []
        for role in roles {
            guard let loginID = LoginID(role.login), let password = passwords[role.login] else {
                continue
            }
            if let known = try await existing(loginID, identity, caller) {
                if try await !identity.isPassword(password, of: known.id, for: caller) {
                    try await identity.setPassword(known.id, password, by: caller)
                }
            } else {
                try await add(role, loginID, password, identity, caller)
            }
            accounts.append(
                Demonstration.Account(
                    login_id: role.login, password: password.reveal(), role: role.role))
        }
        return accounts
    }

    /// By login name; kept in a file that its owner alone may read, so that who is signed in stays so
    /// when the demo starts again.
    private static func passwords(
        in folder: String, world: World
    ) throws -> [String: Redacted<String>] {
        let path = folder + "/demo-accounts.json"
        let made = Dictionary(
            roles.map { ($0.login, PasswordRules.make(world: world).reveal()) },
            uniquingKeysWith: { first, _ in first })
        let encoded = try JSONEncoder().encode(made)
        do {
            let kept = try SecretFile.readOrCreate(path) { Array(encoded) }
            return try JSONDecoder().decode([String: String].self, from: Data(kept.reveal()))
                .mapValues { Redacted($0) }
        } catch let error as SecretFileError {
            throw ConfigurationError(description: error.description)
        } catch {
            throw ConfigurationError(description: "\(path): not the demo's accounts; delete it")
        }
    }

    /// An account of this name that is not the demo's is somebody's own and stays as it is.
    private static func existing(
        _ loginID: LoginID, _ identity: IdentityService, _ caller: Caller
    ) async throws -> User? {
        do {
            let user = try await identity.user(named: loginID, for: caller)
            guard user.origin == .demo else {
                throw ConfigurationError(
                    description: "demo: \(loginID) is an account of this folder already; "
                        + "allowed: another folder, or --no-accounts")
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
