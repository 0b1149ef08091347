// Databases for tests: a fresh one of either engine for each folder, and tests run on both.
// SPDX-License-Identifier: Apache-2.0

import Database
import Foundation
import Testing

/// The engine that a test runs on.
enum TestDatabase: String, CaseIterable, Sendable {
    case sqlite
    case postgresql

    @TaskLocal static var current = TestDatabase.sqlite

    /// Both, where a PostgreSQL server is installed.
    static let installed = PostgreSQLCluster.isInstalled ? allCases : [.sqlite]

    /// The database of a folder: empty the first time, and the same one when it is opened again.
    func open(in folder: String) async throws -> any DatabaseEngine {
        switch self {
        case .sqlite: return try SQLiteEngine(path: folder + "/marsad.sqlite")
        case .postgresql: return try await PostgreSQLCluster.shared().database(named: folder)
        }
    }
}

/// A server of its own in a folder of its own, for PostgreSQL's own programs.
final class PostgreSQLCluster: Sendable {
    static let isInstalled = {
        let folder = "/usr/lib/postgresql"
        let versions = (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []
        return versions.contains {
            FileManager.default.isExecutableFile(atPath: "\(folder)/\($0)/bin/initdb")
        }
    }()
    /// Said where the tests of a real server are left out.
    static let missing: Comment = "SKIPPED: PostgreSQL is not installed (scripts/bootstrap test)"

    struct Failed: Error {
        var command: String
        var status: Int32
    }

    private static let everybodys = Task {
        let cluster = PostgreSQLCluster("\(ProcessInfo.processInfo.processIdentifier)")
        try await cluster.start()
        return cluster
    }

    let folder: String

    /// - Parameter name: distinguishes its folder; short, because the socket's path must be.
    init(_ name: String) {
        folder =
            FileManager.default.temporaryDirectory
            .appendingPathComponent("marsad-pg-\(name)").path
    }

    /// One for all tests of this process; it ends with the process.
    static func shared() async throws -> PostgreSQLCluster { try await everybodys.value }

    func url(_ database: String = "postgres", parameters: String = "") -> String {
        "postgresql://postgres@/\(database)?host=\(folder)\(parameters)"
    }

    func engine(
        _ database: String = "postgres", parameters: String = "",
        timeouts: PostgreSQLTimeouts = PostgreSQLTimeouts()
    ) throws -> PostgreSQLEngine {
        let address = try #require(
            PostgreSQLAddress(parsing: url(database, parameters: parameters)))
        return PostgreSQLEngine(address, timeouts: timeouts)
    }

    /// A schema in place of a database: a hundred of them are made in no time.
    func database(
        named name: String, timeouts: PostgreSQLTimeouts = PostgreSQLTimeouts()
    ) async throws -> PostgreSQLEngine {
        let words = name.split { !$0.isASCII || !($0.isLetter || $0.isNumber) }
        let schema = "t_" + words.joined(separator: "_").lowercased().suffix(50)
        let administrator = try engine()
        try await administrator.execute(Statement("CREATE SCHEMA IF NOT EXISTS \(schema)"))
        try await administrator.close()
        return try engine(
            parameters: "&options=-csearch_path%3D\(schema)", timeouts: timeouts)
    }

    func start() async throws {
        try await run("start", "\(ProcessInfo.processInfo.processIdentifier)")
    }
    /// As a power cut does it.
    func crash() async throws { try await run("crash") }
    func stop() async throws { try await run("stop") }

    private func run(_ command: String, _ arguments: String...) async throws {
        let script = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
            .deletingLastPathComponent().appendingPathComponent("postgresql.sh")
        let process = Process()
        process.executableURL = script
        process.arguments = [command, folder] + arguments
        let (exits, exit) = AsyncStream.makeStream(of: Int32.self)
        process.terminationHandler = {
            exit.yield($0.terminationStatus)
            exit.finish()
        }
        try process.run()
        for await status in exits where status != 0 {
            throw Failed(command: command, status: status)
        }
    }
}

/// Runs each test once for each installed engine.
struct EveryDatabase: SuiteTrait, TestTrait, TestScoping {
    let isRecursive = true

    func scopeProvider(for test: Test, testCase: Test.Case?) -> EveryDatabase? {
        testCase == nil ? nil : self
    }

    @concurrent func provideScope(
        for test: Test, testCase: Test.Case?,
        performing body: @concurrent @Sendable () async throws -> Void
    ) async throws {
        for database in TestDatabase.installed {
            await TestDatabase.$current.withValue(database) {
                do {
                    try await body()
                } catch {
                    Issue.record(error, "on \(database.rawValue)")
                }
            }
        }
    }
}

extension Trait where Self == EveryDatabase {
    static var everyDatabase: EveryDatabase { EveryDatabase() }
}
