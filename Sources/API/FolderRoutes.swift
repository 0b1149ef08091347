// Camera groups over HTTP: read by who sees them, changed by who administers cameras.
// SPDX-License-Identifier: Apache-2.0

import Domain
import HTTPTypes
import Hummingbird
import Identity
import Ingest
import Primitives

struct FolderBody: Encodable {
    var source: String
    var folderId: String
    var name: String
    var nameAr: String
    var createdAt: String
    var updatedAt: String

    init(_ folder: CameraFolder) {
        source = folder.source.rawValue
        folderId = folder.id.rawValue
        name = folder.name
        nameAr = folder.nameArabic
        createdAt = folder.createdAt.description
        updatedAt = folder.updatedAt.description
    }
}

struct FolderListBody: Encodable {
    var folders: [FolderBody]
    var total: Int
}

extension Routes {
    func folders(_ group: RouteGroup) {
        group.get("", .permission(.viewCamera), .listFolders) { request, context in
            let source = Query(request)["source"]
            if let source, Source(source) == nil {
                throw MarsadError(.invalidRequest, details: ["parameter": "source"])
            }
            let found = try await services.administration.folders.all(context.caller.visibility)
                .filter {
                    source == nil || source == $0.source.rawValue
                }
            return try jsonResponse(
                FolderListBody(folders: found.map(FolderBody.init), total: found.count))
        }
        group.post("", .permission(.administerCameras), .addFolder) { request, context in
            try await addFolder(request, context.caller)
        }
        group.get(":source/:folder", .permission(.viewCamera), .getFolder) { _, context in
            try jsonResponse(FolderBody(try await folder(context)))
        }
        group.put(":source/:folder", .permission(.administerCameras), .renameFolder) {
            request, context in
            let body = try await body(of: request, allowing: Schema.folderNames.keys)
            let (name, nameArabic) = try names(body)
            let folder = try await services.administration.rename(
                folder(context), name: name, nameArabic: nameArabic, by: context.caller)
            return try jsonResponse(FolderBody(folder))
        }
        group.delete(":source/:folder", .permission(.administerCameras), .removeFolder) {
            _, context in
            try await services.administration.remove(folder(context), by: context.caller)
            return Response(status: .noContent)
        }
    }

    private func addFolder(_ request: Request, _ caller: Caller) async throws -> Response {
        let body = try await body(
            of: request, allowing: Schema.newFolder.keys)
        guard let source = Source(try body.requiredText("source")) else {
            throw MarsadError(
                .invalidRequest, details: ["key": "source", "allowed": "A–Z, 0–9 and _, up to 32"])
        }
        guard let id = FolderID(try body.requiredText("folder_id")) else {
            throw MarsadError(
                .invalidRequest,
                details: ["key": "folder_id", "allowed": "a–z, 0–9 and -, up to 64"])
        }
        guard caller.visibility.allows(source, id) else {
            throw MarsadError(.sourceForbidden, details: ["source": source.rawValue])
        }
        let (name, nameArabic) = try names(body)
        let folder = try await services.administration.add(
            id, in: source, name: name, nameArabic: nameArabic, by: caller)
        return try jsonResponse(
            FolderBody(folder), status: .created,
            headers: [.location: "/api/v1/folders/\(source)/\(id)"])
    }

    private func names(_ body: JSONObject) throws(MarsadError) -> (String, String) {
        (
            try CameraDefinition.name(body.requiredText("name"), key: "name", from: 1),
            try CameraDefinition.name(body.text("name_ar") ?? "", key: "name_ar", from: 0)
        )
    }

    /// The group of the path, where the caller may know of it.
    private func folder(_ context: MarsadRequestContext) async throws -> CameraFolder {
        guard let source = context.parameters.get("source").flatMap({ Source($0) }),
            let id = context.parameters.get("folder").flatMap({ FolderID($0) }),
            let folder = try await services.administration.folders.folder(
                source, id, context.caller.visibility)
        else { throw MarsadError(.notFound) }
        return folder
    }
}
