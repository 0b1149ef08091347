// Imports on a real SQLite file: what a line finds, and what happens where the audit log cannot be told.
// SPDX-License-Identifier: Apache-2.0

import Database
import Domain
import Foundation
import Ingest
import Primitives
import Synchronization
import Testing

@Suite struct CameraImportTests {
    private final class Log: Sendable {
        let events = Mutex<[AuditEvent]>([])
        let isBroken = Mutex(false)
    }

    /// Runs `body` with an import on a fresh database.
    private func withImport(
        _ body: (CameraImport, CameraStore, Log) async throws -> Void
    ) async throws {
        let folder = FileManager.default.temporaryDirectory
            .appendingPathComponent("marsad-import-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        let engine = try SQLiteEngine(path: folder.appendingPathComponent("m.sqlite").path)
        try await Migrator(engine: engine).migrate(at: WallTime(microseconds: 1))
        let store = CameraStore(
            database: engine, instanceKey: [UInt8](repeating: 7, count: 32))
        let log = Log()
        let counter = Atomic<UInt64>(0)
        let world = World(
            now: { Instant(nanoseconds: 0) }, wallTime: { WallTime(microseconds: 1_000_000) },
            random: { 4 },
            secureRandomBytes: { count in
                let number = counter.add(1, ordering: .relaxed).newValue
                return (0..<count).map { UInt8(truncatingIfNeeded: number >> UInt64(8 * ($0 % 8))) }
            })
        let administration = CameraAdministration(
            cameras: store, folders: FolderStore(database: engine), world: world
        ) { event, statements throws(DatabaseError) in
            if log.isBroken.withLock({ $0 }) { throw .full }
            try await engine.transaction(statements)
            log.events.withLock { $0.append(event) }
        }
        try await body(CameraImport(administration), store, log)
        try await engine.close()
    }

    private func run(
        _ cameraImport: CameraImport, _ text: String, isDryRun: Bool = false
    ) async throws -> [ImportOutcome] {
        try await cameraImport.run(
            CameraSheet.lines(csv: Array(text.utf8)), isDryRun: isDryRun, by: .program("test"))
    }

    private let header = "name,source,external_id,rtsp_url\n"

    @Test("a line is the camera's with its external id, else the one's at its address without one")
    func keys() async throws {
        try await withImport { cameraImport, store, log in
            let plain = "name,source,rtsp_url\nGate,METRO,rtsp://a:b@10.0.0.1/x\n"
            let named = header + "Gate,METRO,G-1,rtsp://a:c@10.0.0.1/x\n"
            for (text, expected) in [
                (plain, [.created]), (plain, [.unchanged]),
                (plain.replacing("a:b@", with: "a:c@"), [.changed]),
                // It gets its external id, and is known by it when it moves.
                (named, [.changed]), (named.replacing("0.1/", with: "0.9/"), [.changed]),
                // The same address in another source, or with another external id, is another camera.
                (
                    header + "Gate,BUS,,rtsp://a:c@10.0.0.9/x\n"
                        + "Gate,METRO,G-2,rtsp://a:c@10.0.0.9/x\n", [.created, .created]
                ),
            ] as [(String, [ImportOutcome.Status])] {
                let outcomes = try await run(cameraImport, text)
                #expect(outcomes.map(\.status) == expected)
            }
            #expect(try await store.all(.everything).count == 3)
            #expect(log.events.withLock { $0.count } == 6)
        }
    }

    @Test("a line that the audit log cannot be told of is not done, and says so")
    func failClosed() async throws {
        try await withImport { cameraImport, store, log in
            log.isBroken.withLock { $0 = true }
            let text = header + "Gate,METRO,G-1,rtsp://a:b@10.0.0.1/x\n"
            let outcomes = try await run(cameraImport, text)
            #expect(outcomes.map(\.failure) == [MarsadError(.storageUnavailable)])
            #expect(try await store.all(.everything).isEmpty)
            log.isBroken.withLock { $0 = false }
            #expect(try await run(cameraImport, text).map(\.status) == [.created])
        }
    }

    @Test("a dry run does nothing and sees what its own lines would do")
    func dryRun() async throws {
        try await withImport { cameraImport, store, log in
            let text =
                header + "Gate,METRO,G-1,rtsp://10.0.0.1/x\nAgain,METRO,G-1,rtsp://10.0.0.2/x\n"
            let outcomes = try await run(cameraImport, text, isDryRun: true)
            #expect(outcomes.map(\.status) == [.created, .error])
            #expect(outcomes[1].failure?.code == .alreadyExists)
            #expect(outcomes.map(\.cameraID) == [nil, nil])
            #expect(try await store.all(.everything).isEmpty)
            #expect(log.events.withLock { $0.isEmpty })
        }
    }

    @Test("an outcome never holds a word of an address")
    func secrets() async throws {
        try await withImport { cameraImport, _, _ in
            for address in [
                "http://u:hunter2@x/", "rtsp://u:hunter2@x:99999/", "rtsp://u:hunter2%zz@x/",
                "rtsp://u:hunter2@[/", "hunter2",
            ] {
                let text = header + "Gate,METRO,G-1,\(address)\n"
                let outcome = try #require(try await run(cameraImport, text).first)
                #expect(outcome.failure?.code == .invalidRequest)
                #expect(!"\(outcome)".contains("hunter2"))
            }
        }
    }
}
