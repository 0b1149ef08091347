// kill -9 while recording: what was recorded until shortly before is there after the next start.
// SPDX-License-Identifier: Apache-2.0

import Foundation
import Glibc
import Primitives
import Testing

extension InteropTests {
    @Suite struct Kills {
        /// When all cameras were seen ONLINE, and when the server was killed.
        private struct Stretch {
            var online: WallTime
            var killed: WallTime
        }

        @Test("ten kill -9 at random moments cost less than 2.5 s of each camera's recording")
        func survivesKills() async throws {
            let seed =
                ProcessInfo.processInfo.environment["MARSAD_SEED"].flatMap { UInt64($0) }
                ?? UInt64.random(in: 0 ... .max)
            print("kill test: MARSAD_SEED=\(seed)")
            var random = SeededRandom(seed: seed)
            let place = try Place()
            defer { place.remove() }
            let simulator = try await SimulatorProgram.start(place, count: 4)
            defer { simulator.program.kill() }
            var ids: [String] = []
            for number in 1...4 {
                ids.append(
                    try await addCamera(simulator.address(number), name: "\(number)", in: place))
            }
            let begun = WallTime.present
            var stretches: [Stretch] = []
            for _ in 1...10 {
                let wait = Duration.milliseconds(Int.random(in: 3600...5600, using: &random))
                stretches.append(try await recordAndKill(place, after: wait))
            }
            let server = try await ServerProgram.start(place)
            defer { server.program.kill() }
            try await server.waitUntilOnline(4)
            for id in ids {
                try await expectCovered(server, id, stretches, since: begun)
                let prepared = try await server.prepare(id, begun, .present)
                let words = try await complaints(
                    ofFFmpegAbout: server.url + prepared.playlist_url, in: place)
                #expect(words == "", "seed \(seed)")
            }
            try await server.stop()
            try await expectNothingLost(in: place)
        }

        private func recordAndKill(_ place: Place, after wait: Duration) async throws -> Stretch {
            let server = try await ServerProgram.start(place)
            defer { server.program.kill() }
            try await server.waitUntilOnline(4)
            let online = WallTime.present
            try await Task.sleep(for: wait)
            let killed = WallTime.present
            server.program.signal(SIGKILL)
            _ = try await server.program.status(within: .seconds(10))
            return Stretch(online: online, killed: killed)
        }

        private func expectCovered(
            _ server: ServerProgram, _ id: String, _ stretches: [Stretch], since: WallTime
        ) async throws {
            let timeline = try await server.timeline(id, since, .present)
            // Each time without the program is a gap, and nothing else is.
            #expect(
                timeline.gaps.count == stretches.count, "camera \(id): \(timeline.gaps)")
            for stretch in stretches {
                let from = stretch.online + .seconds(1)
                let to = stretch.killed + .milliseconds(-2500)
                #expect(
                    timeline.coverage.contains { $0.covers(from, to) },
                    "camera \(id): \(from) to \(to) is not in \(timeline.coverage)")
            }
        }

        /// Tails cut off are kept aside; a whole file may only be there when it holds no fragment.
        private func expectNothingLost(in place: Place) async throws {
            let aside = place.files(below: "data/quarantine").filter { $0.hasSuffix(".mp4") }
            if !aside.isEmpty {
                let found = try await CheckAnswer.of(place.data + "/quarantine", in: place)
                #expect(found.frames == 0, "quarantined with frames: \(aside)")
            }
            let kept = try await CheckAnswer.of(place.data + "/recordings", in: place)
            #expect(kept.frames > 0)
            #expect(kept.damaged == 0)
            #expect(kept.doubled == 0)
            #expect(kept.unstamped == 0)
        }
    }
}
