// What is told when permissions change, and what a caller may do then.
// SPDX-License-Identifier: Apache-2.0

import Domain
import Identity
import Primitives
import Synchronization
import Testing

extension GroupID {
    /// Of no group.
    fileprivate static var none: GroupID {
        get throws { try #require(GroupID("00000000-0000-4000-8000-00000000dead")) }
    }
}

@Suite struct RightsChangeTests {
    @Test("a change of a group is told with its members, and their callers can be renewed")
    func members() async throws {
        try await IdentityRig.with { rig in
            let user = try await rig.user("amina", agency: "")
            try await rig.user("badr", agency: "")
            let caller = try await rig.authenticate(try await rig.login("amina"))
            let told = Mutex<[Set<UserID>]>([])
            rig.identity.onRightsChange { users in told.withLock { $0.append(users) } }
            let identity = rig.identity
            let view = Grant(try #require(Permission("camera:METRO:view")))
            var group = try await identity.createGroup(
                name: "Gates", grants: [view], by: IdentityRig.program)
            try await identity.addMember(user.id, to: group.id, by: IdentityRig.program)
            #expect(try await identity.renewed(caller)?.grants == [view])
            group.grants = []
            try await identity.updateGroup(group, by: IdentityRig.program)
            #expect(try await identity.renewed(caller)?.grants == [])
            #expect(try await identity.renewed(caller)?.visibility == .nothing)
            try await identity.removeMember(user.id, from: group.id, by: IdentityRig.program)
            try await identity.addMember(user.id, to: group.id, by: IdentityRig.program)
            try await identity.deleteGroup(group.id, by: IdentityRig.program)
            #expect(told.withLock { $0 } == Array(repeating: [user.id], count: 5))
            try await identity.setStatus(user.id, .disabled, by: IdentityRig.program)
            #expect(try await identity.renewed(caller) == nil)
        }
    }

    @Test("the grants of many are read together, of one permission the widest")
    func present() async throws {
        try await IdentityRig.with { rig in
            let amina = try await rig.user("amina", agency: "").id
            let badr = try await rig.user("badr", agency: "").id
            let permission = try #require(Permission("playback:METRO:view"))
            let (day, week) = (
                Grant(permission, playbackHours: 24), Grant(permission, playbackHours: 168)
            )
            for (name, grant, members) in [
                ("Day", day, [amina, badr]), ("Week", week, [badr]),
            ] {
                let group = try await rig.identity.createGroup(
                    name: name, grants: [grant], by: IdentityRig.program)
                for member in members {
                    try await rig.identity.addMember(
                        member, to: group.id, by: IdentityRig.program)
                }
            }
            let nobody = try #require(UserID("00000000-0000-4000-8000-00000000dead"))
            let present = try await rig.identity.presentGrants(of: [amina, badr, nobody])
            #expect(present == [amina: [day], badr: [week], nobody: []])
        }
    }

    @Test("a permission for a camera group that does not exist is refused, and names it")
    func unknownFolders() async throws {
        try await IdentityRig.with { rig in
            try await rig.folder("METRO", "gates")
            let gates = Grant(try #require(Permission("camera:METRO/gates:view")))
            // Of another source, the group is another one.
            let other = Grant(try #require(Permission("camera:BUS/gates:view")))
            let identity = rig.identity
            var group = try await identity.createGroup(
                name: "Gates", grants: [gates], by: IdentityRig.program)
            let before = try await rig.events()
            await #expect(
                throws: MarsadError(
                    .unprocessable,
                    details: [
                        "field": "permissions", "folder": "BUS/gates",
                        "reason": "there is no such camera group",
                    ])
            ) {
                _ = try await identity.createGroup(
                    name: "Others", grants: [gates, other], by: IdentityRig.program)
            }
            group.grants = [other]
            let changed = group
            #expect(
                await code { try await identity.updateGroup(changed, by: IdentityRig.program) }
                    == .unprocessable)
            #expect(
                try await identity.group(group.id, for: IdentityRig.program).grants == [gates])
            #expect(try await rig.events() == before)
            try await rig.folder("BUS", "gates")
            try await identity.updateGroup(changed, by: IdentityRig.program)
        }
    }

    @Test("nothing takes the last administrator's rights away, and each refusal changes nothing")
    func lastAdministrator() async throws {
        try await IdentityRig.with { rig in
            let identity = rig.identity
            let program = IdentityRig.program
            let user = try await rig.user("chief", agency: "")
            let other = try await rig.user("other", agency: "")
            let administer = Grant(try #require(Permission("iam:admin")))
            var group = try await identity.createGroup(
                name: "Administrators", grants: [administer], by: program)
            try await identity.addMember(user.id, to: group.id, by: program)
            let kept = group
            group.grants = []
            let emptied = group
            let calls: [@Sendable () async throws -> Void] = [
                { try await identity.setStatus(user.id, .disabled, by: program) },
                { try await identity.setStatus(user.id, .pending, by: program) },
                { try await identity.updateGroup(emptied, by: program) },
                { try await identity.deleteGroup(kept.id, by: program) },
                { try await identity.removeMember(user.id, from: kept.id, by: program) },
            ]
            for call in calls { #expect(await code { try await call() } == .lastAdministrator) }
            #expect(try await identity.user(user.id, for: program).status == .active)
            #expect(try await identity.effectiveGrants(of: user.id, for: program) == [administer])
            // Somebody who is not active keeps nobody's place.
            try await identity.addMember(other.id, to: group.id, by: program)
            try await identity.setStatus(other.id, .disabled, by: program)
            for call in calls { #expect(await code { try await call() } == .lastAdministrator) }
            let none = try GroupID.none
            #expect(
                await code { try await identity.removeMember(user.id, from: none, by: program) }
                    == .notFound)
            try await identity.setStatus(other.id, .active, by: program)
            try await identity.removeMember(user.id, from: kept.id, by: program)
            let events = try await rig.events()
            #expect(events.filter { $0 == "GROUP_MEMBER_REMOVED" }.count == 1)
            #expect(!events.contains("GROUP_DELETED"))
        }
    }

    @Test("the program itself always may what it may")
    func program() async throws {
        try await IdentityRig.with { rig in
            let renewed = try await rig.identity.renewed(.program("local"))
            #expect(renewed?.visibility.isEverything == true)
        }
    }

    @Test("a password is known to be somebody's without a login")
    func isPassword() async throws {
        try await IdentityRig.with { rig in
            let user = try await rig.user("amina")
            let identity = rig.identity
            #expect(
                try await identity.isPassword(
                    IdentityRig.password, of: user.id, for: IdentityRig.program))
            #expect(
                try await !identity.isPassword(
                    Redacted("another one, not hers"), of: user.id, for: IdentityRig.program))
            let caller = try await rig.authenticate(try await rig.login("amina"))
            #expect(
                await code {
                    _ = try await identity.isPassword(
                        IdentityRig.password, of: user.id, for: caller)
                } == .forbidden)
            #expect(try await rig.events().filter { $0.hasPrefix("LOGIN") }.count == 1)
        }
    }
}
