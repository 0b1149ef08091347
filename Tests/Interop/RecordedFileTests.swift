// What the real program records is read by ffmpeg: files, files cut in the middle, playlists.
// SPDX-License-Identifier: Apache-2.0

import Foundation
import Primitives
import Testing

extension InteropTests {
    @Suite struct RecordedFiles {
        @Test(
            "ffmpeg reads segments, a repaired half of one, and a playlist across a restart",
            arguments: ["h264", "h265"])
        func readsRecordings(codec: String) async throws {
            let place = try Place()
            defer { place.remove() }
            let simulator = try await SimulatorProgram.start(place, count: 1, codec: codec)
            defer { simulator.program.kill() }
            let id = try await addCamera(simulator.address(1), name: "One", in: place)
            let begun = WallTime.present

            let first = try await ServerProgram.start(place)
            defer { first.program.kill() }
            try await first.waitUntilRecorded(id, since: begun, .seconds(7))
            try await first.stop()

            let found = try await CheckAnswer.of(place.data + "/recordings", in: place)
            #expect(found.frames >= 60)
            #expect(found.missing == 0)
            #expect(found.doubled == 0)
            #expect(found.damaged == 0)
            #expect(found.out_of_order == 0)
            #expect(found.unstamped == 0)

            let again = WallTime.present
            let second = try await ServerProgram.start(place)
            defer { second.program.kill() }
            try await second.waitUntilRecorded(id, since: again, .seconds(3))
            try await playsAcrossTheGap(second, id, from: begun, in: place)
            try await second.stop()

            let files = place.files(below: "data/recordings")
            #expect(files.count >= 4)
            for file in files {
                let words = try await complaints(
                    ofFFmpegAbout: place.data + "/recordings/" + file, in: place)
                #expect(words == "", "\(file)")
            }
            try await repairsHalf(of: files, in: place)
        }

        private func playsAcrossTheGap(
            _ server: ServerProgram, _ id: String, from begun: WallTime, in place: Place
        ) async throws {
            let prepared = try await server.prepare(id, begun, .present)
            #expect(prepared.status == "READY")
            // On a busy machine a camera may fall silent for five seconds; the server says so.
            let log = server.program.errors
            let failures = log.ranges(of: "event=camera_failed").count
            let reasons = prepared.gaps.map(\.reason)
            #expect(
                reasons.first == "RESTART"
                    && reasons.dropFirst().allSatisfy { $0 == "SOURCE_LOST" }
                    && reasons.count <= 1 + failures, "\(prepared.gaps) \(log)")
            let playlist = try await server.answer(prepared.playlist_url)
            let text = String(decoding: playlist.body, as: UTF8.self)
            #expect(text.contains("#EXT-X-DISCONTINUITY\n"))
            #expect(text.contains("#EXT-X-ENDLIST"))
            try await hasEveryUnit(of: text, server, in: place)
            let words = try await complaints(
                ofFFmpegAbout: server.url + prepared.playlist_url, in: place)
            #expect(words == "", "\(text)")
        }

        /// What a player gets by the playlist, put into files, holds every unit as the camera sent it: the
        /// simulator stamps each with its number and a checksum. A new file begins at each init segment.
        private func hasEveryUnit(
            of playlist: String, _ server: ServerProgram, in place: Place
        ) async throws {
            let folder = place.folder.appendingPathComponent("played/a/b/c/d")
            try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
            var files: [Data] = []
            var segments: Set<Substring> = []
            for line in playlist.split(separator: "\n") {
                if line.hasPrefix("#EXT-X-MAP") {
                    let link = try #require(line.split(separator: "\"").dropFirst().first)
                    files.append(try await server.answer(String(link)).body)
                } else if !line.hasPrefix("#") {
                    let answer = try await server.answer(String(line))
                    #expect(answer.status == 200)
                    files[files.count - 1].append(answer.body)
                    // …/{segment}.{…}.m4s
                    let name = try #require(line.split(separator: "/").last)
                    segments.insert(name.prefix { $0 != "." })
                }
            }
            #expect(files.count >= 2, "an init segment before the gap, and one after it")
            #expect(segments.count >= 4, "three segments before the gap, and one after it")
            for (index, file) in files.enumerated() {
                try file.write(to: folder.appendingPathComponent("\(index).mp4"))
            }
            let played = try await CheckAnswer.of(place.folder.path + "/played", in: place)
            let recorded = try await CheckAnswer.of(place.data + "/recordings", in: place)
            #expect(played.frames > 0)
            #expect(played.frames <= recorded.frames)
            #expect(played.damaged == 0)
            #expect(played.doubled == 0)
            #expect(played.out_of_order == 0)
            #expect(played.unstamped == 0)
            // What is missing is the gap's, and that is missing in the recording too.
            #expect(played.missing == recorded.missing)
        }

        private func repairsHalf(of files: [String], in place: Place) async throws {
            let root = place.folder.appendingPathComponent("data/recordings")
            let contents = try files.map { try Data(contentsOf: root.appendingPathComponent($0)) }
            let largest = try #require(
                contents.indices.max { contents[$0].count < contents[$1].count })
            let path = "recordings/" + files[largest]
            let target = place.folder.appendingPathComponent("half/" + path)
            try FileManager.default.createDirectory(
                at: target.deletingLastPathComponent(), withIntermediateDirectories: true)
            try contents[largest].prefix(contents[largest].count / 2).write(to: target)
            let folder = place.folder.path + "/half"

            struct Answer: Decodable {
                var adopted: [String]
                var trimmed_bytes: [String: Int]
                var quarantined: [String: String]
            }
            func repair() async throws -> Answer {
                let result = try await run(
                    Programs.marsad, ["repair", "--json", "--data", folder], in: place)
                #expect(result.status == 0, "\(result.errors)")
                return try JSONDecoder().decode(Answer.self, from: Data(result.output.utf8))
            }
            let answer = try await repair()
            #expect(answer.adopted == [path])
            #expect(answer.trimmed_bytes.keys.sorted() == [path])
            #expect(answer.quarantined.isEmpty)
            let words = try await complaints(ofFFmpegAbout: target.path, in: place)
            #expect(words == "")
            let whole = try await CheckAnswer.of(folder + "/recordings", in: place)
            #expect(whole.frames > 0)
            #expect(whole.missing == 0)
            #expect(whole.damaged == 0)
            // A second repair finds nothing to do.
            let second = try await repair()
            #expect(second.adopted.isEmpty)
        }
    }
}
