// Cameras in a real database: what is stored, and what must not be readable in it.
// SPDX-License-Identifier: Apache-2.0

import Database
import Domain
import Foundation
import Ingest
import Primitives
import Testing

@Suite(.everyDatabase) struct CameraStoreTests {
    private static let key = [UInt8](repeating: 7, count: 32)

    /// Runs `body` on a fresh database, and a folder of its own.
    private func withDatabase(_ body: (any DatabaseEngine, URL) async throws -> Void) async throws {
        let folder = FileManager.default.temporaryDirectory
            .appendingPathComponent("marsad-cameras-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        let engine = try await TestDatabase.current.open(in: folder.path)
        try await Migrator(engine: engine).migrate(at: WallTime(microseconds: 1))
        try await body(engine, folder)
        try await engine.close()
    }

    private func camera(_ last: Int = 1, createdAt: Int64 = 1000) throws -> Camera {
        let id = "3f2504e0-4f89-41d3-9a0c-" + padded(last, 12)
        return Camera(
            id: try #require(CameraID(id)), name: "Gate '\(last)'", nameArabic: "بوابة",
            source: try #require(Source("METRO")),
            address: Redacted("rtsp://viewer:hunter2secret@10.0.0.1:554/stream"),
            retentionDays: 30, createdAt: WallTime(microseconds: createdAt))
    }

    private func addFolder(_ id: String, to engine: any DatabaseEngine) async throws {
        try await engine.execute(
            Statement(
                """
                INSERT INTO camera_folders (source, folder_id, name, created_at, updated_at)
                VALUES ('METRO', ?, ?, 0, 0)
                """, [.text(id), .text(id)]))
    }

    @Test("a camera is not put into a group that does not exist, nor under another's external id")
    func rules() async throws {
        try await withDatabase { engine, _ in
            let store = CameraStore(database: engine, instanceKey: Self.key)
            var (first, second) = (try camera(1), try camera(2))
            first.folderID = FolderID("gates")
            await #expect(throws: CameraStore.missingFolder) { try await store.put(first) }
            #expect(try await store.all(.everything).isEmpty)
            first.folderID = nil
            first.externalID = "CAM-1"
            try await store.put(first)
            second.externalID = "CAM-1"
            await #expect(throws: MarsadError(.alreadyExists, details: ["key": "external_id"])) {
                try await store.put(second)
            }
            // An id is free again when its camera is gone, and each source has its own.
            _ = try await store.remove(first.id, at: WallTime(microseconds: 5000))
            try await store.put(second)
            first.source = try #require(Source("BUS"))
            try await store.put(first)
        }
    }

    @Test("a camera is found as it was put, and put again it is changed, not doubled")
    func putTwice() async throws {
        try await withDatabase { engine, _ in
            let store = CameraStore(database: engine, instanceKey: Self.key)
            var camera = try camera()
            try await store.put(camera)
            #expect(try await store.camera(camera.id, .everything) == camera)
            camera.name = "New name"
            try await addFolder("gates", to: engine)
            camera.folderID = FolderID("gates")
            camera.externalID = "CAM-1"
            camera.address = Redacted("rtsp://10.0.0.2/")
            camera.subAddress = Redacted("rtsp://10.0.0.2/sub")
            camera.hasAudio = true
            camera.recordingMode = .off
            camera.retentionDays = nil
            camera.updatedAt = WallTime(microseconds: 2000)
            try await store.put(camera)
            #expect(try await store.all(.everything) == [camera])
        }
    }

    @Test("a camera that publishes has no address, and of its token the hash alone")
    func publishing() async throws {
        try await withDatabase { engine, _ in
            let store = CameraStore(database: engine, instanceKey: Self.key)
            var camera = try camera()
            camera.origin = .whip
            camera.address = Redacted("")
            camera.publishTokenHash = PublishToken.hash(Redacted("secret"))
            try await store.put(camera)
            #expect(try await store.camera(camera.id, .everything) == camera)
            let row = try await engine.query(
                Statement("SELECT origin, rtsp_url, publish_token_sha256 FROM cameras")
            ).first
            #expect(try row?.text("origin") == "WHIP")
            #expect(try row?.optionalText("rtsp_url") == nil)
            #expect(try row?.text("publish_token_sha256") == camera.publishTokenHash)
        }
    }

    @Test("a camera that may not be known of does not exist")
    func visibility() async throws {
        try await withDatabase { engine, _ in
            let store = CameraStore(database: engine, instanceKey: Self.key)
            let (metro, bus) = (try #require(Source("METRO")), try #require(Source("BUS")))
            let gates = try #require(FolderID("gates"))
            var cameras = try (1...3).map { try camera($0, createdAt: Int64($0)) }
            try await addFolder("gates", to: engine)
            cameras[1].folderID = gates
            cameras[2].source = bus
            for camera in cameras { try await store.put(camera) }
            for (scopes, seen) in [
                ([.source(metro)], [0, 1]), ([.folder(metro, gates)], [1]),
                ([.source(bus), .folder(metro, gates)], [1, 2]), ([.all], [0, 1, 2]),
                ([.folder(bus, gates)], []), ([], []),
            ] as [(Set<CameraScope>, [Int])] {
                let visibility = Visibility(scopes: scopes)
                #expect(try await store.all(visibility) == seen.map { cameras[$0] })
                for (index, camera) in cameras.enumerated() {
                    let found = try await store.camera(camera.id, visibility)
                    #expect(found == (seen.contains(index) ? camera : nil))
                }
            }
        }
    }

    @Test("cameras are listed in the order they were added")
    func order() async throws {
        try await withDatabase { engine, _ in
            let store = CameraStore(database: engine, instanceKey: Self.key)
            for (last, time) in [(3, Int64(30)), (1, 20), (2, 10)] {
                try await store.put(try camera(last, createdAt: time))
            }
            let names = try await store.all(.everything).map(\.name)
            #expect(names == ["Gate '2'", "Gate '1'", "Gate '3'"])
        }
    }

    @Test("a removed camera is gone, removing it again finds nothing, and it can come back")
    func removal() async throws {
        try await withDatabase { engine, _ in
            let store = CameraStore(database: engine, instanceKey: Self.key)
            let camera = try camera()
            let now = WallTime(microseconds: 5000)
            try await store.put(camera)
            #expect(try await store.remove(camera.id, at: now))
            #expect(try await store.camera(camera.id, .everything) == nil)
            #expect(try await store.all(.everything).isEmpty)
            #expect(try await !store.remove(camera.id, at: now))
            try await store.put(camera)
            #expect(try await store.all(.everything) == [camera])
        }
    }

    private func files(in folder: URL) throws -> [String: Data] {
        var files: [String: Data] = [:]
        for name in try FileManager.default.contentsOfDirectory(atPath: folder.path) {
            files[name] = try Data(contentsOf: folder.appendingPathComponent(name))
        }
        return files
    }

    @Test("no byte of an address is readable in the database's files")
    func sealed() async throws {
        try await withDatabase { engine, folder in
            let store = CameraStore(database: engine, instanceKey: Self.key)
            var camera = try camera()
            camera.subAddress = Redacted("rtsp://viewer:hunter2secret@10.0.0.1:554/sub")
            try await store.put(camera)
            let texts =
                engine.dialect == .sqlite
                ? try files(in: folder)
                : [
                    "the row": Data(
                        "\(try await engine.query(Statement("SELECT * FROM cameras")))".utf8)
                ]
            #expect(!texts.isEmpty)
            var sawName = false
            for (name, data) in texts {
                for secret in ["hunter2secret", "viewer:", "rtsp://", "10.0.0.1"] {
                    #expect(data.range(of: Data(secret.utf8)) == nil, "\(secret) in \(name)")
                    let base64 = Data(secret.utf8).base64EncodedString().prefix(8)
                    #expect(data.range(of: Data(base64.utf8)) == nil, "\(secret) in \(name)")
                }
                if data.range(of: Data("Gate".utf8)) != nil { sawName = true }
            }
            #expect(sawName, "the row must be in the files that were searched")
        }
    }

    @Test("an address opens only with its key and for its own camera")
    func bound() async throws {
        try await withDatabase { engine, _ in
            let store = CameraStore(database: engine, instanceKey: Self.key)
            try await store.put(try camera(1))
            try await store.put(try camera(2))
            let other = CameraStore(
                database: engine, instanceKey: [UInt8](repeating: 8, count: 32))
            await #expect(throws: (any Error).self) { try await other.all(.everything) }
            try await engine.execute(
                Statement(
                    """
                    UPDATE cameras SET rtsp_url = (SELECT rtsp_url FROM cameras WHERE id = ?)
                    WHERE id = ?
                    """,
                    [.text(try camera(1).id.rawValue), .text(try camera(2).id.rawValue)]))
            let moved = try camera(2).id
            await #expect(throws: (any Error).self) { try await store.camera(moved, .everything) }
        }
    }

    @Test("an address of one stream is none of the camera's other stream")
    func boundToStream() async throws {
        try await withDatabase { engine, _ in
            let store = CameraStore(database: engine, instanceKey: Self.key)
            let camera = try camera()
            try await store.put(camera)
            try await engine.execute(Statement("UPDATE cameras SET sub_rtsp_url = rtsp_url"))
            await #expect(throws: (any Error).self) {
                try await store.camera(camera.id, .everything)
            }
        }
    }
}
