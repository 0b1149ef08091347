// The layouts' rows.
// SPDX-License-Identifier: Apache-2.0

package import Database
import Domain
import Primitives

/// Reads layouts; builds the statements that change them.
package struct LayoutStore: Sendable {
    private let database: any DatabaseEngine

    package init(database: any DatabaseEngine) { self.database = database }

    /// Somebody's own and those of everybody, by name.
    func layouts(of owner: String) async throws(DatabaseError) -> [Layout] {
        try await layouts(where: "owner = ? OR is_global = 1", [.text(owner)])
    }

    func layout(_ id: LayoutID) async throws(DatabaseError) -> Layout? {
        try await layouts(where: "layout_id = ?", [.text(id.rawValue)]).first
    }

    // MARK: Changes

    static func insertion(of layout: Layout) -> [Statement] {
        [
            Statement(
                """
                INSERT INTO layouts
                    (layout_id, name, owner, is_global, grid_type, created_at, updated_at)
                VALUES (?, ?, ?, ?, ?, ?, ?)
                """,
                [
                    .text(layout.id.rawValue), .text(layout.name), .text(layout.owner),
                    DatabaseValue(layout.isGlobal), .text(layout.grid.rawValue),
                    .integer(layout.createdAt.microseconds),
                    .integer(layout.updatedAt.microseconds),
                ])
        ] + cameras(of: layout)
    }

    static func update(_ layout: Layout) -> [Statement] {
        [
            Statement(
                """
                UPDATE layouts SET name = ?, is_global = ?, grid_type = ?, updated_at = ?
                WHERE layout_id = ?
                """,
                [
                    .text(layout.name), DatabaseValue(layout.isGlobal),
                    .text(layout.grid.rawValue), .integer(layout.updatedAt.microseconds),
                    .text(layout.id.rawValue),
                ], expecting: .changes(1)),
            Statement(
                "DELETE FROM layout_cameras WHERE layout_id = ?", [.text(layout.id.rawValue)]),
        ] + cameras(of: layout)
    }

    /// Without an expectation of one change: what a layout takes along is counted too.
    static func removal(of id: LayoutID) -> [Statement] {
        [
            Statement(
                "SELECT layout_id FROM layouts WHERE layout_id = ?", [.text(id.rawValue)],
                expecting: .someRows),
            Statement("DELETE FROM layouts WHERE layout_id = ?", [.text(id.rawValue)]),
        ]
    }

    private static func cameras(of layout: Layout) -> [Statement] {
        layout.cameras.sorted { $0.key < $1.key }.map { cell, camera in
            Statement(
                "INSERT INTO layout_cameras (layout_id, cell, camera_id) VALUES (?, ?, ?)",
                [.text(layout.id.rawValue), .integer(Int64(cell)), .text(camera.rawValue)])
        }
    }

    // MARK: Rows

    private func layouts(
        where condition: String, _ values: [DatabaseValue]
    ) async throws(DatabaseError) -> [Layout] {
        let rows = try await database.query(
            Statement("SELECT * FROM layouts WHERE \(condition) ORDER BY name, layout_id", values))
        let cells = try await database.query(
            Statement(
                """
                SELECT * FROM layout_cameras
                WHERE layout_id IN (SELECT layout_id FROM layouts WHERE \(condition))
                """, values))
        var cameras: [String: [Int: CameraID]] = [:]
        for row in cells {
            guard let camera = CameraID(try row.text("camera_id")) else { continue }
            let cell = Int(try row.integer("cell"))
            cameras[try row.text("layout_id"), default: [:]][cell] = camera
        }
        var layouts: [Layout] = []
        for row in rows {
            guard let id = LayoutID(try row.text("layout_id")),
                let grid = GridType(rawValue: try row.text("grid_type"))
            else { throw .wrongType(column: "grid_type") }
            var layout = Layout(
                id: id, name: try row.text("name"), owner: try row.text("owner"),
                isGlobal: try row.bool("is_global"), grid: grid,
                cameras: cameras[id.rawValue] ?? [:],
                createdAt: WallTime(microseconds: try row.integer("created_at")))
            layout.updatedAt = WallTime(microseconds: try row.integer("updated_at"))
            layouts.append(layout)
        }
        return layouts
    }
}
