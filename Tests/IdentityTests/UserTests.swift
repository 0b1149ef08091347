// Users and groups: what changes, who may change it, and that every change is told once.
// SPDX-License-Identifier: Apache-2.0

import Database
import Domain
import Identity
import Primitives
import Synchronization
import Testing

@Suite(.everyDatabase) struct UserTests {
    private func administrator(_ rig: IdentityRig) async throws -> Caller {
        let first = try #require(try await rig.identity.makeFirstAdministrator(password: nil))
        let made = try #require(first.made)
        return try await rig.authenticate(try await rig.login(first.loginID.rawValue, made))
    }

    @Test(
        "an empty database gets one administrator, with a password that is made and not told twice")
    func firstAdministrator() async throws {
        try await IdentityRig.with { rig in
            let caller = try await administrator(rig)
            for action in Permission.Action.allCases where !action.isScoped {
                #expect(caller.may(action))
            }
            #expect(caller.visibility.isEverything)
            #expect(try await rig.identity.makeFirstAdministrator(password: nil) == nil)
        }
        try await IdentityRig.with { rig in
            let weak = await code {
                _ = try await rig.identity.makeFirstAdministrator(password: Redacted("admin"))
            }
            #expect(weak == .unprocessable)
            let first = try await rig.identity.makeFirstAdministrator(
                password: IdentityRig.password)
            #expect(first?.made == nil)
            _ = try await rig.login("admin")
        }
    }

    @Test("two processes that start on an empty database make one administrator")
    func firstAdministratorRace() async throws {
        try await IdentityRig.with { rig in
            let other = try rig.secondService()
            async let one = rig.identity.makeFirstAdministrator(password: nil)
            async let two = other.makeFirstAdministrator(password: nil)
            let made = [try await one, try await two].compactMap { $0 }
            #expect(made.count == 1)
            let filter = UserStore.Filter()
            #expect(try await rig.identity.users(filter, for: IdentityRig.program).total == 1)
        }
    }

    @Test("a user is found as it was made, changed as it was told, and listed by what is asked")
    func roundTrip() async throws {
        try await IdentityRig.with { rig in
            let program = IdentityRig.program
            var user = try await rig.user("amina")
            #expect(try await rig.identity.user(user.id, for: program) == user)
            user.profile.email = "amina@metro.example"
            user.profile.section = OrganizationUnit(code: "S1", name: "Section", nameArabic: "قسم")
            user.profile.department = nil
            rig.clock.advance(by: .seconds(5))
            try await rig.identity.updateUser(user.id, profile: user.profile, by: program)
            user.updatedAt = rig.world.wallTime()
            #expect(try await rig.identity.user(user.id, for: program) == user)
            try await rig.user("badr", agency: "BUS", status: .pending)
            try await rig.user("100%_x".replacing("%", with: "-"), agency: "BUS")
            var filter = UserStore.Filter()
            #expect(try await rig.identity.users(filter, for: program).total == 3)
            filter.agency = "BUS"
            #expect(try await rig.identity.users(filter, for: program).total == 2)
            filter.status = .pending
            let found = try await rig.identity.users(filter, for: program).users
            #expect(found.map(\.loginID.rawValue) == ["badr"])
            filter = UserStore.Filter()
            filter.text = "%"
            #expect(try await rig.identity.users(filter, for: program).total == 0)
            filter.text = "شخص"
            #expect(try await rig.identity.users(filter, for: program).total == 3)
            #expect(await code { try await rig.user("AMINA") } == .alreadyExists)
        }
    }

    @Test("an agency's first user makes its default group, the next ones enter it")
    func defaultGroups() async throws {
        try await IdentityRig.with { rig in
            let one = try await rig.user("one")
            let two = try await rig.user("two")
            let groups = try await rig.identity.groups(for: IdentityRig.program)
            #expect(groups.map(\.defaultAgency) == ["METRO"])
            #expect(
                groups[0].grants.map(\.permission.description)
                    == ["camera:METRO:view", "playback:METRO:view"])
            for user in [one, two] {
                #expect(
                    try await rig.identity.groups(of: user.id, for: IdentityRig.program) == groups)
            }
        }
    }

    @Test("a change of a group counts from the next request on, and within a second elsewhere")
    func permissionsChange() async throws {
        try await IdentityRig.with { rig in
            try await rig.user("amina")
            let token = try await rig.login("amina")
            let other = try rig.secondService()
            var group = try #require(try await rig.identity.groups(for: IdentityRig.program).first)
            let bus = try #require(Source("BUS"))
            let gates = try #require(FolderID("gates"))
            let text = token.accessToken.reveal()
            #expect(
                try await !other.authenticate(text, from: RequestOrigin())
                    .visibility.allows(bus, gates))
            try await rig.folder("BUS", "gates")
            group.grants.append(Grant(try #require(Permission("camera:BUS/gates:view"))))
            group.grants.append(
                Grant(try #require(Permission("playback:BUS/gates:view")), playbackHours: 48))
            try await rig.identity.updateGroup(group, by: IdentityRig.program)
            let caller = try await rig.authenticate(token)
            #expect(caller.visibility.allows(bus, gates))
            #expect(!caller.visibility.allows(bus, nil))
            #expect(!caller.visibility.allows(bus, FolderID("depots")))
            #expect(caller.playbackReach(of: bus, gates) == .hours(48))
            #expect(caller.playbackReach(of: bus, nil) == .none)
            #expect(caller.playbackReach(of: try #require(Source("METRO")), gates) == .unlimited)
            rig.clock.advance(by: .seconds(1))
            #expect(
                try await other.authenticate(text, from: RequestOrigin())
                    .visibility.allows(bus, gates))
        }
    }

    @Test(
        "disabling a user ends its sessions, tokens and streams at once, and elsewhere at the next poll"
    )
    func disabling() async throws {
        try await IdentityRig.with { rig in
            let user = try await rig.user("amina")
            let grant = try await rig.login("amina")
            let bystander = try await rig.user("badr")
            let other = try await rig.login("badr")
            let caller = try await rig.authenticate(grant)
            let elsewhere = try rig.secondService()
            let ended = Mutex<[String]>([])
            rig.identity.revocations.onRevocation { revocation in
                if revocation.ends(caller) { ended.withLock { $0.append("here") } }
            }
            elsewhere.revocations.onRevocation { revocation in
                if revocation.ends(caller) { ended.withLock { $0.append("elsewhere") } }
            }
            rig.clock.advance(by: .milliseconds(10))
            try await rig.identity.setStatus(user.id, .disabled, by: IdentityRig.program)
            #expect(ended.withLock { $0 } == ["here"])
            #expect(await code { _ = try await rig.authenticate(grant) } == .userDisabled)
            #expect(rig.revocations.isRevoked(caller))
            await elsewhere.advance()
            await elsewhere.advance()
            #expect(ended.withLock { $0 } == ["here", "elsewhere"])
            let token = grant.accessToken.reveal()
            #expect(
                await code { _ = try await elsewhere.authenticate(token, from: RequestOrigin()) }
                    == .userDisabled)
            let refresh = try #require(grant.refreshToken)
            #expect(
                await code { _ = try await rig.identity.refresh(refresh, from: RequestOrigin()) }
                    == .userDisabled)
            #expect(await code { _ = try await rig.login("amina") } == .userDisabled)
            #expect(try await rig.authenticate(other).actor == .user(bystander.id))
            // Let in again, it needs a new login; the old tokens stay dead.
            try await rig.identity.setStatus(user.id, .active, by: IdentityRig.program)
            rig.clock.advance(by: .milliseconds(10))
            _ = try await rig.authenticate(try await rig.login("amina"))
            #expect(await code { _ = try await rig.authenticate(grant) } == .sessionRevoked)
        }
    }

    @Test("a revocation is forgotten when nothing from before it can be alive")
    func forgotten() async throws {
        try await IdentityRig.with { rig in
            let user = try await rig.user("amina")
            try await rig.identity.setStatus(user.id, .disabled, by: IdentityRig.program)
            rig.clock.advance(by: .seconds(14 * 3600))
            await rig.identity.tidy()
            await rig.identity.advance()
            let rows = try await rig.engine.query(Statement("SELECT id FROM revoked_sessions"))
            #expect(rows.isEmpty)
            #expect(
                !rig.revocations.isRevoked(
                    user: user.id, session: nil, issuedAt: TestWorld.start))
        }
    }

    @Test("the last administrator cannot be disabled, the last but one can")
    func lastAdministrator() async throws {
        try await IdentityRig.with { rig in
            let caller = try await administrator(rig)
            let id = try #require(caller.actor.userID)
            #expect(
                await code { try await rig.identity.setStatus(id, .disabled, by: caller) }
                    == .lastAdministrator)
            let second = try await rig.user("second")
            let group = try await rig.identity.group(
                named: "Administrators", for: IdentityRig.program)
            try await rig.identity.addMember(second.id, to: group.id, by: caller)
            #expect(
                await code { try await rig.identity.setStatus(id, .disabled, by: caller) } == nil)
        }
    }

    @Test("without the permission every administration is refused, and each refusal is told")
    func denied() async throws {
        try await IdentityRig.with { rig in
            let user = try await rig.user("amina")
            let caller = try await rig.authenticate(try await rig.login("amina"))
            let victim = try await rig.user("badr")
            let group = try #require(try await rig.identity.groups(for: IdentityRig.program).first)
            let identity = rig.identity
            let calls: [@Sendable () async throws -> Void] = [
                {
                    _ = try await identity.createUser(
                        NewUser(loginID: victim.loginID, profile: victim.profile), by: caller)
                },
                { _ = try await identity.user(victim.id, for: caller) },
                { _ = try await identity.users(UserStore.Filter(), for: caller) },
                { try await identity.updateUser(victim.id, profile: user.profile, by: caller) },
                { try await identity.setStatus(victim.id, .disabled, by: caller) },
                {
                    try await identity.setPassword(
                        victim.id, Redacted("another long password"), by: caller)
                },
                { _ = try await identity.groups(for: caller) },
                { _ = try await identity.createGroup(name: "x", grants: [], by: caller) },
                { try await identity.updateGroup(group, by: caller) },
                { try await identity.deleteGroup(group.id, by: caller) },
                { try await identity.addMember(user.id, to: group.id, by: caller) },
                { try await identity.removeMember(victim.id, from: group.id, by: caller) },
                { _ = try await identity.effectiveGrants(of: victim.id, for: caller) },
            ]
            for call in calls { #expect(await code { try await call() } == .forbidden) }
            let denials = try await rig.events().filter { $0 == "ACCESS_DENIED" }
            #expect(denials.count == calls.count)
            // Of oneself one may know everything.
            _ = try await identity.user(user.id, for: caller)
            _ = try await identity.effectiveGrants(of: user.id, for: caller)
        }
    }

    @Test("every change leaves exactly one row, which names who, whom and what")
    func audited() async throws {
        try await IdentityRig.with { rig in
            let caller = try await administrator(rig)
            let identity = rig.identity
            let before = try await rig.events().count
            let user = try await identity.createUser(
                NewUser(
                    loginID: try #require(LoginID("amina")),
                    profile: UserProfile(
                        displayName: "Amina", agency: OrganizationUnit(code: "METRO"))),
                by: caller)
            try await identity.updateUser(user.id, profile: user.profile, by: caller)
            try await identity.setPassword(user.id, Redacted("another long password"), by: caller)
            var group = try await identity.createGroup(
                name: "Exports", grants: [Grant(try #require(Permission("clip:*:export")))],
                by: caller)
            group.description = "May export"
            try await identity.updateGroup(group, by: caller)
            try await identity.addMember(user.id, to: group.id, by: caller)
            try await identity.removeMember(user.id, from: group.id, by: caller)
            try await identity.deleteGroup(group.id, by: caller)
            try await identity.setStatus(user.id, .disabled, by: caller)
            #expect(
                try await rig.events().dropFirst(before) == [
                    "USER_CREATED", "USER_UPDATED", "PASSWORD_CHANGED", "GROUP_CREATED",
                    "GROUP_UPDATED", "GROUP_MEMBER_ADDED", "GROUP_MEMBER_REMOVED", "GROUP_DELETED",
                    "USER_STATUS_CHANGED",
                ])
            let rows = try await rig.engine.query(
                Statement("SELECT * FROM audit_log WHERE id > ?", [.integer(Int64(before))]))
            for row in rows {
                #expect(try row.text("actor_id") == caller.actor.description)
                #expect(!(try row.text("details").contains("another long password")))
            }
            #expect(try rows.last?.text("user_id") == user.id.rawValue)
            // A change that does not happen leaves none.
            let count = try await rig.events().count
            #expect(await code { try await rig.user("amina") } == .alreadyExists)
            let nobody = try #require(UserID("00000000-0000-4000-8000-000000000000"))
            #expect(
                await code { try await identity.setStatus(nobody, .disabled, by: caller) }
                    == .notFound)
            #expect(
                await code { try await identity.addMember(nobody, to: group.id, by: caller) }
                    == .notFound)
            #expect(try await rig.events().count == count)
        }
    }

    @Test("texts that would not fit or would break a line are refused")
    func bounds() async throws {
        try await IdentityRig.with { rig in
            var profile = UserProfile(
                displayName: String(repeating: "x", count: 201), agency: OrganizationUnit(code: "A")
            )
            let user = try await rig.user("amina")
            for name in [profile.displayName, "", "a\nb", "a\u{0}b"] {
                profile.displayName = name
                let refused = profile
                #expect(
                    await code {
                        try await rig.identity.updateUser(
                            user.id, profile: refused, by: IdentityRig.program)
                    } == .unprocessable)
            }
            #expect(
                await code {
                    _ = try await rig.identity.createGroup(
                        name: "", grants: [], by: IdentityRig.program)
                } == .unprocessable)
        }
    }
}
