// `marsad migrate`: the database brought to this program's schema, by whoever owns its tables.
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Database
import Domain
import Foundation

struct Migrate: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Bring the database to this program's schema; safe to run again.")

    @Flag(help: "Change nothing; end with 3 where a migration is due.") var check = false
    @Option(help: "A PostgreSQL role that gets the service's rights, and no others.")
    var grant: String?
    @OptionGroup var options: FolderOptions

    private struct Result: Encodable {
        var applied: [Int]
        var schema: Int
    }

    func run() async throws {
        let configuration = try options.configuration()
        let path = configuration.text("data")
        let file = path + "/marsad.sqlite"
        if !check {
            try FileManager.default.createDirectory(
                atPath: path, withIntermediateDirectories: true,
                attributes: [.posixPermissions: 0o700])
            FileModes.close(path, database: file)
        } else if configuration.text("database.url") == ConfiguredDatabase.embedded,
            !FileManager.default.fileExists(atPath: file)
        {
            // Opening it would make it.
            complain("\(file) does not exist; every migration is due")
            throw ExitCode(3)
        }
        let database = try ConfiguredDatabase.migrating(configuration, in: path)
        if let grant {
            guard database.dialect == .postgresql, ServiceRole.isName(grant) else {
                throw ConfigurationError(
                    description: "--grant is \"\(grant)\"; allowed: a role of PostgreSQL in "
                        + "lower-case letters, digits and _")
            }
        }
        let migrator = Migrator(engine: database)
        var applied: [Int] = []
        if check {
            do throws(DatabaseError) {
                try await migrator.check()
            } catch {
                complain(error.description)
                switch error {
                case .schemaTooOld, .schemaTooNew, .schemaMismatch: throw ExitCode(3)
                default: throw ExitCode(1)
                }
            }
        } else {
            applied = try await migrator.migrate(at: World.system.wallTime())
            if let grant { try await ServiceRole.grant(to: grant, in: database) }
        }
        try await database.close()
        let schema = Schema.migrations.count
        if options.json {
            try printJSON(Result(applied: applied, schema: schema))
        } else {
            complain("schema \(schema); \(applied.count) migrations applied")
        }
    }
}
