// Layouts over HTTP: everybody's own, and those of everybody.
// SPDX-License-Identifier: Apache-2.0

import Domain
import HTTPTypes
import Hummingbird
import Ingest
import Layouts
import Primitives

struct LayoutBody: Encodable {
    struct Cell: Encodable {
        var cell: Int
        var cameraId: String
    }

    var id: String
    var name: String
    var userId: String
    var isGlobal: Bool
    var gridType: String
    var cameras: [Cell]
    var createdAt: String
    var updatedAt: String

    init(_ layout: Layout) {
        id = layout.id.rawValue
        name = layout.name
        userId = layout.owner
        isGlobal = layout.isGlobal
        gridType = layout.grid.rawValue
        cameras = layout.cameras.sorted { $0.key < $1.key }.map {
            Cell(cell: $0.key, cameraId: $0.value.rawValue)
        }
        createdAt = layout.createdAt.description
        updatedAt = layout.updatedAt.description
    }
}

struct LayoutListBody: Encodable {
    var layouts: [LayoutBody]
    var total: Int
}

extension LayoutDefinition {
    fileprivate init(_ body: JSONObject) throws(MarsadError) {
        let name = try CameraDefinition.name(body.requiredText("name"), key: "name", from: 1)
        guard let grid = try body.choice("grid_type", GridType.allCases) else {
            throw MarsadError(.invalidRequest, details: ["key": "grid_type", "reason": "required"])
        }
        let most = GridType.eightByEight.cells
        var cameras: [Int: CameraID] = [:]
        for object in try body.objects("cameras", upTo: most, allowing: LayoutBody.Cell.schema.keys)
            ?? []
        {
            guard let cell = try object.integer("cell", in: 0...most - 1) else {
                throw MarsadError(.invalidRequest, details: ["key": "cell", "reason": "required"])
            }
            guard cell < grid.cells, cameras[cell] == nil else {
                throw MarsadError(
                    .unprocessable,
                    details: ["key": "cell", "allowed": "0…\(grid.cells - 1), each once"])
            }
            let text = try object.requiredText("camera_id")
            guard let id = CameraID(text) else { throw MarsadError(.cameraNotFound) }
            cameras[cell] = id
        }
        self.init(
            name: name, isGlobal: try body.flag("is_global") ?? false, grid: grid, cameras: cameras)
    }
}

extension Routes {
    func layouts(_ group: RouteGroup) {
        group.get("", .caller, .listLayouts) { _, context in
            let found = try await services.layouts.layouts(for: context.caller)
            return try jsonResponse(
                LayoutListBody(layouts: found.map(LayoutBody.init), total: found.count))
        }
        group.post("", .caller, .addLayout) { request, context in
            let body = try await body(of: request, allowing: LayoutDefinition.schema.keys)
            let made = try await services.layouts.add(
                try LayoutDefinition(body), by: context.caller)
            return try jsonResponse(
                LayoutBody(made), status: .created,
                headers: [.location: "/api/v1/layouts/\(made.id)"])
        }
        group.get(":id", .caller, .getLayout) { _, context in
            try jsonResponse(
                LayoutBody(
                    try await services.layouts.layout(context.layoutID(), for: context.caller)))
        }
        group.put(":id", .caller, .changeLayout) { request, context in
            let body = try await body(of: request, allowing: LayoutDefinition.schema.keys)
            return try jsonResponse(
                LayoutBody(
                    try await services.layouts.change(
                        context.layoutID(), to: try LayoutDefinition(body), by: context.caller)))
        }
        group.delete(":id", .caller, .removeLayout) { _, context in
            try await services.layouts.remove(context.layoutID(), by: context.caller)
            return Response(status: .noContent)
        }
    }
}

extension MarsadRequestContext {
    fileprivate func layoutID() throws(MarsadError) -> LayoutID {
        guard let id = parameters.get("id").flatMap({ LayoutID($0) }) else {
            throw MarsadError(.notFound)
        }
        return id
    }
}
