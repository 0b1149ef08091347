// The schema of what administrators do with cameras: groups, names of other systems, layouts.
// SPDX-License-Identifier: Apache-2.0

extension Schema {
    /// Groups that cameras were in before groups had rows get one, named as their id.
    @Sendable static func cameraFolders(_ dialect: SQLDialect) -> [String] {
        let types = Types(dialect)
        return [
            """
            CREATE TABLE camera_folders (
                source TEXT NOT NULL,
                folder_id TEXT NOT NULL,
                name TEXT NOT NULL,
                name_ar TEXT NOT NULL DEFAULT '',
                created_at \(types.integer) NOT NULL,
                updated_at \(types.integer) NOT NULL,
                PRIMARY KEY (source, folder_id)
            \(types.end)
            """,
            """
            INSERT INTO camera_folders (source, folder_id, name, created_at, updated_at)
            SELECT source, folder_id, folder_id, MIN(created_at), MIN(created_at) FROM cameras
            WHERE folder_id IS NOT NULL AND deleted_at IS NULL GROUP BY source, folder_id
            """,
            "ALTER TABLE cameras ADD COLUMN external_id TEXT",
            """
            CREATE UNIQUE INDEX cameras_external ON cameras (source, external_id)
            WHERE deleted_at IS NULL AND external_id IS NOT NULL
            """,
        ]
    }

    /// Layouts name their cameras without a reference: one that is gone is not shown.
    @Sendable static func layouts(_ dialect: SQLDialect) -> [String] {
        let types = Types(dialect)
        return [
            """
            CREATE TABLE layouts (
                layout_id TEXT NOT NULL PRIMARY KEY,
                name TEXT NOT NULL,
                owner TEXT NOT NULL,
                is_global \(types.integer) NOT NULL DEFAULT 0,
                grid_type TEXT NOT NULL,
                created_at \(types.integer) NOT NULL,
                updated_at \(types.integer) NOT NULL
            \(types.end)
            """,
            "CREATE INDEX layouts_owner ON layouts (owner)",
            """
            CREATE TABLE layout_cameras (
                layout_id TEXT NOT NULL REFERENCES layouts (layout_id) ON DELETE CASCADE,
                cell \(types.integer) NOT NULL,
                camera_id TEXT NOT NULL,
                PRIMARY KEY (layout_id, cell)
            \(types.end)
            """,
        ]
    }
}
