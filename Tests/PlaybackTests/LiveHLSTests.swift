// The live window: what slides, and the numbers that must not.
// SPDX-License-Identifier: Apache-2.0

import Domain
import Playback
import Primitives
import Synchronization
import Testing

@Suite struct LiveHLSTests {
    /// A node that nobody asks: a playlist is made from the index alone.
    private struct SilentNode: CameraNode {
        func assign(_ camera: Camera) async {}
        func unassign(_ id: CameraID) async {}
        func states() async -> [CameraID: StreamState] { [:] }
        func keyframe(of id: CameraID) async -> Keyframe? { nil }
        func openSegments(of id: CameraID) async -> [Segment] { [] }
        func bytes(path: String, offset: UInt64, count: Int) async throws(MarsadError) -> [UInt8] {
            throw MarsadError(.storageUnavailable)
        }
    }

    /// Seconds since the origin, and the recording as far as it has come by then.
    private final class Recording: Sendable {
        private let second = Mutex<Int64>(0)

        var now: WallTime { Rows.origin + .seconds(second.withLock { $0 }) }

        func move(to value: Int64) { second.withLock { $0 = value } }

        /// A run until second 40, and another from second 50.
        func segments(in range: TimeRange) throws -> [Segment] {
            let now = second.withLock { $0 }
            let first = [Bool](repeating: true, count: Int(min(now, 40)))
            var segments = [
                try Rows.segment("a", run: "one", from: 0, decodeTime: 900, sync: first)
            ]
            if now > 50 {
                let next = [Bool](repeating: true, count: Int(now - 50))
                segments.append(
                    try Rows.segment("b", run: "two", from: 50, decodeTime: 7, sync: next))
            }
            return segments.filter { $0.range?.overlaps(range) ?? false }
        }
    }

    private func live(_ recording: Recording) -> LiveHLS {
        let world = World(
            now: { Instant(nanoseconds: 0) }, wallTime: { recording.now }, random: { 0 },
            secureRandomBytes: { [UInt8](repeating: 0, count: $0) })
        let catalog = RecordingCatalog(
            segments: { _, range in try recording.segments(in: range) }, gaps: { _, _ in [] },
            nearest: { _, _ in (nil, nil) })
        return LiveHLS(node: SilentNode(), catalog: catalog, world: world)
    }

    private func number(_ name: String, in lines: [Substring]) -> Int {
        lines.first { $0.hasPrefix(name) }.flatMap { Int($0.dropFirst(name.count)) } ?? 0
    }

    @Test("a piece keeps its number and its discontinuity number while the window slides over it")
    func numbers() async throws {
        let recording = Recording()
        let live = live(recording)
        var known: [Substring: [Int]] = [:]
        for second in Int64(6)...110 {
            recording.move(to: second)
            let lines = try await live.playlist(of: Rows.cameraID()).split(separator: "\n")
            var media = number("#EXT-X-MEDIA-SEQUENCE:", in: lines)
            var run = number("#EXT-X-DISCONTINUITY-SEQUENCE:", in: lines)
            for line in lines {
                if line == "#EXT-X-DISCONTINUITY" { run += 1 }
                guard !line.hasPrefix("#") else { continue }
                #expect(known[line] ?? [media, run] == [media, run], "\(line), second \(second)")
                known[line] = [media, run]
                media += 1
            }
            #expect(!lines.contains("#EXT-X-ENDLIST"))
            #expect(lines.count { !$0.hasPrefix("#") } <= 6)
        }
        #expect(known.values.map { $0[1] }.max() == 1)
        #expect(Set(known.values.map { $0[0] }).count == known.count)
    }

    @Test("a camera that has not been recorded for half a minute is unavailable")
    func stale() async throws {
        let recording = Recording()
        let live = live(recording)
        recording.move(to: 6)
        _ = try await live.playlist(of: Rows.cameraID())
        let silent = Recording()
        let other = self.live(silent)
        await #expect(throws: MarsadError.self) { try await other.playlist(of: Rows.cameraID()) }
    }
}
