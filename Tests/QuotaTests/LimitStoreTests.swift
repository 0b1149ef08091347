// Limits in the database: versions, and what a damaged document does.
// SPDX-License-Identifier: Apache-2.0

import Database
import Domain
import Foundation
import Primitives
import Quota
import Testing

@Suite(.everyDatabase) struct LimitStoreTests {
    private let folder = FileManager.default.temporaryDirectory
        .appendingPathComponent("marsad-limits-\(UUID().uuidString)")

    @Test("the newest version is in force; a damaged one is refused")
    func versions() async throws {
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        let database = try await TestDatabase.current.open(in: folder.path)
        try await Migrator(engine: database).migrate(at: WallTime(microseconds: 1))
        let store = LimitStore(database: database)
        #expect(try await store.current() == nil)
        var limits = SeatLimits(total: 500)
        limits.agencies[try source("METRO")] = SeatLimits.Agency(
            limit: 30, nameEnglish: "Metro", nameArabic: "المترو")
        limits.agencies[try source("OTHER")] = SeatLimits.Agency(limit: nil)
        #expect(try await store.put(limits, by: nil, at: WallTime(microseconds: 2)) == 1)
        #expect(try await store.current() == limits)
        limits.total = nil
        #expect(try await store.put(limits, by: "someone", at: WallTime(microseconds: 3)) == 2)
        #expect(try await store.current() == limits)
        for (version, document) in [
            "{", #"{"sources": [{"source": "no source", "limit": 1}]}"#,
            #"{"sources": [{"source": "METRO", "limit": -1}]}"#,
            #"{"sources": [], "total": 9223372036854775807}"#,
        ].enumerated() {
            try await database.execute(
                Statement(
                    "INSERT INTO settings (name, version, document, updated_at) VALUES (?, ?, ?, 0)",
                    [.text("limits"), .integer(Int64(version) + 3), .text(document)]))
            await #expect(throws: DatabaseError.wrongType(column: "document")) {
                try await store.current()
            }
        }
        try await database.close()
    }
}
