// Cameras added, changed and removed over HTTP; the server takes changes within two seconds.
// SPDX-License-Identifier: Apache-2.0

import Domain
import HTTPTypes
import Hummingbird
import Identity
import Ingest
import NIOCore
import Primitives

/// A camera's definition from outside, validated.
struct CameraRequest {
    static let nameCharacters = 200

    var name: String
    var nameArabic: String
    var source: Source
    var folderID: FolderID?
    /// `nil`: as it is.
    var address: Redacted<String>?
    var subAddress: Redacted<String>?
    var hasAudio: Bool
    var recordingMode: RecordingMode
    var retentionDays: Int?

    init(_ body: JSONObject) throws(MarsadError) {
        name = try body.requiredText("name")
        nameArabic = try body.text("name_ar") ?? ""
        guard (1...Self.nameCharacters).contains(name.unicodeScalars.count),
            nameArabic.unicodeScalars.count <= Self.nameCharacters
        else {
            throw MarsadError(
                .invalidRequest, details: ["key": "name", "allowed": "1 to 200 characters"])
        }
        guard let source = Source(try body.requiredText("source")) else {
            throw MarsadError(
                .invalidRequest, details: ["key": "source", "allowed": "A–Z, 0–9 and _, up to 32"])
        }
        self.source = source
        if let text = try body.text("folder_id") {
            guard let folder = FolderID(text) else {
                throw MarsadError(
                    .invalidRequest,
                    details: ["key": "folder_id", "allowed": "a–z, 0–9 and -, up to 64"])
            }
            folderID = folder
        }
        address = try Self.address(body, "rtsp_url")
        subAddress = try Self.address(body, "sub_rtsp_url")
        hasAudio = try body.flag("has_audio") ?? false
        recordingMode = try body.flag("recording") ?? true ? .continuous : .off
        retentionDays = try body.integer("retention_days", in: Bounds.retentionDays)
    }

    private static func address(
        _ body: JSONObject, _ key: String
    ) throws(MarsadError) -> Redacted<String>? {
        guard let text = try body.text(key) else { return nil }
        try CameraAddress.check(text, key: key)
        return Redacted(text)
    }

    func apply(to camera: inout Camera) {
        camera.name = name
        camera.nameArabic = nameArabic
        camera.source = source
        camera.folderID = folderID
        camera.hasAudio = hasAudio
        camera.recordingMode = recordingMode
        camera.retentionDays = retentionDays
        if camera.origin == .rtsp {
            if let address { camera.address = address }
            camera.subAddress = subAddress ?? camera.subAddress
        }
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
            let caller = context.caller
            let camera = try await camera(context.cameraID(), for: caller.visibility)
            try await record(.cameraDeleted, camera, by: caller)
            guard try await services.cameras.remove(camera.id, at: services.world.wallTime())
            else { throw MarsadError(.cameraNotFound) }
            await reviewRights(on: camera.id)
            return Response(status: .noContent)
        }
    }

    private func addCamera(_ request: Request, _ caller: Caller) async throws -> Response {
        let body = try await body(
            of: request, allowing: CameraRequest.schema.keys.union(["origin"]))
        let wanted = try CameraRequest(body)
        try check(wanted, caller)
        let origin = try body.choice("origin", CameraBody.origins) ?? .rtsp
        guard (origin == .rtsp) == (wanted.address != nil),
            origin == .rtsp || wanted.subAddress == nil
        else {
            throw MarsadError(
                .invalidRequest,
                details: [
                    "key": "rtsp_url",
                    "reason": "needed, and by a camera that publishes not taken",
                ])
        }
        let world = services.world
        guard let id = CameraID(world.makeID()) else { throw MarsadError(.internalError) }
        let token = origin == .whip ? PublishToken.make(world: world) : nil
        var camera = Camera(
            id: id, name: wanted.name, nameArabic: wanted.nameArabic, source: wanted.source,
            origin: origin, address: wanted.address ?? Redacted(""),
            publishTokenHash: token.map(PublishToken.hash), createdAt: world.wallTime())
        wanted.apply(to: &camera)
        try await record(.cameraCreated, camera, by: caller)
        try await services.cameras.put(camera)
        return try jsonResponse(
            AddedCameraBody(
                camera: CameraBody(camera, StreamState()),
                whipUrl: token.map { _ in "/api/v1/ingest/\(id)/whip" }, token: token?.reveal()),
            status: .created,
            headers: [.location: "/api/v1/cameras/\(id)", .cacheControl: "no-store"])
    }

    private func changeCamera(
        _ request: Request, _ context: MarsadRequestContext
    ) async throws -> Response {
        let wanted = try CameraRequest(await body(of: request, allowing: CameraRequest.schema.keys))
        let before = try await camera(context.cameraID(), for: context.caller.visibility)
        try check(wanted, context.caller)
        var camera = before
        wanted.apply(to: &camera)
        camera.updatedAt = services.world.wallTime()
        var details: [String: String] = [:]
        if before.source != camera.source { details["source_before"] = before.source.rawValue }
        if before.address != camera.address { details["address"] = "changed" }
        try await record(.cameraUpdated, camera, by: context.caller, details)
        try await services.cameras.put(camera)
        await reviewRights(on: camera.id)
        let state = await services.node.state(of: camera.id) ?? StreamState()
        return try jsonResponse(CameraBody(camera, state))
    }

    /// Nobody puts a camera where he cannot see it.
    private func check(_ wanted: CameraRequest, _ caller: Caller) throws(MarsadError) {
        guard caller.visibility.allows(wanted.source, wanted.folderID) else {
            throw MarsadError(.sourceForbidden, details: ["source": wanted.source.rawValue])
        }
    }

    /// Told first: what cannot be told is not done.
    private func record(
        _ kind: AuditEvent.Kind, _ camera: Camera, by caller: Caller,
        _ details: [String: String] = [:]
    ) async throws(MarsadError) {
        let own = [
            "camera_id": camera.id.rawValue, "name": camera.name,
            "source": camera.source.rawValue,
        ]
        try await services.identity.auditing.record(
            AuditEvent(kind, by: caller, details: own.merging(details) { mine, _ in mine }))
    }
}
