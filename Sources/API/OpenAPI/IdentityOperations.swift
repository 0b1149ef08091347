// Sign-in, users, groups and the audit log in the document of the interface.
// SPDX-License-Identifier: Apache-2.0

import Domain
import Identity

extension Operation {
    static let signIn = Operation(
        "sign_in", .authentication, "Signs in with a name and a password",
        notes: "Repeated failures have to wait, by account and by address.",
        body: .json(.object("Credentials", ["login_id": .prose(), "password": .prose()])),
        answers: [.json(TokenBody.schema)], errors: [.invalidCredentials, .userDisabled])

    static let refreshToken = Operation(
        "refresh_token", .authentication, "Exchanges a refresh token for a new pair",
        notes: "Each is good once; used again it ends its login session.",
        body: .json(.object("RefreshRequest", ["refresh_token": .prose()])),
        answers: [.json(TokenBody.schema)],
        errors: [.invalidToken, .tokenExpired, .sessionRevoked, .userDisabled])

    static let signOut = Operation(
        "sign_out", .authentication, "Ends the caller's login session", answers: [.noContent])

    static let keySet = Operation(
        "get_jwks", .authentication, "The public keys of access tokens (RFC 7517)",
        answers: [
            .json(
                .object(
                    "KeySet",
                    [
                        "keys": .list(
                            .object([
                                "kty": .choice(["RSA"]), "use": .choice(["sig"]),
                                "alg": .choice(["RS256"]), "kid": .text(), "n": .text(),
                                "e": .text(),
                            ]))
                    ]), type: JSONType.keySet)
        ])

    static let me = Operation(
        "get_me", .identity, "The caller, what it may do and which sources it sees",
        answers: [.json(CallerBody.schema)])

    // MARK: Users

    static let listUsers = Operation(
        "list_users", .identity, "Users",
        query: [
            Parameter("agency", .prose(1...Limits.textCharacters)),
            Parameter("status", .choice(UserStatus.allCases)),
            Parameter("group_id", .identifier), .words, .limit, .offset,
        ], answers: [.json(UserListBody.schema)])

    static let createUser = Operation(
        "create_user", .identity, "Creates an account",
        body: .json(.newUser), answers: [.created(UserBody.schema)],
        errors: [.alreadyExists, .notFound, .unprocessable])

    static let getUser = Operation(
        "get_user", .identity, "A user, with groups and permissions", path: ["id": .identifier],
        answers: [.json(UserDetailBody.schema)], errors: [.notFound])

    static let updateUser = Operation(
        "update_user", .identity, "Replaces a user's profile", path: ["id": .identifier],
        body: .json(UserProfile.schema), answers: [.json(UserDetailBody.schema)],
        errors: [.notFound, .unprocessable])

    static let setUserStatus = Operation(
        "set_user_status", .identity, "Lets a user in, or no more",
        notes: "Disabling ends streams, sockets, playback and tokens within a second.",
        path: ["id": .identifier],
        body: .json(.object("UserStatusChange", ["status": .choice(UserStatus.allCases)])),
        answers: [.json(UserDetailBody.schema)],
        errors: [.notFound, .conflict, .lastAdministrator])

    static let addMember = Operation(
        "add_user_to_group", .identity, "Puts a user into a group", path: ["id": .identifier],
        body: .json(.object("Membership", ["group_id": .identifier])),
        answers: [.json(UserDetailBody.schema)], errors: [.notFound, .alreadyExists])

    static let removeMember = Operation(
        "remove_user_from_group", .identity, "Takes a user out of a group",
        path: ["id": .identifier, "group": .identifier], answers: [.noContent],
        errors: [.notFound, .conflict, .lastAdministrator])

    // MARK: Groups

    static let listGroups = Operation(
        "list_groups", .identity, "Groups", answers: [.json(GroupListBody.schema)])

    static let createGroup = Operation(
        "create_group", .identity, "Creates a group", body: .json(GroupRequest.schema),
        answers: [.created(GroupBody.schema)], errors: [.alreadyExists, .unprocessable])

    static let getGroup = Operation(
        "get_group", .identity, "A group", path: ["id": .identifier],
        answers: [.json(GroupBody.schema)], errors: [.notFound])

    static let updateGroup = Operation(
        "update_group", .identity, "Replaces a group", path: ["id": .identifier],
        body: .json(GroupRequest.schema), answers: [.json(GroupBody.schema)],
        errors: [.notFound, .alreadyExists, .conflict, .lastAdministrator, .unprocessable])

    static let deleteGroup = Operation(
        "delete_group", .identity, "Deletes a group", path: ["id": .identifier],
        answers: [.noContent], errors: [.notFound, .conflict, .lastAdministrator])

    // MARK: Events and audit

    static let takeEvent = Operation(
        "take_iam_event", .identity, "An event of the organisation's identity system",
        notes: "USER_CREATED, USER_UPDATED, USER_DISABLED, GROUP_CHANGED. An event that was taken "
            + "before is answered with `applied: false`.",
        headers: [.required("X-IAM-Timestamp", .text(1...20, pattern: "^[0-9]+$"))],
        body: .json(.table(.anything)),
        answers: [.json(.object("EventResult", ["applied": .flag]))],
        errors: [.notFound, .lastAdministrator])

    static let listAudit = Operation(
        "list_audit", .audit, "The audit log, newest first",
        query: [
            Parameter("event_type", .choice(AuditEvent.Kind.allCases)),
            Parameter("user_id", .identifier), Parameter("start_time", .time),
            Parameter("end_time", .time), Parameter("before", .integer(Bounds.rowID)), .limit,
        ], answers: [.json(AuditListBody.schema)])
}

extension Schema {
    static let newUser = UserProfile.schema.adding([
        "login_id": .loginID,
        "password": .prose(Limits.passwordCharacters).example("a long sentence of your own")
            .optional,
        "origin": .choice([UserOrigin.local, .external]).optional,
        "status": .choice(UserStatus.allCases).optional,
        "groups": .list(.identifier, upTo: UserProfile.groupsAtMost).optional,
    ])
}

extension TokenBody {
    static let schema = Schema.object(
        "TokenGrant",
        ["access_token": .text(), "expires_in": .count, "refresh_token": .text().optional])
}

extension UnitBody {
    static let schema = Schema.object(
        "OrganizationUnit", ["code": .text(), "name": .text(), "name_arabic": .text()])
    /// As it is sent.
    static let request = Schema.object(
        "OrganizationUnitDefinition",
        [
            "code": .line(UserProfile.characters).example("METRO"),
            "name": .line(UserProfile.characters).optional,
            "name_arabic": .line(UserProfile.characters).optional,
        ])
}

extension UserProfile {
    static let groupsAtMost = 100
    fileprivate static let characters = 0...Limits.textCharacters

    static let schema = Schema.object(
        "UserProfile",
        [
            "display_name": .line(1...Limits.textCharacters).example("Amina"),
            "full_name_arabic": .line(characters).optional,
            "employee_number": .line(characters).optional, "email": .line(characters).optional,
            "agency": UnitBody.request.optional, "department": UnitBody.request.optional,
            "section": UnitBody.request.optional,
        ])
}

extension UserBody {
    static let schema = Schema.object(
        "User",
        [
            "user_id": .identifier, "login_id": .loginID,
            "origin": .choice([UserOrigin.local, .external, .demo]),
            "employee_number": .text().optional, "display_name": .text(),
            "full_name_arabic": .text(), "email": .text().optional, "agency": UnitBody.schema,
            "department": UnitBody.schema.optional, "section": UnitBody.schema.optional,
            "status": .choice(UserStatus.allCases), "created_at": .time, "updated_at": .time,
            "last_login": .time.optional,
        ])
}

extension UserListBody {
    static let schema = Schema.object(
        "UserList", ["users": .list(UserBody.schema), "total": .count])
}

extension UserDetailBody {
    static let schema = Schema.object(
        "UserDetail",
        [
            "user": UserBody.schema, "groups": .list(GroupBody.schema),
            "permissions": .list(GrantBody.schema),
        ])
}

extension CallerBody {
    static let schema = Schema.object(
        "Caller",
        [
            "user": UserBody.schema.optional, "actor": .text(),
            "permissions": .list(GrantBody.schema),
            "camera_sources": .list(.text().described("`*` for all.")),
        ])
}

extension GrantBody {
    static let schema = Schema.object(
        "Grant",
        [
            "permission": .text(pattern: Permission.pattern).example("camera:METRO:view"),
            "playback_hours": .integer(1...Grant.maxPlaybackHours).optional,
        ])
}

extension Permission {
    /// What the texts of permissions are.
    fileprivate static let pattern: String = {
        let scope = "(\\*|[A-Z0-9_]{1,32}(/[a-z0-9-]{1,64})?)"
        let texts = Action.allCases.map { action in
            let parts = action.rawValue.split(separator: ":")
            return action.isScoped ? "\(parts[0]):\(scope):\(parts[1])" : action.rawValue
        }
        return "^(" + texts.joined(separator: "|") + ")$"
    }()
}

extension GroupRequest {
    static let schema = Schema.object(
        "GroupDefinition",
        [
            "name": .prose(1...Limits.textCharacters).example("Metro operators"),
            "name_arabic": .prose(0...Limits.textCharacters).optional,
            "description": .prose(0...Limits.textCharacters).optional,
            "default_agency": .prose(0...Limits.textCharacters).optional,
            "permissions": .list(GrantBody.schema, upTo: Limits.grantsPerGroup).optional,
        ])
}

extension GroupBody {
    static let schema = Schema.object(
        "Group",
        [
            "group_id": .identifier, "name": .text(), "name_arabic": .text(),
            "description": .text(), "default_agency": .text().optional,
            "permissions": .list(GrantBody.schema),
        ])
}

extension GroupListBody {
    static let schema = Schema.object(
        "GroupList", ["groups": .list(GroupBody.schema), "total": .count])
}

extension AuditRowBody {
    static let schema = Schema.object(
        "AuditRow",
        [
            "id": .integer(Bounds.rowID), "event_type": .text(), "user_id": .text().optional,
            "actor_id": .text(), "timestamp": .time, "details": .table(.text()),
            "ip_address": .text(), "user_agent": .text(), "request_id": .text(),
            "previous_hash": .text(), "hash": .text(),
        ])
}

extension AuditListBody {
    static let schema = Schema.object(
        "AuditList",
        ["rows": .list(AuditRowBody.schema), "next_before": .integer(Bounds.rowID).optional])
}
