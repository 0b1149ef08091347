// Who asks: an authenticated person, or the program itself.
// SPDX-License-Identifier: Apache-2.0

package import Primitives

/// Who does something, as the audit log names him.
package enum Actor: Hashable, Sendable, CustomStringConvertible {
    case user(UserID)
    /// A part of the program: `cli`, `server`, `webhook`.
    case program(String)
    /// Nobody yet: somebody who has not signed in.
    case anonymous

    package var description: String {
        switch self {
        case .user(let id): id.rawValue
        case .program(let name): name
        case .anonymous: "anonymous"
        }
    }

    package var userID: UserID? {
        if case .user(let id) = self { id } else { nil }
    }
}

/// Where a request came from, for back-off and for the audit log.
package struct RequestOrigin: Hashable, Sendable {
    /// The peer's address without its port.
    package var address: String
    package var userAgent: String
    package var requestID: String

    /// Each text is cut to what a row holds.
    package init(address: String = "", userAgent: String = "", requestID: String = "") {
        self.address = address.shortened(to: 64)
        self.userAgent = userAgent.shortened(to: 256)
        self.requestID = requestID.shortened(to: 128)
    }
}

/// How far back a caller may play a camera's recordings.
package enum PlaybackReach: Hashable, Sendable {
    case none
    case hours(Int)
    case unlimited
}

/// An authenticated caller with all that it may do, as of a second ago at most.
package struct Caller: Sendable {
    /// One thing to hold on to: a caller goes through many hands with each request.
    private final class Facts: Sendable {
        let actor: Actor
        let loginID: LoginID?
        let agency: String?
        let sessionID: String?
        let grants: [Grant]
        let visibility: Visibility
        let issuedAt: WallTime
        let expiresAt: WallTime

        init(
            _ actor: Actor, _ loginID: LoginID?, _ agency: String?, _ sessionID: String?,
            _ grants: [Grant], _ visibility: Visibility, _ issuedAt: WallTime, _ expiresAt: WallTime
        ) {
            self.actor = actor
            self.loginID = loginID
            self.agency = agency
            self.sessionID = sessionID
            self.grants = grants
            self.visibility = visibility
            self.issuedAt = issuedAt
            self.expiresAt = expiresAt
        }
    }

    private let facts: Facts
    package var origin: RequestOrigin

    package var actor: Actor { facts.actor }
    /// For people; `nil` for a part of the program.
    package var loginID: LoginID? { facts.loginID }
    package var agency: String? { facts.agency }
    /// The login session, which ends all that was opened with it; `nil` for an external token.
    package var sessionID: String? { facts.sessionID }
    package var grants: [Grant] { facts.grants }
    package var visibility: Visibility { facts.visibility }
    /// When the token was issued: a revocation that is newer ends what it opened.
    package var issuedAt: WallTime { facts.issuedAt }
    package var expiresAt: WallTime { facts.expiresAt }

    /// - Parameter visibility: made by Identity from the same grants.
    package init(
        actor: Actor, loginID: LoginID? = nil, agency: String? = nil, sessionID: String? = nil,
        grants: [Grant], visibility: Visibility, issuedAt: WallTime, expiresAt: WallTime,
        origin: RequestOrigin = RequestOrigin()
    ) {
        facts = Facts(
            actor, loginID, agency, sessionID, grants, visibility, issuedAt, expiresAt)
        self.origin = origin
    }

    /// A part of the program acting for whoever runs it on the machine itself.
    package static func program(_ name: String) -> Caller {
        let grants = Permission.Action.allCases.compactMap {
            Permission($0, $0.isScoped ? .all : nil)
        }.map { Grant($0) }
        return Caller(
            actor: .program(name), grants: grants, visibility: .everything,
            issuedAt: WallTime(microseconds: 0), expiresAt: WallTime(microseconds: .max))
    }

    /// Whether an action that is not about cameras is permitted.
    package func may(_ action: Permission.Action) -> Bool {
        grants.contains { $0.permission.action == action && $0.permission.scope == nil }
    }

    /// Whether an action is permitted on cameras of this source and camera group.
    package func may(
        _ action: Permission.Action, on source: Source, _ folder: FolderID?
    ) -> Bool {
        grants.contains {
            $0.permission.action == action && ($0.permission.scope?.covers(source, folder) ?? false)
        }
    }

    package func may(_ action: Permission.Action, on camera: Camera) -> Bool {
        may(action, on: camera.source, camera.folderID)
    }

    /// The widest of the grants that cover the camera.
    package func playbackReach(of source: Source, _ folder: FolderID?) -> PlaybackReach {
        let limits = grants.filter {
            $0.permission.action == .viewPlayback
                && ($0.permission.scope?.covers(source, folder) ?? false)
        }.map(\.playbackHours)
        if limits.isEmpty { return .none }
        if limits.contains(nil) { return .unlimited }
        return .hours(limits.compactMap { $0 }.max() ?? 1)
    }
}
