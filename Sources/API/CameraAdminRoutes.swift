// Cameras added, changed and removed over HTTP; the server takes changes within two seconds.
// SPDX-License-Identifier: Apache-2.0

import Domain
import HTTPTypes
import Hummingbird
import Identity
import Ingest
import NIOCore
import Primitives

/// A camera's definition as a body says it.
extension CameraDefinition.Fields {
    init(_ body: JSONObject) throws(MarsadError) {
        self.init()
        name = try body.requiredText("name")
        nameArabic = try body.text("name_ar")
        source = try body.requiredText("source")
        folderID = try body.text("folder_id")
        externalID = try body.text("external_id")
        address = try body.text("rtsp_url").map { Redacted($0) }
        subAddress = try body.text("sub_rtsp_url").map { Redacted($0) }
        hasAudio = try body.flag("has_audio")
        isRecorded = try body.flag("recording")
        retentionDays = try body.integer("retention_days", in: Bounds.retentionDays)
    }
}

/// A camera that was added, with what its publisher shows: that is said this once.
struct AddedCameraBody: Encodable {
    var camera: CameraBody
    var whipUrl: String?
    var token: String?
}

extension Routes {
    func cameraAdministration(_ group: RouteGroup) {
        group.post("", .permission(.administerCameras), .addCamera) { request, context in
            try await addCamera(request, context.caller)
        }
        group.put(":id", .permission(.administerCameras), .changeCamera) { request, context in
            try await changeCamera(request, context)
        }
        group.delete(":id", .permission(.administerCameras), .removeCamera) { _, context in
            let camera = try await camera(context.cameraID(), for: context.caller.visibility)
            try await services.administration.remove(camera, by: context.caller)
            await reviewRights(on: [camera.id])
            return Response(status: .noContent)
        }
    }

    private func addCamera(_ request: Request, _ caller: Caller) async throws -> Response {
        let body = try await body(
            of: request, allowing: CameraDefinition.Fields.schema.keys.union(["origin"]))
        let fields = try CameraDefinition.Fields(body)
        let wanted = try CameraDefinition(fields)
        try await check(wanted, caller)
        let origin = try body.choice("origin", CameraBody.origins) ?? .rtsp
        guard (origin == .rtsp) == (fields.address != nil),
            origin == .rtsp || fields.subAddress == nil
        else {
            throw MarsadError(
                .invalidRequest,
                details: [
                    "key": "rtsp_url",
                    "reason": "needed, and by a camera that publishes not taken",
                ])
        }
        let token = origin == .whip ? PublishToken.make(world: services.world) : nil
        let camera = try await services.administration.add(
            wanted, origin: origin, publishTokenHash: token.map(PublishToken.hash), by: caller)
        return try jsonResponse(
            AddedCameraBody(
                camera: CameraBody(camera, StreamState()),
                whipUrl: token.map { _ in "/api/v1/ingest/\(camera.id)/whip" },
                token: token?.reveal()),
            status: .created,
            headers: [.location: "/api/v1/cameras/\(camera.id)", .cacheControl: "no-store"])
    }

    private func changeCamera(
        _ request: Request, _ context: MarsadRequestContext
    ) async throws -> Response {
        let body = try await body(of: request, allowing: CameraDefinition.Fields.schema.keys)
        var fields = try CameraDefinition.Fields(body)
        // Not from the directory, which may be a second old: what was read is what is changed.
        guard
            let before = try await services.cameras.camera(
                context.cameraID(), context.caller.visibility)
        else { throw MarsadError(.cameraNotFound) }
        fields.subAddress = fields.subAddress ?? before.subAddress
        fields.externalID = fields.externalID ?? before.externalID
        let wanted = try CameraDefinition(fields)
        try await check(wanted, context.caller)
        let camera = try await services.administration.change(
            before, to: wanted, by: context.caller)
        await reviewRights(on: [camera.id])
        let state = await services.node.state(of: camera.id) ?? StreamState()
        return try jsonResponse(CameraBody(camera, state))
    }

    /// Nobody puts a camera where he cannot see it, or into a group that does not exist.
    private func check(_ wanted: CameraDefinition, _ caller: Caller) async throws {
        guard caller.visibility.allows(wanted.source, wanted.folderID) else {
            throw MarsadError(.sourceForbidden, details: ["source": wanted.source.rawValue])
        }
        guard let folder = wanted.folderID else { return }
        guard
            try await services.administration.folders.folder(
                wanted.source, folder, caller.visibility) != nil
        else { throw CameraStore.missingFolder }
    }
}
