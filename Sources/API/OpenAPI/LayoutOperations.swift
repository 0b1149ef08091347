// Layouts of walls in the document of the interface.
// SPDX-License-Identifier: Apache-2.0

import Domain
import Layouts

extension Operation {
    static let listLayouts = Operation(
        "list_layouts", .layouts, "The caller's layouts, and those of everybody",
        answers: [
            .json(
                .object("LayoutList", ["layouts": .list(LayoutBody.schema), "total": .count]))
        ])

    static let addLayout = Operation(
        "add_layout", .layouts, "Keeps a layout",
        notes: "One for everybody needs layout:admin.",
        body: .json(LayoutDefinition.schema), answers: [.created(LayoutBody.schema)],
        errors: [.cameraNotFound, .forbidden, .conflict, .unprocessable])

    static let getLayout = Operation(
        "get_layout", .layouts, "One layout, without the cameras that the caller does not see",
        path: ["id": .identifier], answers: [.json(LayoutBody.schema)], errors: [.notFound])

    static let changeLayout = Operation(
        "change_layout", .layouts, "Changes a layout; cameras that the caller does not see stay",
        path: ["id": .identifier], body: .json(LayoutDefinition.schema),
        answers: [.json(LayoutBody.schema)],
        errors: [.notFound, .cameraNotFound, .forbidden, .conflict, .unprocessable])

    static let removeLayout = Operation(
        "remove_layout", .layouts, "Removes a layout", path: ["id": .identifier],
        answers: [.noContent], errors: [.notFound, .forbidden])
}

extension LayoutDefinition {
    static let schema = Schema.object(
        "LayoutDefinition",
        [
            "name": .cameraName, "is_global": .flag.optional,
            "grid_type": .choice(GridType.allCases),
            "cameras": .list(LayoutBody.Cell.schema, upTo: GridType.eightByEight.cells).optional,
        ])
}

extension LayoutBody {
    static let schema = Schema.object(
        "Layout",
        [
            "id": .identifier, "name": .text(), "user_id": .text(), "is_global": .flag,
            "grid_type": .choice(GridType.allCases), "cameras": .list(Cell.schema),
            "created_at": .time, "updated_at": .time,
        ])
}

extension LayoutBody.Cell {
    static let schema = Schema.object(
        ["cell": .integer(0...GridType.eightByEight.cells - 1), "camera_id": .identifier])
}
