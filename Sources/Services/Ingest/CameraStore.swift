// The cameras' rows. Addresses are sealed with the instance key, bound to their camera.
// SPDX-License-Identifier: Apache-2.0

import Crypto
package import Database
package import Domain
import Foundation
package import Primitives

/// Reads and writes cameras; SQL of the dialect that both engines share.
package struct CameraStore: Sendable {
    private let database: any DatabaseEngine
    private let key: Redacted<SymmetricKey>
    package let changes = CameraChanges()

    /// - Parameter instanceKey: 32 bytes that never leave the machine.
    package init(database: any DatabaseEngine, instanceKey: [UInt8]) {
        self.database = database
        key = Redacted(SymmetricKey(data: instanceKey))
    }

    /// Adds a camera, or changes the one with this id. Throws UNPROCESSABLE where its group does not
    /// exist, ALREADY_EXISTS where another camera of its source has its external id.
    package func put(_ camera: Camera) async throws {
        do {
            defer { changes.note() }
            try await database.transaction(statements(putting: camera))
        } catch DatabaseError.expectationFailed {
            throw Self.missingFolder
        } catch DatabaseError.constraint(.unique, _) {
            throw Self.takenExternalID
        }
    }

    /// The first expects the camera's group, where it has one.
    func statements(putting camera: Camera) throws -> [Statement] {
        let row = try statement(camera)
        guard let folder = camera.folderID else { return [row] }
        var check = FolderStore.selection(camera.source, folder)
        check.expectation = .someRows
        return [check, row]
    }

    /// Another camera of the source has the external id.
    static let takenExternalID = MarsadError(
        .alreadyExists, details: ["key": "external_id"])

    package static let missingFolder = MarsadError(
        .unprocessable, details: ["key": "folder_id", "reason": "its source has no such group"])

    private func statement(_ camera: Camera) throws -> Statement {
        let address: DatabaseValue =
            switch camera.origin {
            case .rtsp: .text(try seal(camera.address, .main, of: camera.id))
            case .whip: .null
            }
        let subAddress = try camera.subAddress.map { try seal($0, .sub, of: camera.id) }
        return Statement(
            """
            INSERT INTO cameras (id, name, name_ar, source, folder_id, external_id, origin,
                rtsp_url, sub_rtsp_url, recording_mode, retention_days, publish_token_sha256,
                has_audio, created_at, updated_at)
            VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
            ON CONFLICT (id) DO UPDATE SET name = excluded.name, name_ar = excluded.name_ar,
                source = excluded.source, folder_id = excluded.folder_id,
                external_id = excluded.external_id,
                origin = excluded.origin, rtsp_url = excluded.rtsp_url,
                sub_rtsp_url = excluded.sub_rtsp_url,
                recording_mode = excluded.recording_mode,
                retention_days = excluded.retention_days,
                publish_token_sha256 = excluded.publish_token_sha256,
                has_audio = excluded.has_audio,
                updated_at = excluded.updated_at, deleted_at = NULL
            """,
            [
                .text(camera.id.rawValue), .text(camera.name), .text(camera.nameArabic),
                .text(camera.source.rawValue), DatabaseValue(camera.folderID?.rawValue),
                DatabaseValue(camera.externalID),
                .text(camera.origin.rawValue), address, DatabaseValue(subAddress),
                .text(camera.recordingMode.rawValue), DatabaseValue(camera.retentionDays),
                DatabaseValue(camera.publishTokenHash), DatabaseValue(camera.hasAudio),
                .integer(camera.createdAt.microseconds),
                .integer(camera.updatedAt.microseconds),
            ])
    }

    /// Forgets a camera; its recordings stay. Answers whether there was one.
    package func remove(_ id: CameraID, at now: WallTime) async throws -> Bool {
        var removal = Self.removal(of: id, at: now)
        removal.expectation = .anything
        defer { changes.note() }
        return try await database.execute(removal) > 0
    }

    /// Expects that the camera is there as it was read: a change writes all of it.
    static func isUnchanged(_ camera: Camera) -> Statement {
        Statement(
            "SELECT id FROM cameras WHERE id = ? AND deleted_at IS NULL AND updated_at = ?",
            [.text(camera.id.rawValue), .integer(camera.updatedAt.microseconds)],
            expecting: .someRows)
    }

    static func removal(of id: CameraID, at now: WallTime) -> Statement {
        Statement(
            "UPDATE cameras SET deleted_at = ? WHERE id = ? AND deleted_at IS NULL",
            [.integer(now.microseconds), .text(id.rawValue)], expecting: .changes(1))
    }

    /// The cameras that may be known of, in the order in which they were added.
    package func all(_ visibility: Visibility) async throws -> [Camera] {
        try await cameras(visibility, "deleted_at IS NULL", [])
    }

    /// The same by their ids alone; nothing is unsealed for it.
    package func identifiers(_ visibility: Visibility) async throws(DatabaseError) -> Set<CameraID>
    {
        var found: Set<CameraID> = []
        for row in try await database.query(
            Statement("SELECT id, source, folder_id FROM cameras WHERE deleted_at IS NULL"))
        {
            guard let id = CameraID(try row.text("id")),
                let source = Source(try row.text("source"))
            else { throw .wrongType(column: "id") }
            let folder = try row.optionalText("folder_id").flatMap { FolderID($0) }
            if visibility.allows(source, folder) { found.insert(id) }
        }
        return found
    }

    /// `nil` where there is none that may be known of.
    package func camera(_ id: CameraID, _ visibility: Visibility) async throws -> Camera? {
        try await cameras(visibility, "deleted_at IS NULL AND id = ?", [.text(id.rawValue)]).first
    }

    private func cameras(
        _ visibility: Visibility, _ condition: String, _ values: [DatabaseValue]
    ) async throws -> [Camera] {
        var condition = condition
        var values = values
        if let sources = visibility.sources {
            guard !sources.isEmpty else { return [] }
            // Coarser than the visibility: what is surely outside is not even unsealed.
            let marks = Array(repeating: "?", count: sources.count).joined(separator: ", ")
            condition += " AND source IN (\(marks))"
            values += sources.map { .text($0.rawValue) }
        }
        return try await database.query(
            Statement("SELECT * FROM cameras WHERE \(condition) ORDER BY created_at, id", values)
        ).map(camera).filter { visibility.allows($0) }
    }

    private func camera(_ row: Row) throws -> Camera {
        guard let id = CameraID(try row.text("id")), let source = Source(try row.text("source")),
            let origin = CameraOrigin(rawValue: try row.text("origin"))
        else { throw DatabaseError.wrongType(column: "id") }
        let address =
            switch origin {
            case .rtsp: try unseal(try row.text("rtsp_url"), .main, of: id)
            case .whip: Redacted("")
            }
        let subAddress = try row.optionalText("sub_rtsp_url").map { try unseal($0, .sub, of: id) }
        var camera = Camera(
            id: id, name: try row.text("name"), nameArabic: try row.optionalText("name_ar") ?? "",
            source: source, origin: origin, address: address, subAddress: subAddress,
            recordingMode: RecordingMode(rawValue: try row.text("recording_mode")) ?? .off,
            retentionDays: try row.optionalInteger("retention_days").map { Int($0) },
            publishTokenHash: try row.optionalText("publish_token_sha256"),
            createdAt: WallTime(microseconds: try row.integer("created_at")))
        camera.hasAudio = try row.integer("has_audio") != 0
        camera.folderID = try row.optionalText("folder_id").flatMap { FolderID($0) }
        camera.externalID = try row.optionalText("external_id")
        camera.updatedAt = WallTime(microseconds: try row.integer("updated_at"))
        return camera
    }

    // MARK: Sealing (AES-256-GCM; the place is authenticated, so a sealed address cannot be moved)

    private func seal(
        _ address: Redacted<String>, _ stream: CameraStream, of id: CameraID
    ) throws -> String {
        let box = try AES.GCM.seal(
            Data(address.reveal().utf8), using: key.reveal(),
            authenticating: Self.place(stream, of: id))
        return (box.combined ?? Data()).base64EncodedString()
    }

    private func unseal(
        _ text: String, _ stream: CameraStream, of id: CameraID
    ) throws -> Redacted<String> {
        guard let bytes = Data(base64Encoded: text) else {
            throw DatabaseError.wrongType(column: "rtsp_url")
        }
        let plain = try AES.GCM.open(
            AES.GCM.SealedBox(combined: bytes), using: key.reveal(),
            authenticating: Self.place(stream, of: id))
        return Redacted(String(decoding: plain, as: UTF8.self))
    }

    /// The id alone stands for the main stream, as it did when there was no other.
    private static func place(_ stream: CameraStream, of id: CameraID) -> Data {
        switch stream {
        case .main: Data(id.rawValue.utf8)
        case .sub: Data("\(id.rawValue)/sub".utf8)
        }
    }
}
