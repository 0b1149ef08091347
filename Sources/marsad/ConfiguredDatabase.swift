// The database that the configuration names: a file of the data folder, or a PostgreSQL server.
// SPDX-License-Identifier: Apache-2.0

import Database
import Domain

/// Opens `database.url` at this program's schema.
enum ConfiguredDatabase {
    /// `database.url` for the file in the data folder.
    static let embedded = "sqlite:"

    static func isValid(_ url: String) -> Bool {
        url == embedded || PostgreSQLAddress(parsing: url) != nil
    }

    /// - Parameter path: the data folder.
    static func open(
        _ configuration: Configuration, in path: String, world: World
    ) async throws -> any DatabaseEngine {
        let owner = try migrating(configuration, in: path)
        try await Migrator(engine: owner).migrate(at: world.wallTime())
        try await owner.close()
        let database = try engine(configuration.text("database.url"), in: path)
        try await Migrator(engine: database).check()
        return database
    }

    /// The database as the one sees it who migrates: steps over large tables may take their time.
    static func migrating(
        _ configuration: Configuration, in path: String
    ) throws -> any DatabaseEngine {
        let owner = configuration.text("database.migration_url")
        var timeouts = PostgreSQLTimeouts()
        timeouts.statementSeconds = 3600
        timeouts.answerSeconds = 3660
        return try engine(
            owner.isEmpty ? configuration.text("database.url") : owner, in: path, timeouts)
    }

    private static func engine(
        _ url: String, in path: String, _ timeouts: PostgreSQLTimeouts = PostgreSQLTimeouts()
    ) throws -> any DatabaseEngine {
        guard let address = PostgreSQLAddress(parsing: url)
        else { return try SQLiteEngine(path: path + "/marsad.sqlite") }
        return PostgreSQLEngine(address, timeouts: timeouts)
    }
}
