// Changes of cameras and their groups behind one door; every change leaves exactly one audit row.
// SPDX-License-Identifier: Apache-2.0

package import Database
package import Domain
import Primitives

/// Commits statements with the event that tells of them, both or neither.
package typealias AuditedCommit =
    @Sendable (AuditEvent, [Statement]) async throws(DatabaseError) -> Void

/// Adds, changes and removes cameras and their groups for somebody. What he may see of them has been
/// asked before.
package struct CameraAdministration: Sendable {
    package let cameras: CameraStore
    package let folders: FolderStore
    let world: World
    private let commit: AuditedCommit

    package init(
        cameras: CameraStore, folders: FolderStore, world: World, commit: @escaping AuditedCommit
    ) {
        self.cameras = cameras
        self.folders = folders
        self.world = world
        self.commit = commit
    }

    // MARK: Cameras

    /// A new camera with an id of its own.
    package func add(
        _ definition: CameraDefinition, origin: CameraOrigin = .rtsp,
        publishTokenHash: String? = nil, by caller: Caller
    ) async throws -> Camera {
        guard let id = CameraID(world.makeID()) else { throw MarsadError(.internalError) }
        let camera = definition.camera(
            id, origin: origin, publishTokenHash: publishTokenHash, at: world.wallTime())
        try await put(camera, AuditEvent(.cameraCreated, by: caller, details: Self.details(camera)))
        return camera
    }

    /// The camera as it is then.
    package func change(
        _ before: Camera, to definition: CameraDefinition, by caller: Caller
    ) async throws -> Camera {
        var camera = before
        definition.apply(to: &camera)
        camera.updatedAt = world.wallTime()
        var details = Self.details(camera)
        if before.source != camera.source { details["source_before"] = before.source.rawValue }
        if before.folderID != camera.folderID {
            details["folder_before"] = before.folderID?.rawValue ?? ""
        }
        if before.address != camera.address { details["address"] = "changed" }
        if before.name != camera.name { details["name_before"] = before.name }
        details["changed"] = Self.changes(from: before, to: camera).joined(separator: ", ")
        defer { cameras.changes.note() }
        try await commit(
            AuditEvent(.cameraUpdated, by: caller, details: details),
            [CameraStore.isUnchanged(before)] + cameras.statements(putting: camera),
            missing: [
                MarsadError(
                    .conflict, details: ["reason": "somebody else has changed this camera"]),
                CameraStore.missingFolder,
            ], existing: CameraStore.takenExternalID)
        return camera
    }

    /// The keys of what is different, as a definition has them.
    private static func changes(from before: Camera, to camera: Camera) -> [String] {
        let differs: [(key: String, Bool)] = [
            ("name", before.name != camera.name),
            ("name_ar", before.nameArabic != camera.nameArabic),
            ("source", before.source != camera.source),
            ("folder_id", before.folderID != camera.folderID),
            ("external_id", before.externalID != camera.externalID),
            ("rtsp_url", before.address != camera.address),
            ("sub_rtsp_url", before.subAddress != camera.subAddress),
            ("has_audio", before.hasAudio != camera.hasAudio),
            ("recording", before.recordingMode != camera.recordingMode),
            ("retention_days", before.retentionDays != camera.retentionDays),
        ]
        return differs.filter(\.1).map(\.key)
    }

    /// Its recordings stay.
    package func remove(_ camera: Camera, by caller: Caller) async throws {
        defer { cameras.changes.note() }
        try await commit(
            AuditEvent(.cameraDeleted, by: caller, details: Self.details(camera)),
            [CameraStore.removal(of: camera.id, at: world.wallTime())],
            missing: [MarsadError(.cameraNotFound)])
    }

    private func put(_ camera: Camera, _ event: AuditEvent) async throws {
        defer { cameras.changes.note() }
        try await commit(
            event, cameras.statements(putting: camera), missing: [CameraStore.missingFolder],
            existing: CameraStore.takenExternalID)
    }

    // MARK: Groups

    /// Throws ALREADY_EXISTS where the source has one of this id.
    package func add(
        _ id: FolderID, in source: Source, name: String, nameArabic: String, by caller: Caller
    ) async throws -> CameraFolder {
        let folder = CameraFolder(
            source: source, id: id, name: name, nameArabic: nameArabic, createdAt: world.wallTime())
        try await commit(
            Self.event(.folderCreated, folder, caller), [FolderStore.insert(folder)],
            existing: MarsadError(.alreadyExists, details: ["folder_id": id.rawValue]))
        return folder
    }

    package func rename(
        _ folder: CameraFolder, name: String, nameArabic: String, by caller: Caller
    ) async throws -> CameraFolder {
        var folder = folder
        folder.name = name
        folder.nameArabic = nameArabic
        folder.updatedAt = world.wallTime()
        try await commit(
            Self.event(.folderUpdated, folder, caller), [FolderStore.update(folder)],
            missing: [MarsadError(.notFound)])
        return folder
    }

    /// Throws CONFLICT while a camera is in it or a permission names it.
    package func remove(_ folder: CameraFolder, by caller: Caller) async throws {
        let conflicts = ["a camera is in it", "a permission names it"].map {
            MarsadError(.conflict, details: ["folder_id": folder.id.rawValue, "reason": $0])
        }
        try await commit(
            Self.event(.folderDeleted, folder, caller),
            FolderStore.removal(folder.source, folder.id),
            missing: conflicts + [MarsadError(.notFound)])
    }

    // MARK: Steps

    /// - Parameters:
    ///   - missing: what a missed expectation means, statement by statement.
    ///   - existing: what it means that there is one of this key already.
    private func commit(
        _ event: AuditEvent, _ statements: [Statement], missing: [MarsadError] = [],
        existing: MarsadError = MarsadError(.alreadyExists)
    ) async throws(MarsadError) {
        do {
            try await commit(event, statements)
        } catch .expectationFailed(let index) where missing.indices.contains(index) {
            throw missing[index]
        } catch .constraint(.unique, _) {
            throw existing
        } catch {
            throw MarsadError(.storageUnavailable)
        }
    }

    private static func details(_ camera: Camera) -> [String: String] {
        var details = [
            "camera_id": camera.id.rawValue, "name": camera.name,
            "source": camera.source.rawValue,
        ]
        details["folder_id"] = camera.folderID?.rawValue
        return details
    }

    private static func event(
        _ kind: AuditEvent.Kind, _ folder: CameraFolder, _ caller: Caller
    ) -> AuditEvent {
        AuditEvent(
            kind, by: caller,
            details: [
                "source": folder.source.rawValue, "folder_id": folder.id.rawValue,
                "name": folder.name,
            ])
    }
}
