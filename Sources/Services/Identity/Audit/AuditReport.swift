// What the audit log says about a stretch of time: who watched what, what failed, what left.
// SPDX-License-Identifier: Apache-2.0

package import Database
package import Domain
package import Primitives

/// The four questions that are asked of an audit log.
package struct AuditReport: Sendable, Equatable {
    /// One person and one camera.
    package struct Viewing: Sendable, Equatable, Encodable {
        package var login_id: String
        package var camera_id: String
        package var live = 0
        package var playback = 0
        package var first: String
        package var last: String
    }

    /// Refusals of one name from one address.
    package struct Failure: Sendable, Equatable, Encodable {
        package var event_type: String
        package var login_id: String
        package var ip_address: String
        package var count = 0
    }

    /// Something that left the system, or was done at an odd hour.
    package struct Deed: Sendable, Equatable, Encodable {
        package var id: Int64
        package var time: String
        package var event_type: String
        package var login_id: String
        package var details: [String: String]
    }

    package var rows = 0
    package var viewings: [Viewing] = []
    package var failures: [Failure] = []
    package var exports: [Deed] = []
    package var oddHours: [Deed] = []
    /// Lines that did not fit.
    package var omitted = 0

    package init() {}
}

/// Reads the log for a report.
package struct AuditReporter: Sendable {
    /// What is asked.
    package struct Question: Sendable {
        package var from: WallTime
        package var to: WallTime
        package var user: UserID?
        /// Hours of the local day that are odd; 22 to 6 wraps around midnight.
        package var oddFrom = 22
        package var oddTo = 6
        /// Of the local time to UTC: 4 in Dubai.
        package var zoneHours = 4

        package init(from: WallTime, to: WallTime) {
            self.from = from
            self.to = to
        }
    }

    private static let page = 1000
    private static let maxLines = 10_000

    private static let watched: Set<String> = kinds([
        .viewStarted, .playbackOpened, .snapshotViewed,
    ])
    private static let refused: Set<String> = kinds([.loginFailed, .accessDenied, .tokenReused])
    private static let left: Set<String> = kinds([.exported, .clipCreated])

    private let database: any DatabaseEngine

    package init(database: any DatabaseEngine) { self.database = database }

    package func report(_ question: Question) async throws(DatabaseError) -> AuditReport {
        let names = try await names()
        var report = AuditReport()
        var viewings: [String: AuditReport.Viewing] = [:]
        var failures: [String: AuditReport.Failure] = [:]
        var after = Int64.min
        while true {
            let rows = try await page(question, after: after)
            for row in rows {
                let row = try AuditRow(row)
                after = row.id
                report.rows += 1
                let details = row.detail
                // Who guessed a password or showed a stolen token has no name but that of his victim.
                let isUnknown = row.actor == Actor.anonymous.description
                let login =
                    names[row.actor] ?? details["login_id"]
                    ?? (isUnknown ? row.subject.flatMap { names[$0] } : nil) ?? row.actor
                if Self.watched.contains(row.kind) {
                    Self.add(row, login, details["camera_id"] ?? "", to: &viewings, &report)
                }
                if Self.refused.contains(row.kind) {
                    Self.add(row, login, to: &failures, &report)
                }
                if Self.left.contains(row.kind) {
                    Self.add(row, login, details, to: &report.exports, &report.omitted)
                }
                if question.isOdd(row.time), Self.watched.union(Self.left).contains(row.kind) {
                    Self.add(row, login, details, to: &report.oddHours, &report.omitted)
                }
            }
            if rows.count < Self.page { break }
        }
        report.viewings = viewings.sorted { $0.key < $1.key }.map(\.value)
        report.failures = failures.sorted { $0.key < $1.key }.map(\.value)
        return report
    }

    private func page(
        _ question: Question, after: Int64
    ) async throws(DatabaseError) -> [Row] {
        var values: [DatabaseValue] = [
            .integer(after), .integer(question.from.microseconds),
            .integer(question.to.microseconds),
        ]
        var condition = "id > ? AND timestamp >= ? AND timestamp < ?"
        if let user = question.user {
            condition += " AND (actor_id = ? OR (actor_id = ? AND user_id = ?))"
            values += [
                .text(user.rawValue), .text(Actor.anonymous.description), .text(user.rawValue),
            ]
        }
        return try await database.query(
            Statement(
                "SELECT * FROM audit_log WHERE \(condition) ORDER BY id LIMIT \(Self.page)", values)
        )
    }

    private func names() async throws(DatabaseError) -> [String: String] {
        var names: [String: String] = [:]
        for row in try await database.query(Statement("SELECT user_id, login_id FROM users")) {
            names[try row.text("user_id")] = try row.text("login_id")
        }
        return names
    }

    private static func add(
        _ row: AuditRow, _ login: String, _ camera: String,
        to viewings: inout [String: AuditReport.Viewing], _ report: inout AuditReport
    ) {
        let key = login + "\n" + camera
        guard viewings[key] != nil || viewings.count < maxLines else {
            report.omitted += 1
            return
        }
        let time = row.time.description
        var viewing =
            viewings[key]
            ?? AuditReport.Viewing(login_id: login, camera_id: camera, first: time, last: time)
        if row.kind == AuditEvent.Kind.playbackOpened.rawValue {
            viewing.playback += 1
        } else {
            viewing.live += 1
        }
        viewing.last = time
        viewings[key] = viewing
    }

    private static func add(
        _ row: AuditRow, _ login: String, to failures: inout [String: AuditReport.Failure],
        _ report: inout AuditReport
    ) {
        let key = [row.kind, login, row.address].joined(separator: "\n")
        guard failures[key] != nil || failures.count < maxLines else {
            report.omitted += 1
            return
        }
        failures[
            key,
            default: AuditReport.Failure(
                event_type: row.kind, login_id: login, ip_address: row.address)
        ].count += 1
    }

    private static func add(
        _ row: AuditRow, _ login: String, _ details: [String: String],
        to deeds: inout [AuditReport.Deed], _ omitted: inout Int
    ) {
        guard deeds.count < maxLines else {
            omitted += 1
            return
        }
        deeds.append(
            AuditReport.Deed(
                id: row.id, time: row.time.description, event_type: row.kind, login_id: login,
                details: details))
    }

    private static func kinds(_ kinds: [AuditEvent.Kind]) -> Set<String> {
        Set(kinds.map(\.rawValue))
    }
}

extension AuditReporter.Question {
    /// Whether a moment is in the odd hours of the local day.
    func isOdd(_ time: WallTime) -> Bool {
        let hour = CivilTime(time + .seconds(zoneHours * 3600)).hour
        return oddFrom <= oddTo
            ? (oddFrom..<oddTo).contains(hour) : hour >= oddFrom || hour < oddTo
    }
}
