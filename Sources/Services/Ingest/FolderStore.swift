// The camera groups' rows.
// SPDX-License-Identifier: Apache-2.0

package import Database
package import Domain
import Primitives

/// Reads camera groups; builds the statements that change them.
package struct FolderStore: Sendable {
    private let database: any DatabaseEngine

    package init(database: any DatabaseEngine) { self.database = database }

    /// The groups that may be known of, by source and id.
    package func all(_ visibility: Visibility) async throws(DatabaseError) -> [CameraFolder] {
        var folders: [CameraFolder] = []
        for row in try await database.query(
            Statement("SELECT * FROM camera_folders ORDER BY source, folder_id"))
        {
            let folder = try Self.folder(row)
            if visibility.allows(folder.source, folder.id) { folders.append(folder) }
        }
        return folders
    }

    /// `nil` where there is none that may be known of.
    package func folder(
        _ source: Source, _ id: FolderID, _ visibility: Visibility
    ) async throws(DatabaseError) -> CameraFolder? {
        guard visibility.allows(source, id) else { return nil }
        return try await database.query(Self.selection(source, id)).first.map(Self.folder)
    }

    // MARK: Changes

    static func insert(_ folder: CameraFolder) -> Statement {
        Statement(
            """
            INSERT INTO camera_folders (source, folder_id, name, name_ar, created_at, updated_at)
            VALUES (?, ?, ?, ?, ?, ?)
            """,
            place(folder.source, folder.id) + [
                .text(folder.name), .text(folder.nameArabic),
                .integer(folder.createdAt.microseconds), .integer(folder.updatedAt.microseconds),
            ])
    }

    static func update(_ folder: CameraFolder) -> Statement {
        Statement(
            """
            UPDATE camera_folders SET name = ?, name_ar = ?, updated_at = ?
            WHERE source = ? AND folder_id = ?
            """,
            [
                .text(folder.name), .text(folder.nameArabic),
                .integer(folder.updatedAt.microseconds),
            ] + place(folder.source, folder.id), expecting: .changes(1))
    }

    /// The first expects that no camera is in it, the second that no permission names it: a later
    /// group of the same id would inherit that.
    static func removal(_ source: Source, _ id: FolderID) -> [Statement] {
        let permissions = Permission.Action.allCases.compactMap {
            Permission($0, .folder(source, id))
        }.map { DatabaseValue.text($0.description) }
        let marks = Array(repeating: "?", count: permissions.count).joined(separator: ", ")
        return [
            Statement(
                """
                SELECT id FROM cameras
                WHERE source = ? AND folder_id = ? AND deleted_at IS NULL LIMIT 1
                """, place(source, id), expecting: .noRows),
            Statement(
                "SELECT group_id FROM group_permissions WHERE permission IN (\(marks)) LIMIT 1",
                permissions, expecting: .noRows),
            Statement(
                "DELETE FROM camera_folders WHERE source = ? AND folder_id = ?",
                place(source, id), expecting: .changes(1)),
        ]
    }

    static func selection(_ source: Source, _ id: FolderID) -> Statement {
        Statement(
            "SELECT * FROM camera_folders WHERE source = ? AND folder_id = ?", place(source, id))
    }

    private static func place(_ source: Source, _ id: FolderID) -> [DatabaseValue] {
        [.text(source.rawValue), .text(id.rawValue)]
    }

    private static func folder(_ row: Row) throws(DatabaseError) -> CameraFolder {
        guard let source = Source(try row.text("source")),
            let id = FolderID(try row.text("folder_id"))
        else { throw .wrongType(column: "folder_id") }
        var folder = CameraFolder(
            source: source, id: id, name: try row.text("name"), nameArabic: try row.text("name_ar"),
            createdAt: WallTime(microseconds: try row.integer("created_at")))
        folder.updatedAt = WallTime(microseconds: try row.integer("updated_at"))
        return folder
    }
}
