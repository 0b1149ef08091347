// Logins, refreshes, and who a bearer of a token is.
// SPDX-License-Identifier: Apache-2.0

import Database
package import Domain
import JOSE
package import Primitives
import Synchronization

extension IdentityService {
    /// Signs a local account in. A wrong name and a wrong password are the same to the caller, in words
    /// and in time.
    package func login(
        _ loginID: String, password: Redacted<String>, from origin: RequestOrigin
    ) async throws(MarsadError) -> TokenGrant {
        let name = LoginID(loginID)
        let account = name?.rawValue ?? "?"
        let (begun, wait) = backoff.withLock {
            $0.begin(account: account, address: origin.address, at: world.now())
        }
        guard let begun else {
            throw MarsadError(
                .rateLimitExceeded,
                details: ["retry_after": String(max(1, Int(wait.inSeconds.rounded(.up))))])
        }
        var ending = LoginBackoff.Ending.abandoned
        defer { backoff.withLock { $0.end(begun, ending, at: world.now()) } }
        let user = try await reading { () async throws(DatabaseError) -> User? in
            guard let name else { return nil }
            return try await users.user(name)
        }
        let hash = try await reading { () async throws(DatabaseError) -> Redacted<String>? in
            guard let user else { return nil }
            return try await users.passwordHash(of: user.id)
        }
        let match = try await parts.hasher.check(password, against: hash)
        guard let user, match != .no else {
            ending = .failed
            return try await refuse(.invalidCredentials, user, account, origin)
        }
        ending = .succeeded
        guard user.status == .active else {
            return try await refuse(.userDisabled, user, account, origin)
        }
        if match == .outdated, let renewed = try? await parts.hasher.hash(password) {
            _ = try? await parts.database.execute(
                users.setPasswordHash(user.id, renewed, at: world.wallTime()))
        }
        return try await begin(user, from: origin)
    }

    /// Gives a new pair of tokens for a refresh token, which is used up by it. A second use of one
    /// ends the whole session: one of the two users of it is a thief (RFC 9700 §4.14.2).
    package func refresh(
        _ token: Redacted<String>, from origin: RequestOrigin
    ) async throws(MarsadError) -> TokenGrant {
        let now = world.wallTime()
        switch try await reading({ () async throws(DatabaseError) in
            try await sessions.use(token, at: now)
        }) {
        case .unknown: throw MarsadError(.invalidToken)
        case .expired: throw MarsadError(.tokenExpired)
        case .sessionEnded(let id):
            let status = try await account(id)?.user.status
            throw MarsadError(status == .active ? .sessionRevoked : .userDisabled)
        case .reused(let session, let user):
            throw try await endStolen(session, of: user, from: origin)
        case .good(let session, let id):
            guard let account = try await account(id), account.user.status == .active else {
                throw MarsadError(.userDisabled)
            }
            let next = sessions.makeToken()
            do {
                try await parts.audit.commit(
                    AuditEvent(
                        .tokenIssued, by: .user(id), subject: id, origin: origin,
                        details: ["session_id": session, "how": "refresh"]),
                    with: sessions.rotate(token, to: next, in: session, at: now))
            } catch .expectationFailed {
                // Used by somebody else since it was looked up.
                throw try await endStolen(session, of: id, from: origin)
            } catch {
                throw MarsadError(.storageUnavailable)
            }
            return try grant(account.user, account.grants, session, next)
        }
    }

    /// Ends the caller's session, everywhere.
    package func logout(_ caller: Caller) async throws(MarsadError) {
        guard let session = caller.sessionID else { return }
        try await end(
            session,
            AuditEvent(
                .logout, by: caller, subject: caller.actor.userID, details: ["session_id": session]
            ))
    }

    /// Who bears this token: one of ours, or one of the configured provider. Throws INVALID_TOKEN,
    /// TOKEN_EXPIRED, SESSION_REVOKED or USER_DISABLED.
    package func authenticate(
        _ bearer: String, from origin: RequestOrigin
    ) async throws(MarsadError) -> Caller {
        let token: VerifiedToken
        do {
            token = try parts.tokens.verify(bearer, .access)
        } catch {
            guard let external = parts.external, external.isTheirs(bearer) else {
                throw MarsadError(error)
            }
            token = try await provided(by: external, bearer)
        }
        let isRevoked = parts.revocations.isRevoked(
            user: token.userID, session: token.sessionID, issuedAt: token.issuedAt)
        guard let account = try await account(token.userID) else {
            throw MarsadError(.invalidToken)
        }
        // Who was disabled hears that, and not only that his session has ended.
        guard account.user.status == .active else { throw MarsadError(.userDisabled) }
        guard !isRevoked else { throw MarsadError(.sessionRevoked) }
        return Caller(
            actor: .user(account.user.id), loginID: account.user.loginID,
            agency: account.user.profile.agency.code, sessionID: token.sessionID,
            grants: account.grants, visibility: account.visibility, issuedAt: token.issuedAt,
            expiresAt: token.expiresAt, origin: origin)
    }

    /// A token of its own, without a session: for a program that acts as a user. Ends with the user.
    package func issueToken(
        for loginID: LoginID, lifetime: Duration, by caller: Caller
    ) async throws(MarsadError) -> TokenGrant {
        try require(.administerUsers, of: caller)
        let lifetime = min(max(lifetime, .seconds(1)), Limits.longestIssuedToken)
        let user = try await reading { () async throws(DatabaseError) in
            try await users.user(loginID)
        }
        guard let user, let account = try await account(user.id) else {
            throw MarsadError(.notFound)
        }
        guard user.status == .active else { throw MarsadError(.userDisabled) }
        try await commit(
            AuditEvent(
                .tokenIssued, by: caller, subject: user.id,
                details: ["how": "issued", "seconds": String(lifetime.components.seconds)]), [])
        let token = try parts.tokens.issue(
            .access, for: user, grants: account.grants, sessionID: nil, lifetime: lifetime)
        return TokenGrant(
            accessToken: token.token, expiresIn: lifetime, refreshToken: nil)
    }

    // MARK: Steps

    func account(_ id: UserID) async throws(MarsadError) -> AccountCache.Account? {
        try await reading { () async throws(DatabaseError) in try await accounts.account(id) }
    }

    private func begin(
        _ user: User, from origin: RequestOrigin
    ) async throws(MarsadError) -> TokenGrant {
        let session = world.makeID()
        let refreshToken = sessions.makeToken()
        let now = world.wallTime()
        try await commit(
            AuditEvent(
                .loginSucceeded, by: .user(user.id), subject: user.id, origin: origin,
                details: ["login_id": user.loginID.rawValue, "session_id": session]),
            sessions.begin(session, of: user.id, token: refreshToken, from: origin, at: now)
                + [users.setLastLogin(user.id, at: now)])
        accounts.forget(user.id)
        let grants = try await account(user.id)?.grants ?? []
        return try grant(user, grants, session, refreshToken)
    }

    private func grant(
        _ user: User, _ grants: [Grant], _ session: String, _ refreshToken: Redacted<String>
    ) throws(MarsadError) -> TokenGrant {
        let access = try parts.tokens.issue(
            .access, for: user, grants: grants, sessionID: session, lifetime: Limits.accessToken)
        return TokenGrant(
            accessToken: access.token, expiresIn: Limits.accessToken, refreshToken: refreshToken)
    }

    /// A refusal is told to the log, which may wait: it must not be a way to find out which names
    /// exist, nor to stop logins when the log cannot be written.
    private func refuse(
        _ code: MarsadError.Code, _ user: User?, _ account: String, _ origin: RequestOrigin
    ) async throws(MarsadError) -> TokenGrant {
        tell(
            AuditEvent(
                .loginFailed, by: .anonymous, subject: user?.id, origin: origin,
                details: ["login_id": account, "reason": code.rawValue]))
        throw MarsadError(code)
    }

    private func endStolen(
        _ session: String, of user: UserID, from origin: RequestOrigin
    ) async throws(MarsadError) -> MarsadError {
        try await end(
            session,
            AuditEvent(
                .tokenReused, by: .anonymous, subject: user, origin: origin,
                details: ["session_id": session]))
        return MarsadError(.sessionRevoked)
    }

    private func end(_ session: String, _ event: AuditEvent) async throws(MarsadError) {
        let now = world.wallTime()
        let revocation = Revocation(.session(session), notBefore: now)
        try await commit(event, [sessions.end(session, at: now), Revocations.revoke(revocation)])
        await parts.revocations.apply(revocation)
    }

    /// The account of an external token: by its subject where that is a user's id, else by the login
    /// name. A name that nobody has made known here is nobody.
    private func provided(
        by external: ExternalTokens, _ bearer: String
    ) async throws(MarsadError) -> VerifiedToken {
        let token = try await external.verify(bearer)
        let user = try await reading { () async throws(DatabaseError) -> User? in
            if let id = UserID(token.subject) { return try await users.user(id) }
            guard let name = token.loginID else { return nil }
            return try await users.user(name)
        }
        guard let user, user.origin == .external else { throw MarsadError(.invalidToken) }
        return VerifiedToken(
            userID: user.id, sessionID: nil, issuedAt: token.issuedAt, expiresAt: token.expiresAt)
    }
}
