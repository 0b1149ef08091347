// The live window: what slides, and the numbers that must not.
// SPDX-License-Identifier: Apache-2.0

import Domain
import Playback
import Primitives
import Synchronization
import Testing

@Suite struct LiveHLSTests {
    /// Seconds since the origin, and the recording as far as it has come by then.
    private final class Recording: Sendable {
        private let second = Mutex<Int64>(0)

        var now: WallTime { Rows.origin + .seconds(second.withLock { $0 }) }

        func move(to value: Int64) { second.withLock { $0 = value } }

        /// - Parameter runs: first second, last second and seconds from keyframe to keyframe.
        func segments(
            in range: TimeRange, runs: [(from: Int64, until: Int64, group: Int64)]
        ) throws -> [Segment] {
            let now = second.withLock { $0 }
            let segments = try runs.enumerated().filter { $0.element.from < now }.map {
                index, run in
                let count = min(now, run.until) - run.from
                return try Rows.segment(
                    "s\(index)", run: "r\(index)", from: run.from, decodeTime: 900 + run.from,
                    sync: (0..<count).map { $0 % run.group == 0 })
            }
            return segments.filter { $0.range?.overlaps(range) ?? false }
        }
    }

    private static let twoRuns: [(from: Int64, until: Int64, group: Int64)] = [
        (0, 40, 1), (50, 1000, 1),
    ]

    private func live(
        _ recording: Recording, runs: [(from: Int64, until: Int64, group: Int64)] = twoRuns
    ) -> LiveHLS {
        let world = World(
            now: { Instant(nanoseconds: 0) }, wallTime: { recording.now }, random: { 0 },
            secureRandomBytes: { [UInt8](repeating: 0, count: $0) })
        let catalog = RecordingCatalog(
            segments: { _, range in try recording.segments(in: range, runs: runs) },
            spans: { _, _ in [] }, segment: { _, _ in nil }, gaps: { _, _ in [] },
            nearest: { _, _ in (nil, nil) })
        return LiveHLS(node: BlankNode(), catalog: catalog, world: world)
    }

    private func number(_ name: String, in lines: [Substring]) -> Int {
        lines.first { $0.hasPrefix(name) }.flatMap { Int($0.dropFirst(name.count)) } ?? 0
    }

    /// Follows a live playlist second by second; the numbers of each piece, by its address.
    private func follow(
        _ live: LiveHLS, _ recording: Recording, _ seconds: ClosedRange<Int64>
    ) async throws -> [Substring: [Int]] {
        var known: [Substring: [Int]] = [:]
        var sequence = 0
        for second in seconds {
            recording.move(to: second)
            guard let text = try? await live.playlist(of: Rows.cameraID()) else { continue }
            let lines = text.split(separator: "\n")
            var media = number("#EXT-X-MEDIA-SEQUENCE:", in: lines)
            var run = number("#EXT-X-DISCONTINUITY-SEQUENCE:", in: lines)
            #expect(media >= sequence, "second \(second)")
            sequence = media
            for line in lines {
                if line == "#EXT-X-DISCONTINUITY" { run += 1 }
                guard !line.hasPrefix("#") else { continue }
                #expect(known[line] ?? [media, run] == [media, run], "\(line), second \(second)")
                known[line] = [media, run]
                media += 1
            }
            #expect(lines.contains("#EXT-X-TARGETDURATION:5"))
            #expect(!lines.contains("#EXT-X-ENDLIST"))
        }
        #expect(Set(known.values.map { $0[0] }).count == known.count)
        return known
    }

    @Test("a piece keeps its number and its discontinuity number while the window slides over it")
    func numbers() async throws {
        let recording = Recording()
        let live = live(recording)
        let known = try await follow(live, recording, 6...110)
        #expect(known.values.map { $0[1] }.max() == 1)
        let text = try await live.playlist(of: Rows.cameraID())
        #expect(text.split(separator: "\n").count { !$0.hasPrefix("#") } == 6)
    }

    @Test(
        "what comes back after a long outage is a discontinuity, also where nobody looked meanwhile"
    )
    func outage() async throws {
        let recording = Recording()
        let live = live(recording, runs: [(0, 40, 1), (400, 1000, 1)])
        let known = try await follow(live, recording, 6...450)
        #expect(Set(known.values.map { $0[1] }) == [0, 1])
        recording.move(to: 900)
        let lines = try await live.playlist(of: Rows.cameraID()).split(separator: "\n")
        #expect(number("#EXT-X-DISCONTINUITY-SEQUENCE:", in: lines) == 2)
    }

    @Test("more runs than are remembered leave the running one where it is")
    func manyRuns() async throws {
        let recording = Recording()
        let runs = (0..<40).map {
            (from: Int64($0) * 12, until: Int64($0) * 12 + 10, group: Int64(1))
        }
        let known = try await follow(live(recording, runs: runs), recording, 6...475)
        #expect(known.values.map { $0[1] }.max() == 39)
    }

    @Test("a keyframe every twenty seconds is live too, with a window that begins at one")
    func longGroups() async throws {
        let recording = Recording()
        let live = live(recording, runs: [(0, 1000, 20)])
        _ = try await follow(live, recording, 8...300)
        for second in Int64(60)...120 {
            recording.move(to: second)
            let lines = try await live.playlist(of: Rows.cameraID()).split(separator: "\n")
            let pieces = lines.filter { !$0.hasPrefix("#") }
            #expect(pieces.count >= 6)
            let first = pieces.first?.split(separator: "/").last?.dropLast(4)
            #expect((first.flatMap { Int($0) } ?? 1) % 20 == 0)
            // No more than a piece and the fragment behind it are missing at the end.
            let last = pieces.last?.split(separator: "/").last?.dropLast(4)
            #expect((last.flatMap { Int64($0) } ?? 0) >= second - 9)
        }
    }

    @Test("a camera that has not been recorded for half a minute is unavailable")
    func stale() async throws {
        let recording = Recording()
        let live = live(recording)
        recording.move(to: 6)
        _ = try await live.playlist(of: Rows.cameraID())
        recording.move(to: 45)
        _ = try await live.playlist(of: Rows.cameraID())
        let ended = Recording()
        let over = self.live(ended, runs: [(0, 40, 1)])
        ended.move(to: 65)
        _ = try await over.playlist(of: Rows.cameraID())
        ended.move(to: 75)
        await #expect(throws: MarsadError.self) { try await over.playlist(of: Rows.cameraID()) }
        let silent = Recording()
        let other = self.live(silent)
        await #expect(throws: MarsadError.self) { try await other.playlist(of: Rows.cameraID()) }
    }
}
