// `marsad audit`: whether the audit log is whole, and what it says.
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Domain
import Foundation
import Identity
import Primitives

struct AuditCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "audit", abstract: "Verify and read the audit log.",
        subcommands: [Verify.self, Report.self])

    struct Verify: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Hold the log against its signed heads; 3 where it is not what was written.")
        @Option(help: "A copy of the heads' file, best one that this machine cannot write.")
        var anchor: String?
        @Option(help: "The public key in hexadecimal, where the folder's own is not to be trusted.")
        var key: String?
        @OptionGroup var options: FolderOptions

        private struct Result: Encodable {
            var valid: Bool
            var rows: Int64
            var heads: Int
            var unsigned_rows: Int64
            var public_key: String
            var finding: String?
            var first: Int64?
            var last: Int64?
            var message: String?
        }

        func run() async throws {
            let configuration = try options.configuration()
            let folder = try await DataFolder.openExisting(
                configuration, world: .system)
            let files = IdentityWiring.headFiles(folder, configuration)
            let publicKey = try key ?? ownKey(files.key)
            guard let verifier = AuditVerifier(database: folder.database, publicKey: publicKey)
            else {
                throw ConfigurationError(description: "--key: 64 hexadecimal digits are needed")
            }
            let outcome = try await verifier.verify(heads: try text(of: files.heads))
            try show(outcome, publicKey: publicKey)
            if outcome.finding != nil { throw ExitCode(3) }
        }

        /// A key that is missing is not made here: it has signed nothing.
        private func ownKey(_ file: String) throws -> String {
            do {
                if let key = try AuditHeadFile.publicKey(of: file) { return key }
            } catch {
                throw ConfigurationError(description: error.description)
            }
            throw ConfigurationError(
                description: "\(file) is missing: --key names the key of the signed heads")
        }

        /// A missing file of the installation's own holds no heads; one that was named must be there.
        private func text(of heads: String) throws -> String {
            let path = anchor ?? heads
            if let text = try? String(contentsOfFile: path, encoding: .utf8) { return text }
            guard anchor == nil else {
                throw ConfigurationError(
                    description: "--anchor is \"\(path)\"; allowed: a file that can be read")
            }
            return ""
        }

        private func show(_ outcome: AuditVerification, publicKey: String) throws {
            guard options.json else {
                complain(
                    "\(outcome.rows) rows, \(outcome.heads) signed heads, "
                        + "\(outcome.unsignedRows) rows since the last; key \(publicKey)")
                return complain(outcome.finding?.description ?? "the audit log is whole")
            }
            try printJSON(
                Result(
                    valid: outcome.finding == nil, rows: outcome.rows, heads: outcome.heads,
                    unsigned_rows: outcome.unsignedRows, public_key: publicKey,
                    finding: outcome.finding?.kind.rawValue, first: outcome.finding?.first,
                    last: outcome.finding?.last, message: outcome.finding?.description))
        }
    }

    struct Report: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Who watched what, what failed, what left, and what was done at odd hours.")
        @Option(help: "From, such as 2026-11-01T00:00:00Z; a day ago.") var from: String?
        @Option(help: "Until; now.") var to: String?
        @Option(help: "Of one user only.") var user: String?
        @Option(help: "The odd hours of the local day, such as 22-6.") var oddHours = "22-6"
        @Option(help: "Hours from UTC to the local time.") var zone = 4
        @OptionGroup var options: FolderOptions

        private struct Result: Encodable {
            var from: String
            var to: String
            var rows: Int
            var viewings: [AuditReport.Viewing]
            var failures: [AuditReport.Failure]
            var exports: [AuditReport.Deed]
            var odd_hours: [AuditReport.Deed]
            var omitted: Int
        }

        func run() async throws {
            let now = World.system.wallTime()
            var question = AuditReporter.Question(
                from: try time(from, "--from", now + .seconds(-86_400)),
                to: try time(to, "--to", now))
            let hours = oddHours.split(separator: "-").compactMap { Int($0) }
            guard hours.count == 2, hours.allSatisfy({ (0...24).contains($0) }),
                (-12...14).contains(zone)
            else {
                throw ConfigurationError(
                    description: "--odd-hours is \"\(oddHours)\", --zone \(zone); "
                        + "allowed: hours such as 22-6, and -12 to 14")
            }
            (question.oddFrom, question.oddTo, question.zoneHours) = (hours[0], hours[1], zone)
            let folder = try await DataFolder.openExisting(
                try options.configuration(), world: .system)
            if let user {
                let loginID = try UserCommand.loginID(user)
                let known = try await UserStore(database: folder.database).user(loginID)
                guard let known else {
                    complain("there is no user \(loginID)")
                    throw ExitCode(1)
                }
                question.user = known.id
            }
            let report = try await AuditReporter(database: folder.database).report(question)
            try show(report, question)
        }

        private func show(_ report: AuditReport, _ question: AuditReporter.Question) throws {
            if options.json {
                return try printJSON(
                    Result(
                        from: question.from.description, to: question.to.description,
                        rows: report.rows, viewings: report.viewings, failures: report.failures,
                        exports: report.exports, odd_hours: report.oddHours,
                        omitted: report.omitted))
            }
            for line in report.viewings {
                print(
                    "viewed", line.login_id, line.camera_id, "live \(line.live)",
                    "playback \(line.playback)", line.first, line.last)
            }
            for line in report.failures {
                print("failed", line.event_type, line.login_id, line.ip_address, line.count)
            }
            for (word, lines) in [("exported", report.exports), ("odd hour", report.oddHours)] {
                for line in lines {
                    let details = line.details.sorted { $0.key < $1.key }
                        .map { "\($0.key)=\($0.value)" }.joined(separator: " ")
                    print(word, line.time, line.event_type, line.login_id, details)
                }
            }
            complain("\(report.rows) rows read, \(report.omitted) lines omitted")
        }

        private func time(_ text: String?, _ name: String, _ otherwise: WallTime) throws -> WallTime
        {
            guard let text else { return otherwise }
            guard let time = WallTime(iso8601: text) else {
                throw ConfigurationError(
                    description: "\(name) is \"\(text)\"; allowed: a time such as "
                        + "2026-11-01T00:00:00Z")
            }
            return time
        }
    }
}
