// Users and groups over HTTP, and the events of an organisation's identity system.
// SPDX-License-Identifier: Apache-2.0

import Domain
import HTTPTypes
import Hummingbird
import Identity
import NIOCore
import Primitives

extension HTTPField.Name {
    static let iamSignature = HTTPField.Name("X-IAM-Signature") ?? .eTag
    static let iamTimestamp = HTTPField.Name("X-IAM-Timestamp") ?? .eTag
}

extension Routes {
    private static let webhookBytes = 64 * 1024
    private var identity: IdentityService { services.identity }

    func administration(_ table: RouteTable) {
        let group = table.group("api/v1/iam")
        group.get("me", .caller, .me) { _, context in
            let caller = context.caller
            var user: User?
            if let id = caller.actor.userID { user = try await identity.user(id, for: caller) }
            return try jsonResponse(
                CallerBody(caller, user), headers: [.cacheControl: "no-store"])
        }
        users(group)
        groups(group)
        table.on(.post, "webhook/iam", .signedBody, .takeEvent) { request, context in
            try await takeEvent(request, context)
        }
    }

    // MARK: Users

    private func users(_ group: RouteGroup) {
        group.get("users", .permission(.administerUsers), .listUsers) { request, context in
            let found = try await identity.users(try filter(request), for: context.caller)
            return try jsonResponse(
                UserListBody(users: found.users.map(UserBody.init), total: found.total))
        }
        group.post("users", .permission(.administerUsers), .createUser) { request, context in
            try await createUser(request, context.caller)
        }
        group.get("users/:id", .permission(.administerUsers), .getUser) { _, context in
            try await detail(context.userID(), for: context.caller)
        }
        group.put("users/:id", .permission(.administerUsers), .updateUser) { request, context in
            let body = try await body(of: request, allowing: UserProfile.schema.keys)
            let id = try context.userID()
            try await identity.updateUser(id, profile: UserProfile(body), by: context.caller)
            return try await detail(id, for: context.caller)
        }
        group.patch("users/:id/status", .permission(.administerUsers), .setUserStatus) {
            request, context in
            let body = try await body(of: request, allowing: ["status"])
            guard let status = try body.choice("status", UserStatus.allCases) else {
                throw MarsadError(
                    .invalidRequest, details: ["key": "status", "reason": "required"])
            }
            let id = try context.userID()
            try await identity.setStatus(id, status, by: context.caller)
            return try await detail(id, for: context.caller)
        }
        group.post("users/:id/groups", .permission(.administerUsers), .addMember) {
            request, context in
            let body = try await body(of: request, allowing: ["group_id"])
            guard let groupID = GroupID(try body.requiredText("group_id")) else {
                throw MarsadError(.notFound)
            }
            let id = try context.userID()
            try await identity.addMember(id, to: groupID, by: context.caller)
            return try await detail(id, for: context.caller)
        }
        group.delete("users/:id/groups/:group", .permission(.administerUsers), .removeMember) {
            _, context in
            try await identity.removeMember(
                context.userID(), from: context.groupID("group"), by: context.caller)
            return Response(status: .noContent)
        }
    }

    private func filter(_ request: Request) throws(MarsadError) -> UserStore.Filter {
        let query = Query(request)
        var filter = UserStore.Filter()
        filter.agency = query["agency"]
        filter.text = query["q"]
        if let text = query["status"] {
            guard let status = UserStatus(rawValue: text) else {
                throw MarsadError(.invalidRequest, details: ["parameter": "status"])
            }
            filter.status = status
        }
        if let text = query["group_id"] {
            guard let group = GroupID(text) else {
                throw MarsadError(.invalidRequest, details: ["parameter": "group_id"])
            }
            filter.group = group
        }
        filter.limit = query.integer("limit") ?? 100
        filter.offset = query.integer("offset") ?? 0
        return filter
    }

    private func createUser(_ request: Request, _ caller: Caller) async throws -> Response {
        let body = try await body(
            of: request,
            allowing: Schema.newUser.keys
        )
        let text = try body.requiredText("login_id")
        guard let loginID = LoginID(text) else {
            throw MarsadError(
                .invalidRequest,
                details: ["key": "login_id", "allowed": "a–z, 0–9 and . _ - @, up to 64"])
        }
        var new = NewUser(
            loginID: loginID,
            origin: try body.choice("origin", [UserOrigin.local, .external]) ?? .local,
            profile: try UserProfile(body),
            status: try body.choice("status", UserStatus.allCases) ?? .active,
            password: try body.text("password").map { Redacted($0) })
        for text in try body.texts("groups", upTo: UserProfile.groupsAtMost) ?? [] {
            guard let id = GroupID(text) else {
                throw MarsadError(.invalidRequest, details: ["key": "groups"])
            }
            new.groups.append(id)
        }
        let user = try await identity.createUser(new, by: caller)
        return try jsonResponse(
            UserBody(user), status: .created, headers: [.location: "/api/v1/iam/users/\(user.id)"])
    }

    private func detail(_ id: UserID, for caller: Caller) async throws -> Response {
        try jsonResponse(
            UserDetailBody(
                user: UserBody(try await identity.user(id, for: caller)),
                groups: try await identity.groups(of: id, for: caller).map(GroupBody.init),
                permissions: try await identity.effectiveGrants(of: id, for: caller)
                    .map(GrantBody.init)))
    }

    // MARK: Groups

    private func groups(_ group: RouteGroup) {
        group.get("groups", .permission(.administerUsers), .listGroups) { _, context in
            try jsonResponse(GroupListBody(try await identity.groups(for: context.caller)))
        }
        group.post("groups", .permission(.administerUsers), .createGroup) { request, context in
            let wanted = try GroupRequest(
                await body(of: request, allowing: GroupRequest.schema.keys))
            let made = try await identity.createGroup(
                name: wanted.name, nameArabic: wanted.nameArabic, description: wanted.description,
                defaultAgency: wanted.defaultAgency, grants: wanted.grants, by: context.caller)
            return try jsonResponse(
                GroupBody(made), status: .created,
                headers: [.location: "/api/v1/iam/groups/\(made.id)"])
        }
        group.get("groups/:id", .permission(.administerUsers), .getGroup) { _, context in
            try jsonResponse(
                GroupBody(try await identity.group(context.groupID("id"), for: context.caller)))
        }
        group.put("groups/:id", .permission(.administerUsers), .updateGroup) { request, context in
            let wanted = try GroupRequest(
                await body(of: request, allowing: GroupRequest.schema.keys))
            let changed = UserGroup(
                id: try context.groupID("id"), name: wanted.name, nameArabic: wanted.nameArabic,
                description: wanted.description, defaultAgency: wanted.defaultAgency,
                grants: wanted.grants)
            try await identity.updateGroup(changed, by: context.caller)
            return try jsonResponse(GroupBody(changed))
        }
        group.delete("groups/:id", .permission(.administerUsers), .deleteGroup) { _, context in
            try await identity.deleteGroup(context.groupID("id"), by: context.caller)
            return Response(status: .noContent)
        }
    }

    // MARK: Events of an identity system

    /// Its signature is over the bytes as they came. An event that was taken before is answered as one
    /// that was, so that its sender stops sending it.
    private func takeEvent(
        _ request: Request, _ context: MarsadRequestContext
    ) async throws -> Response {
        guard let webhook = services.webhook else { throw MarsadError(.notFound) }
        var request = request
        let body = try await request.collectBody(upTo: Self.webhookBytes)
        let event = try webhook.verify(
            body: Array(body.readableBytesView),
            signature: request.headers[.iamSignature] ?? "",
            timestamp: request.headers[.iamTimestamp] ?? "", at: services.world.wallTime())
        let isNew = try await identity.apply(event, from: context.origin(of: request))
        return try jsonResponse(["applied": isNew])
    }
}

extension MarsadRequestContext {
    fileprivate func userID() throws(MarsadError) -> UserID {
        guard let id = parameters.get("id").flatMap({ UserID($0) }) else {
            throw MarsadError(.notFound)
        }
        return id
    }

    fileprivate func groupID(_ name: String) throws(MarsadError) -> GroupID {
        guard let id = parameters.get(name).flatMap({ GroupID($0) }) else {
            throw MarsadError(.notFound)
        }
        return id
    }
}
