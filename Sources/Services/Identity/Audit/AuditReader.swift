// Pages of the audit log, newest first, for whoever may read it.
// SPDX-License-Identifier: Apache-2.0

import Database
package import Domain
package import Primitives

/// Which rows are asked for; `nil` is any.
package struct AuditQuestion: Sendable {
    package var kind: AuditEvent.Kind?
    /// Who acted, or whom it was done to.
    package var user: UserID?
    package var from: WallTime?
    /// Not itself included.
    package var to: WallTime?
    /// Only rows with a smaller number: where the page before ended.
    package var before: Int64?
    package var limit = 100

    package init() {}
}

extension IdentityService {
    /// Rows in falling order of their numbers. What has been noted is there within a second.
    package func auditRows(
        _ question: AuditQuestion, for caller: Caller
    ) async throws(MarsadError) -> [AuditRow] {
        try require(.readAudit, of: caller)
        return try await reading { () async throws(DatabaseError) in
            try await rows(question)
        }
    }

    private func rows(_ question: AuditQuestion) async throws(DatabaseError) -> [AuditRow] {
        var conditions = ["1 = 1"]
        var values: [DatabaseValue] = []
        if let kind = question.kind {
            conditions.append("event_type = ?")
            values.append(.text(kind.rawValue))
        }
        if let user = question.user {
            conditions.append("(actor_id = ? OR user_id = ?)")
            values += [.text(user.rawValue), .text(user.rawValue)]
        }
        if let from = question.from {
            conditions.append("timestamp >= ?")
            values.append(.integer(from.microseconds))
        }
        if let to = question.to {
            conditions.append("timestamp < ?")
            values.append(.integer(to.microseconds))
        }
        if let before = question.before {
            conditions.append("id < ?")
            values.append(.integer(before))
        }
        let found = try await parts.database.query(
            Statement(
                "SELECT * FROM audit_log WHERE \(conditions.joined(separator: " AND "))"
                    + " ORDER BY id DESC LIMIT ?",
                values + [.integer(Int64(min(max(question.limit, 1), Limits.page)))]))
        var rows: [AuditRow] = []
        for row in found { rows.append(try AuditRow(row)) }
        return rows
    }
}
