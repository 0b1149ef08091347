// Accounts: made, changed, disabled; by an administrator or by the program for one.
// SPDX-License-Identifier: Apache-2.0

import Database
package import Domain
package import Primitives

/// A user to be made.
package struct NewUser: Sendable {
    package var loginID: LoginID
    package var origin: UserOrigin
    package var profile: UserProfile
    package var status: UserStatus
    /// For local accounts; `nil` for one that cannot sign in until it has one.
    package var password: Redacted<String>?
    /// Groups beside the agency's default group.
    package var groups: [GroupID] = []

    package init(
        loginID: LoginID, origin: UserOrigin = .local, profile: UserProfile,
        status: UserStatus = .active, password: Redacted<String>? = nil
    ) {
        self.loginID = loginID
        self.origin = origin
        self.profile = profile
        self.status = status
        self.password = password
    }
}

extension IdentityService {
    /// Makes a user and puts it into its agency's default group, which is made with the agency's first
    /// user. Throws ALREADY_EXISTS for a login name that somebody has.
    @discardableResult
    package func createUser(_ new: NewUser, by caller: Caller) async throws(MarsadError) -> User {
        try require(.administerUsers, of: caller)
        return try await create(new, by: caller, also: [])
    }

    package func user(_ id: UserID, for caller: Caller) async throws(MarsadError) -> User {
        if caller.actor.userID != id { try require(.administerUsers, of: caller) }
        return try await known(id)
    }

    package func user(
        named loginID: LoginID, for caller: Caller
    ) async throws(MarsadError) -> User {
        try require(.administerUsers, of: caller)
        let user = try await reading { () async throws(DatabaseError) in
            try await users.user(loginID)
        }
        guard let user else { throw MarsadError(.notFound) }
        return user
    }

    package func users(
        _ filter: UserStore.Filter, for caller: Caller
    ) async throws(MarsadError) -> (users: [User], total: Int) {
        try require(.administerUsers, of: caller)
        return try await reading { () async throws(DatabaseError) in
            try await users.users(filter)
        }
    }

    package func updateUser(
        _ id: UserID, profile: UserProfile, by caller: Caller
    ) async throws(MarsadError) {
        try require(.administerUsers, of: caller)
        try await update(id, profile: profile, by: caller, also: [])
    }

    /// A user that is not active any more loses its sessions, tokens, links and streams with it. The
    /// last administrator cannot be shut out.
    package func setStatus(
        _ id: UserID, _ status: UserStatus, by caller: Caller
    ) async throws(MarsadError) {
        try require(.administerUsers, of: caller)
        try await changeStatus(id, status, by: caller, also: [])
    }

    /// Sets a local account's password and ends its sessions.
    package func setPassword(
        _ id: UserID, _ password: Redacted<String>, by caller: Caller
    ) async throws(MarsadError) {
        if caller.actor.userID != id { try require(.administerUsers, of: caller) }
        let user = try await known(id)
        guard user.origin != .external else { throw MarsadError(.conflict) }
        try PasswordRules.check(password, for: user.loginID, named: user.profile.displayName)
        let hash = try await parts.hasher.hash(password)
        let now = world.wallTime()
        try await endAll(
            of: id, at: now,
            AuditEvent(.passwordChanged, by: caller, subject: id, details: name(user)),
            [users.setPasswordHash(id, hash, at: now)])
    }

    /// Whether this is a user's password, without a login and what belongs to one.
    package func isPassword(
        _ password: Redacted<String>, of id: UserID, for caller: Caller
    ) async throws(MarsadError) -> Bool {
        try require(.administerUsers, of: caller)
        let hash = try await reading { () async throws(DatabaseError) in
            try await users.passwordHash(of: id)
        }
        return try await parts.hasher.check(password, against: hash) != .no
    }

    /// The first administrator of an empty database, with this password or one that is made. Answers
    /// the password that was made, to be shown once; `nil` where somebody exists already.
    package func makeFirstAdministrator(
        password given: Redacted<String>?
    ) async throws(MarsadError) -> (loginID: LoginID, made: Redacted<String>?)? {
        let isEmpty = try await reading { () async throws(DatabaseError) in
            try await users.isEmpty()
        }
        guard isEmpty, let loginID = LoginID("admin"), let groupID = GroupID(world.makeID()) else {
            return nil
        }
        if let given { try PasswordRules.check(given, for: loginID) }
        let password = given ?? PasswordRules.make(world: world)
        let caller = Caller.program("setup")
        let group = UserGroup(
            id: groupID, name: "Administrators", nameArabic: "المسؤولون", grants: caller.grants)
        var new = NewUser(
            loginID: loginID,
            profile: UserProfile(
                displayName: "Administrator", fullNameArabic: "المسؤول",
                agency: OrganizationUnit(code: "")),
            password: password)
        new.groups = [groupID]
        let nobody = Statement("SELECT user_id FROM users LIMIT 1", expecting: .noRows)
        do {
            try await create(
                new, by: caller, also: [nobody] + groups.insert(group, at: world.wallTime()))
        } catch {
            // Another process made the first one meanwhile.
            guard error.code == .notFound || error.code == .alreadyExists else { throw error }
            return nil
        }
        return (loginID, given == nil ? password : nil)
    }

    /// Whether accounts of `demo` exist: no other server may run with them.
    package func hasDemoAccounts() async throws(MarsadError) -> Bool {
        try await reading { () async throws(DatabaseError) in try await users.hasDemoAccounts() }
    }

    // MARK: Steps, also for the webhook

    @discardableResult
    func create(
        _ new: NewUser, by caller: Caller, also statements: [Statement]
    ) async throws(MarsadError) -> User {
        try Self.check(new.profile)
        guard new.origin == .local || new.origin == .demo || new.password == nil,
            new.groups.count <= Limits.groupsPerUser, let id = UserID(world.makeID())
        else { throw MarsadError(.unprocessable) }
        var hash: Redacted<String>?
        if let password = new.password {
            try PasswordRules.check(
                password, for: new.loginID, named: new.profile.displayName)
            hash = try await parts.hasher.hash(password)
        }
        let now = world.wallTime()
        let user = User(
            id: id, loginID: new.loginID, origin: new.origin, profile: new.profile,
            status: new.status, createdAt: now)
        let (agencyGroup, makesGroup) = try await defaultGroup(of: new.profile.agency, at: now)
        let members = Set(new.groups + [agencyGroup].compactMap { $0 }).sorted().map {
            groups.addMember(id, to: $0, by: caller.actor, at: now)
        }
        var details = name(user)
        details["agency"] = new.profile.agency.code
        details["status"] = new.status.rawValue
        try await commit(
            AuditEvent(.userCreated, by: caller, subject: id, details: details),
            statements + makesGroup + [users.insert(user, passwordHash: hash)] + members)
        parts.welcome?(user)
        return user
    }

    func update(
        _ id: UserID, profile: UserProfile, by caller: Caller, also statements: [Statement]
    ) async throws(MarsadError) {
        try Self.check(profile)
        let before = try await known(id)
        try await commit(
            AuditEvent(
                .userUpdated, by: caller, subject: id,
                details: name(before).merging(Self.changes(before.profile, profile)) { $1 }),
            statements + [users.update(id, profile: profile, at: world.wallTime())])
        accounts.forget(id)
    }

    func changeStatus(
        _ id: UserID, _ status: UserStatus, by caller: Caller, also statements: [Statement]
    ) async throws(MarsadError) {
        let user = try await known(id)
        let now = world.wallTime()
        var details = name(user)
        details["from"] = user.status.rawValue
        details["to"] = status.rawValue
        let event = AuditEvent(.userStatusChanged, by: caller, subject: id, details: details)
        let all = statements + [users.setStatus(id, status, at: now)]
        guard status != .active else {
            try await commit(event, all)
            return accounts.forget(id)
        }
        try await endAll(
            of: id, at: now, event, try await keepingAdministrator(all),
            missing: .lastAdministrator)
    }

    /// Ends everything that a user holds, in the transaction of the change that is its reason.
    private func endAll(
        of id: UserID, at now: WallTime, _ event: AuditEvent, _ statements: [Statement],
        missing: MarsadError.Code = .notFound
    ) async throws(MarsadError) {
        let revocation = Revocation(.user(id), notBefore: now)
        try await commit(
            event, statements + [sessions.endAll(of: id, at: now), Revocations.revoke(revocation)],
            missing: missing)
        accounts.forget(id)
        await parts.revocations.apply(revocation)
    }

    func known(_ id: UserID) async throws(MarsadError) -> User {
        let user = try await reading { () async throws(DatabaseError) in try await users.user(id) }
        guard let user else { throw MarsadError(.notFound) }
        return user
    }

    func name(_ user: User) -> [String: String] { ["login_id": user.loginID.rawValue] }

    /// The group that an agency's new users enter; seeing and playing back its cameras is what it
    /// permits at first.
    private func defaultGroup(
        of agency: OrganizationUnit, at now: WallTime
    ) async throws(MarsadError) -> (GroupID?, [Statement]) {
        guard !agency.code.isEmpty else { return (nil, []) }
        let known = try await reading { () async throws(DatabaseError) in
            try await groups.defaultGroup(of: agency.code)
        }
        if let known { return (known.id, []) }
        guard let id = GroupID(world.makeID()) else { return (nil, []) }
        let grants = Source(agency.code).map { source in
            [Permission.Action.viewCamera, .viewPlayback].compactMap {
                Permission($0, .source(source))
            }.map { Grant($0) }
        }
        let group = UserGroup(
            id: id, name: agency.name.isEmpty ? agency.code : agency.name,
            nameArabic: agency.nameArabic, defaultAgency: agency.code, grants: grants ?? [])
        return (id, groups.insert(group, at: now))
    }

    private static func check(_ profile: UserProfile) throws(MarsadError) {
        let units = [profile.agency, profile.department, profile.section].compactMap { $0 }
        let texts =
            [
                profile.displayName, profile.fullNameArabic, profile.employeeNumber ?? "",
                profile.email ?? "",
            ] + units.flatMap { [$0.code, $0.name, $0.nameArabic] }
        guard !profile.displayName.isEmpty,
            texts.allSatisfy({ text in
                text.unicodeScalars.count <= Limits.textCharacters
                    && !text.unicodeScalars.contains { $0.properties.generalCategory == .control }
            })
        else { throw MarsadError(.unprocessable, details: ["field": "profile"]) }
    }

    /// Which fields changed; of those that say where somebody works, from what to what.
    private static func changes(_ old: UserProfile, _ new: UserProfile) -> [String: String] {
        var fields: [String] = []
        if old.employeeNumber != new.employeeNumber { fields.append("employee_number") }
        if old.displayName != new.displayName { fields.append("display_name") }
        if old.email != new.email { fields.append("email") }
        if old.fullNameArabic != new.fullNameArabic { fields.append("full_name_arabic") }
        if old.agency != new.agency { fields.append("agency") }
        if old.department != new.department { fields.append("department") }
        if old.section != new.section { fields.append("section") }
        var details = ["fields": fields.joined(separator: ",")]
        if old.agency.code != new.agency.code {
            details["agency_from"] = old.agency.code
            details["agency_to"] = new.agency.code
        }
        return details
    }
}
