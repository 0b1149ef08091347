// Login sessions and their refresh tokens: each used once, and a second use ends the session.
// SPDX-License-Identifier: Apache-2.0

import Crypto
import Database
import Domain
import Primitives

/// Rows of sessions and refresh tokens; of a token its hash alone is kept (RFC 9700 §4.14).
struct LoginSessions: Sendable {
    /// What a refresh token turned out to be.
    enum Use: Equatable {
        case good(session: String, user: UserID)
        case unknown
        case expired
        /// Used before: whoever used it first or whoever uses it now has stolen it.
        case reused(session: String, user: UserID)
        case sessionEnded(user: UserID)
    }

    let database: any DatabaseEngine
    let world: World

    func makeToken() -> Redacted<String> { Redacted(world.secureRandomBytes(32).hex) }

    /// It has the entropy of a key, so one plain hash is enough.
    static func hash(_ token: Redacted<String>) -> String {
        Array(SHA256.hash(data: Array(token.reveal().utf8.prefix(256)))).hex
    }

    func begin(
        _ session: String, of user: UserID, token: Redacted<String>, from origin: RequestOrigin,
        at now: WallTime
    ) -> [Statement] {
        [
            Statement(
                """
                INSERT INTO login_sessions (session_id, user_id, created_at, expires_at, ip_address,
                    user_agent) VALUES (?, ?, ?, ?, ?, ?)
                """,
                [
                    .text(session), .text(user.rawValue), .integer(now.microseconds),
                    .integer((now + Limits.loginSession).microseconds), .text(origin.address),
                    .text(origin.userAgent),
                ]), insert(token, session, at: now),
        ]
    }

    func use(_ token: Redacted<String>, at now: WallTime) async throws(DatabaseError) -> Use {
        let row = try await database.query(
            Statement(
                """
                SELECT refresh_tokens.session_id AS session_id, refresh_tokens.used_at AS used_at,
                    refresh_tokens.expires_at AS expires_at, login_sessions.user_id AS user_id,
                    login_sessions.ended_at AS ended_at,
                    login_sessions.expires_at AS session_expires_at
                FROM refresh_tokens
                JOIN login_sessions ON login_sessions.session_id = refresh_tokens.session_id
                WHERE refresh_tokens.sha256 = ?
                """, [.text(Self.hash(token))])
        ).first
        guard let row, let user = UserID(try row.text("user_id")) else { return .unknown }
        let session = try row.text("session_id")
        if try row.optionalInteger("ended_at") != nil {
            return .sessionEnded(user: user)
        }
        if try row.optionalInteger("used_at") != nil {
            return .reused(session: session, user: user)
        }
        let expiry = min(try row.integer("expires_at"), try row.integer("session_expires_at"))
        return expiry > now.microseconds ? .good(session: session, user: user) : .expired
    }

    /// The old token becomes used and the new one usable, or neither, also when two race.
    func rotate(
        _ old: Redacted<String>, to new: Redacted<String>, in session: String, at now: WallTime
    ) -> [Statement] {
        [
            Statement(
                """
                UPDATE refresh_tokens SET used_at = ?
                WHERE sha256 = ? AND used_at IS NULL AND session_id IN
                    (SELECT session_id FROM login_sessions WHERE ended_at IS NULL)
                """, [.integer(now.microseconds), .text(Self.hash(old))], expecting: .changes(1)),
            insert(new, session, at: now),
        ]
    }

    func end(_ session: String, at now: WallTime) -> Statement {
        Statement(
            "UPDATE login_sessions SET ended_at = ? WHERE session_id = ? AND ended_at IS NULL",
            [.integer(now.microseconds), .text(session)])
    }

    func endAll(of user: UserID, at now: WallTime) -> Statement {
        Statement(
            "UPDATE login_sessions SET ended_at = ? WHERE user_id = ? AND ended_at IS NULL",
            [.integer(now.microseconds), .text(user.rawValue)])
    }

    /// What can never be used again; its tokens go with it.
    func forget(at now: WallTime) -> Statement {
        Statement(
            "DELETE FROM login_sessions WHERE expires_at < ?", [.integer(now.microseconds)])
    }

    private func insert(_ token: Redacted<String>, _ session: String, at now: WallTime) -> Statement
    {
        Statement(
            """
            INSERT INTO refresh_tokens (sha256, session_id, issued_at, expires_at)
            VALUES (?, ?, ?, ?)
            """,
            [
                .text(Self.hash(token)), .text(session), .integer(now.microseconds),
                .integer((now + Limits.refreshToken).microseconds),
            ])
    }
}
