// The limits as documents of the settings table, each change a version of its own.
// SPDX-License-Identifier: Apache-2.0

package import Database
package import Domain
import Foundation
package import Primitives

/// Limits as they were written.
package struct StoredLimits: Sendable, Equatable {
    package var limits: SeatLimits
    /// From 1 on; 0 for limits of the configuration.
    package var version: Int64
    package var updatedAt: WallTime?
    package var updatedBy: String?
}

/// Reads and writes `settings` rows named `limits`; the newest version is in force.
package struct LimitStore: Sendable {
    /// The document's form.
    private struct Document: Codable {
        struct Agency: Codable {
            var source: String
            var limit: Int?
            var nameEn: String?
            var nameAr: String?

            enum CodingKeys: String, CodingKey {
                case source
                case limit
                case nameEn = "name_en"
                case nameAr = "name_ar"
            }
        }

        var sources: [Agency]
        var total: Int?
    }

    private static let name = "limits"

    private let database: any DatabaseEngine

    package init(database: any DatabaseEngine) { self.database = database }

    /// The limits in force; `nil` where none were ever written.
    /// - Throws: `DatabaseError`, also `wrongType` for a document that does not say what limits are.
    package func current() async throws(DatabaseError) -> SeatLimits? {
        try await newest()?.limits
    }

    /// The same, with its version.
    package func newest() async throws(DatabaseError) -> StoredLimits? {
        let rows = try await database.query(
            Statement(
                """
                SELECT version, document, updated_at, updated_by FROM settings
                WHERE name = ? ORDER BY version DESC LIMIT 1
                """, [.text(Self.name)]))
        guard let row = rows.first else { return nil }
        let text = try row.text("document")
        guard let document = try? JSONDecoder().decode(Document.self, from: Data(text.utf8)),
            let limits = Self.limits(document)
        else { throw .wrongType(column: "document") }
        return StoredLimits(
            limits: limits, version: try row.integer("version"),
            updatedAt: WallTime(microseconds: try row.integer("updated_at")),
            updatedBy: try row.optionalText("updated_by"))
    }

    /// Writes a new version; answers its number.
    /// - Parameter author: who changed them.
    @discardableResult
    package func put(
        _ limits: SeatLimits, by author: String?, at now: WallTime
    ) async throws(DatabaseError) -> Int {
        let rows = try await database.transaction([
            Self.insertion(of: limits, by: author, at: now)
        ])
        guard let row = rows.first?.rows.first else { throw .missingColumn("version") }
        return Int(try row.integer("version"))
    }

    static func insertion(
        of limits: SeatLimits, by author: String?, at now: WallTime
    ) throws(DatabaseError) -> Statement {
        Statement(
            """
            INSERT INTO settings (name, version, document, updated_at, updated_by)
            SELECT ?, COALESCE(MAX(version), 0) + 1, ?, ?, ? FROM settings WHERE name = ?
            RETURNING version
            """,
            [
                .text(name), .text(try document(limits)), .integer(now.microseconds),
                author.map { .text($0) } ?? .null, .text(name),
            ])
    }

    /// Expects that no version was written after this one.
    static func check(_ version: Int64) -> Statement {
        Statement(
            "SELECT version FROM settings WHERE name = ? AND version > ? LIMIT 1",
            [.text(name), .integer(version)], expecting: .noRows)
    }

    private static func limits(_ document: Document) -> SeatLimits? {
        var limits = SeatLimits(total: document.total)
        for agency in document.sources {
            guard let source = Source(agency.source) else { return nil }
            limits.agencies[source] = SeatLimits.Agency(
                limit: agency.limit, nameEnglish: agency.nameEn, nameArabic: agency.nameAr)
        }
        let numbers = limits.agencies.values.compactMap(\.limit) + [limits.total].compactMap(\.self)
        return numbers.allSatisfy(SeatLimits.range.contains) ? limits : nil
    }

    private static func document(_ limits: SeatLimits) throws(DatabaseError) -> String {
        let agencies = limits.agencies.sorted { $0.key < $1.key }.map { source, agency in
            Document.Agency(
                source: source.rawValue, limit: agency.limit, nameEn: agency.nameEnglish,
                nameAr: agency.nameArabic)
        }
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys]
        guard let data = try? encoder.encode(Document(sources: agencies, total: limits.total))
        else { throw .wrongType(column: "document") }
        return String(decoding: data, as: UTF8.self)
    }
}
