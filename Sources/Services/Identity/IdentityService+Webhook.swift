// What an event of the organisation's identity system changes here.
// SPDX-License-Identifier: Apache-2.0

import Database
package import Domain
import JSON

extension IdentityService {
    /// Acts on a verified event, once: a second one with its id changes nothing and answers false.
    package func apply(
        _ event: IAMEvent, from origin: RequestOrigin
    ) async throws(MarsadError) -> Bool {
        var caller = Caller.program("webhook")
        caller.origin = origin
        let take = IAMWebhook.take(event, at: world.wallTime())
        if try await isTaken(event) { return false }
        do {
            try await act(on: event, by: caller, take)
            return true
        } catch {
            // Taken by another node meanwhile: the key of its row is what failed.
            if error.code == .alreadyExists, try await isTaken(event) { return false }
            throw error
        }
    }

    private func act(
        on event: IAMEvent, by caller: Caller, _ take: Statement
    ) async throws(MarsadError) {
        guard let loginID = event.data["login_id"]?.text.flatMap({ LoginID($0) }) else {
            throw Self.invalid("login_id")
        }
        switch event.kind {
        case .userCreated:
            guard let profile = Self.profile(event.data, over: nil) else {
                throw Self.invalid("data")
            }
            try await create(
                NewUser(
                    loginID: loginID, origin: .external, profile: profile,
                    status: try Self.status(event.data)),
                by: caller, also: [take])
        case .userUpdated:
            let user = try await user(named: loginID, for: caller)
            guard let profile = Self.profile(event.data, over: user.profile) else {
                throw Self.invalid("data")
            }
            try await update(user.id, profile: profile, by: caller, also: [take])
        case .userDisabled:
            let user = try await user(named: loginID, for: caller)
            try await changeStatus(user.id, .disabled, by: caller, also: [take])
        case .groupChanged:
            try await changeGroups(
                of: try await user(named: loginID, for: caller), event.data, by: caller, take)
        }
    }

    /// The event names all groups of the user; one that does not exist here refuses the event.
    private func changeGroups(
        of user: User, _ data: [String: JSONValue], by caller: Caller, _ take: Statement
    ) async throws(MarsadError) {
        guard let names = data["groups"]?.elements?.compactMap(\.text),
            names.count == data["groups"]?.elements?.count, names.count <= Limits.groupsPerUser
        else { throw Self.invalid("groups") }
        let known = try await reading { () async throws(DatabaseError) in
            try await groups.groups()
        }
        let wanted = known.filter { names.contains($0.name) }
        guard wanted.count == Set(names).count else { throw Self.invalid("groups") }
        let now = world.wallTime()
        var details = name(user)
        details["groups"] = wanted.map(\.name).joined(separator: ", ")
        try await commit(
            AuditEvent(.groupsChanged, by: caller, subject: user.id, details: details),
            try await keepingAdministrator(
                [take, groups.removeMemberships(of: user.id)]
                    + wanted.map {
                        groups.addMember(user.id, to: $0.id, by: caller.actor, at: now)
                    }), missing: .lastAdministrator)
        await rightsChanged(of: [user.id])
    }

    private func isTaken(_ event: IAMEvent) async throws(MarsadError) -> Bool {
        try await reading { () async throws(DatabaseError) in
            try await !parts.database.query(
                Statement(
                    "SELECT event_id FROM webhook_events WHERE event_id = ?", [.text(event.id)])
            ).isEmpty
        }
    }

    private static func status(_ data: [String: JSONValue]) throws(MarsadError) -> UserStatus {
        guard let value = data["status"] else { return .active }
        guard let status = value.text.flatMap({ UserStatus(rawValue: $0) }) else {
            throw invalid("status")
        }
        return status
    }

    /// What the event says, over what is known; `nil` where a name or the agency is missing.
    private static func profile(
        _ data: [String: JSONValue], over known: UserProfile?
    ) -> UserProfile? {
        func unit(_ name: String, _ known: OrganizationUnit?) -> OrganizationUnit? {
            guard let members = data[name]?.members, let code = members["code"]?.text else {
                return known
            }
            return OrganizationUnit(
                code: code, name: members["name"]?.text ?? known?.name ?? "",
                nameArabic: members["name_arabic"]?.text ?? known?.nameArabic ?? "")
        }
        guard let displayName = data["display_name"]?.text ?? known?.displayName,
            let agency = unit("agency", known?.agency)
        else { return nil }
        var profile = UserProfile(
            displayName: displayName,
            fullNameArabic: data["full_name_arabic"]?.text ?? known?.fullNameArabic ?? "",
            agency: agency)
        profile.employeeNumber = data["employee_number"]?.text ?? known?.employeeNumber
        profile.email = data["email"]?.text ?? known?.email
        profile.department = unit("department", known?.department)
        profile.section = unit("section", known?.section)
        return profile
    }

    private static func invalid(_ field: String) -> MarsadError {
        MarsadError(.invalidRequest, details: ["field": field])
    }
}
