// The schema of people: users, groups, what they may do, their sessions, and the audit log.
// SPDX-License-Identifier: Apache-2.0

extension Schema {
    @Sendable static func identity(_ dialect: SQLDialect) -> [String] {
        let types = Types(dialect)
        return [users(types)] + groups(types) + sessions(types) + [
            revocations(types), webhookEvents(types),
        ]
    }

    private static func users(_ types: Types) -> String {
        let units = ["agency", "department", "section"].flatMap { unit in
            ["\(unit)_code TEXT", "\(unit)_name TEXT", "\(unit)_name_arabic TEXT"]
        }.joined(separator: ", ")
        return """
            CREATE TABLE users (
                user_id TEXT NOT NULL PRIMARY KEY,
                login_id TEXT NOT NULL UNIQUE,
                origin TEXT NOT NULL CHECK (origin IN ('LOCAL', 'EXTERNAL', 'DEMO')),
                employee_number TEXT,
                display_name TEXT NOT NULL,
                email TEXT,
                full_name_arabic TEXT NOT NULL DEFAULT '',
                \(units),
                status TEXT NOT NULL CHECK (status IN ('PENDING', 'ACTIVE', 'DISABLED')),
                password_hash TEXT,
                created_at \(types.integer) NOT NULL,
                updated_at \(types.integer) NOT NULL,
                last_login \(types.integer)
            \(types.end)
            """
    }

    private static func groups(_ types: Types) -> [String] {
        [
            """
            CREATE TABLE groups (
                group_id TEXT NOT NULL PRIMARY KEY,
                name TEXT NOT NULL UNIQUE,
                name_arabic TEXT NOT NULL DEFAULT '',
                description TEXT NOT NULL DEFAULT '',
                default_agency TEXT UNIQUE,
                created_at \(types.integer) NOT NULL,
                updated_at \(types.integer) NOT NULL
            \(types.end)
            """,
            """
            CREATE TABLE group_permissions (
                group_id TEXT NOT NULL REFERENCES groups (group_id) ON DELETE CASCADE,
                permission TEXT NOT NULL,
                playback_hours \(types.integer),
                PRIMARY KEY (group_id, permission)
            \(types.end)
            """,
            """
            CREATE TABLE user_groups (
                user_id TEXT NOT NULL REFERENCES users (user_id) ON DELETE CASCADE,
                group_id TEXT NOT NULL REFERENCES groups (group_id) ON DELETE CASCADE,
                assigned_at \(types.integer) NOT NULL,
                assigned_by TEXT NOT NULL,
                PRIMARY KEY (user_id, group_id)
            \(types.end)
            """,
            "CREATE INDEX user_groups_group ON user_groups (group_id)",
        ]
    }

    /// A session is one login and all tokens that came from it; of a refresh token the hash alone is
    /// kept, also after its use, so that a second use is noticed.
    private static func sessions(_ types: Types) -> [String] {
        [
            """
            CREATE TABLE login_sessions (
                session_id TEXT NOT NULL PRIMARY KEY,
                user_id TEXT NOT NULL REFERENCES users (user_id) ON DELETE CASCADE,
                created_at \(types.integer) NOT NULL,
                expires_at \(types.integer) NOT NULL,
                ended_at \(types.integer),
                ip_address TEXT NOT NULL DEFAULT '',
                user_agent TEXT NOT NULL DEFAULT ''
            \(types.end)
            """,
            "CREATE INDEX login_sessions_user ON login_sessions (user_id)",
            """
            CREATE TABLE refresh_tokens (
                sha256 TEXT NOT NULL PRIMARY KEY,
                session_id TEXT NOT NULL REFERENCES login_sessions (session_id) ON DELETE CASCADE,
                issued_at \(types.integer) NOT NULL,
                expires_at \(types.integer) NOT NULL,
                used_at \(types.integer)
            \(types.end)
            """,
            "CREATE INDEX refresh_tokens_session ON refresh_tokens (session_id)",
        ]
    }

    /// One row a target, the newest; it goes when no token from before it can be alive.
    private static func revocations(_ types: Types) -> String {
        """
        CREATE TABLE revoked_sessions (
            kind TEXT NOT NULL CHECK (kind IN ('USER', 'SESSION')),
            id TEXT NOT NULL,
            not_before \(types.integer) NOT NULL,
            expires_at \(types.integer) NOT NULL,
            PRIMARY KEY (kind, id)
        \(types.end)
        """
    }

    private static func webhookEvents(_ types: Types) -> String {
        """
        CREATE TABLE webhook_events (
            event_id TEXT NOT NULL PRIMARY KEY,
            event_type TEXT NOT NULL,
            received_at \(types.integer) NOT NULL
        \(types.end)
        """
    }

    /// Numbers without a hole: a missing one is a removed row. The hash covers every column before it
    /// and the previous row's hash. On PostgreSQL the service's role may only read and insert here:
    /// `REVOKE UPDATE, DELETE, TRUNCATE ON audit_log FROM marsad`, run by the owner of the table.
    @Sendable static func audit(_ dialect: SQLDialect) -> [String] {
        let types = Types(dialect)
        return [
            """
            CREATE TABLE audit_log (
                id \(types.integer) NOT NULL PRIMARY KEY,
                event_type TEXT NOT NULL,
                user_id TEXT,
                actor_id TEXT NOT NULL,
                timestamp \(types.integer) NOT NULL,
                details TEXT NOT NULL,
                ip_address TEXT NOT NULL,
                user_agent TEXT NOT NULL,
                request_id TEXT NOT NULL,
                previous_hash TEXT NOT NULL,
                hash TEXT NOT NULL
            \(types.end)
            """,
            "CREATE INDEX audit_log_time ON audit_log (timestamp)",
            "CREATE INDEX audit_log_actor ON audit_log (actor_id, timestamp)",
            "CREATE INDEX audit_log_type ON audit_log (event_type, timestamp)",
        ]
    }
}
