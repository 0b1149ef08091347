// Cameras answered from memory: how old an answer may be, and who waits for a newer one.
// SPDX-License-Identifier: Apache-2.0

import Database
import Domain
import Foundation
import Ingest
import Primitives
import Synchronization
import Testing

@Suite("The directory of cameras") struct CameraDirectoryTests {
    private static let key = [UInt8](repeating: 7, count: 32)

    /// A clock that stands still unless it is moved.
    private final class Clock: Sendable {
        private let time = Mutex(Duration.zero)

        var world: World {
            World(
                now: { Instant(nanoseconds: 0) + self.time.withLock(\.self) },
                wallTime: { WallTime(microseconds: 1_000_000) + self.time.withLock(\.self) },
                random: { 4 }, secureRandomBytes: { [UInt8](repeating: 7, count: $0) })
        }

        func advance(_ duration: Duration) { time.withLock { $0 += duration } }
    }

    private func camera(_ last: Int) throws -> Camera {
        Camera(
            id: try #require(CameraID("3f2504e0-4f89-41d3-9a0c-00000000000\(last)")),
            name: "Gate \(last)", nameArabic: "", source: try #require(Source("METRO")),
            address: Redacted("rtsp://10.0.0.1/stream"), retentionDays: 30,
            createdAt: WallTime(microseconds: Int64(last)))
    }

    /// Runs `body` with a directory, its store, and another one of the same database, as another process
    /// has.
    private func withDirectory(
        _ body: (CameraDirectory, CameraStore, CameraStore, Clock) async throws -> Void
    ) async throws {
        let folder = FileManager.default.temporaryDirectory
            .appendingPathComponent("marsad-directory-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        let engine = try SQLiteEngine(path: folder.path + "/marsad.sqlite")
        try await Migrator(engine: engine).migrate(at: WallTime(microseconds: 1))
        let clock = Clock()
        let ours = CameraStore(database: engine, instanceKey: Self.key)
        let theirs = CameraStore(database: engine, instanceKey: Self.key)
        try await body(CameraDirectory(store: ours, world: clock.world), ours, theirs, clock)
        try await engine.close()
    }

    @Test("what this process changes is seen by the next question")
    func own() async throws {
        try await withDirectory { directory, ours, _, _ in
            try await ours.put(try camera(1))
            #expect(try await directory.all(.everything).count == 1)
            try await ours.put(try camera(2))
            #expect(try await directory.all(.everything).count == 2)
        }
    }

    @Test("what another process changes is seen once the reading is too old, and waited for then")
    func foreign() async throws {
        try await withDirectory { directory, _, theirs, clock in
            #expect(try await directory.all(.everything).isEmpty)
            try await theirs.put(try camera(1))
            clock.advance(.milliseconds(400))
            #expect(try await directory.all(.everything).isEmpty)
            clock.advance(.milliseconds(600))
            #expect(try await directory.all(.everything).count == 1)
        }
    }

    @Test("from the middle of its time on a reading is renewed for those who come later")
    func renewal() async throws {
        try await withDirectory { directory, _, theirs, clock in
            let first = try await directory.snapshot()
            clock.advance(.milliseconds(700))
            try await theirs.put(try camera(1))
            #expect(try await directory.snapshot().revision == first.revision)
            // Renewed without anybody's waiting for it.
            while try await directory.snapshot().revision == first.revision { await Task.yield() }
            #expect(try await directory.all(.everything).count == 1)
        }
    }
}
