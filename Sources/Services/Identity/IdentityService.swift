// Users, groups, logins and tokens behind one door; every change leaves exactly one audit row.
// SPDX-License-Identifier: Apache-2.0

package import Database
package import Domain
package import JOSE
package import Primitives
import Synchronization

/// What a login or a refresh gives.
package struct TokenGrant: Sendable {
    package let accessToken: Redacted<String>
    package let expiresIn: Duration
    /// `nil` for a token that was issued by itself.
    package let refreshToken: Redacted<String>?
}

/// Told of each new user, to welcome it by whatever the installation uses. Returns at once.
package typealias WelcomeHook = @Sendable (User) -> Void

/// Told of users whose permissions this process has just changed.
package typealias RightsListener = @Sendable (Set<UserID>) async -> Void

/// The one service of identity. Methods that change something take who acts, and ask what he may.
package final class IdentityService: Sendable {
    /// The parts that identity is made of.
    package struct Parts: Sendable {
        package var database: any DatabaseEngine
        package var audit: AuditLog
        package var tokens: AccessTokens
        package var hasher: PasswordHasher
        package var revocations: Revocations
        package var world: World
        package var external: ExternalTokens?
        package var welcome: WelcomeHook?

        package init(
            database: any DatabaseEngine, audit: AuditLog, tokens: AccessTokens,
            hasher: PasswordHasher, revocations: Revocations, world: World
        ) {
            self.database = database
            self.audit = audit
            self.tokens = tokens
            self.hasher = hasher
            self.revocations = revocations
            self.world = world
        }
    }

    let parts: Parts
    let users: UserStore
    let groups: GroupStore
    let sessions: LoginSessions
    let accounts: AccountCache
    let backoff = Mutex(LoginBackoff())
    let rightsListeners = Mutex<[RightsListener]>([])

    var world: World { parts.world }
    package var revocations: Revocations { parts.revocations }
    /// How the audit log is told.
    package var auditing: Auditing { parts.audit.auditing }
    /// The public keys, for `/.well-known/jwks.json`.
    package var keySet: KeySet { parts.tokens.keys.keySet }
    /// The same as the text of a JWK set (RFC 7517 §5).
    package var publishedKeys: String { keySet.serialized }

    package init(_ parts: Parts) {
        self.parts = parts
        users = UserStore(database: parts.database)
        groups = GroupStore(database: parts.database)
        sessions = LoginSessions(database: parts.database, world: parts.world)
        accounts = AccountCache(users: users, groups: groups, world: parts.world)
        let accounts = accounts
        parts.revocations.onRevocation { revocation in
            if case .user(let id) = revocation.target { accounts.forget(id) }
        }
    }

    /// Takes what other processes revoked, keys they made, and writes what waits; call about twice a
    /// second. Throws nothing: what fails now is tried again.
    package func advance() async {
        try? await parts.revocations.poll()
        await parts.audit.advance()
    }

    /// Removes what can never count again; call about once an hour.
    package func tidy() async {
        let now = world.wallTime()
        try? parts.tokens.keys.reload()
        _ = try? await parts.database.transaction([
            sessions.forget(at: now), Revocations.forget(at: now),
            IAMWebhook.forget(at: now),
        ])
    }

    // MARK: For the other files of this type

    /// Throws FORBIDDEN, and leaves a denial in the audit log, unless the caller may.
    func require(_ action: Permission.Action, of caller: Caller) throws(MarsadError) {
        guard !caller.may(action) else { return }
        try? parts.audit.note(
            AuditEvent(.accessDenied, by: caller, details: ["action": action.rawValue]))
        throw MarsadError(.forbidden)
    }

    /// A change and its audit row, both or neither.
    func commit(
        _ event: AuditEvent, _ statements: [Statement], missing: MarsadError.Code = .notFound
    ) async throws(MarsadError) {
        do {
            try await parts.audit.commit(event, with: statements)
        } catch {
            switch error {
            case .constraint(.unique, _): throw MarsadError(.alreadyExists)
            case .expectationFailed(let index)
            where missing == .lastAdministrator && statements.indices.contains(index):
                // What failed beside the proof was not there any more.
                let isProof = statements[index].sql == users.someAdministrator().sql
                throw MarsadError(isProof ? missing : .notFound)
            case .constraint(.foreignKey, _), .expectationFailed:
                throw MarsadError(missing == .lastAdministrator ? .notFound : missing)
            default: throw MarsadError(.storageUnavailable)
            }
        }
    }

    /// A change that takes rights away, in one transaction with the proof that somebody is left who may
    /// give them back. Throws LAST_ADMINISTRATOR; where nobody may as it is, there is nobody to keep.
    func keepingAdministrator(
        _ statements: [Statement]
    ) async throws(MarsadError) -> [Statement] {
        let hasOne = try await reading { () async throws(DatabaseError) in
            try await users.hasAdministrator()
        }
        return hasOne ? statements + [users.someAdministrator()] : statements
    }

    /// A read whose failure callers hear as STORAGE_UNAVAILABLE.
    func reading<T>(
        _ body: () async throws(DatabaseError) -> T
    ) async throws(MarsadError) -> T {
        do {
            return try await body()
        } catch {
            throw MarsadError(.storageUnavailable)
        }
    }

    /// Writes a row of something that happened beside a change; where it cannot be, the change stands.
    func tell(_ event: AuditEvent) { try? parts.audit.note(event) }
}
