// A wrong configuration ends the program with 2 and says the key, the value and what is allowed.
// SPDX-License-Identifier: Apache-2.0

import Foundation
import Testing

extension InteropTests {
    @Suite struct WrongConfiguration {
        @Test(
            "is refused before anything starts",
            arguments: [
                (
                    "recording.segment_seconds=0",
                    ["recording.segment_seconds", "\"0\"", "2", "3600"]
                ),
                ("retention.days=soon", ["retention.days", "\"soon\"", "3650"]),
                ("http.host=camera.example", ["http.host", "\"camera.example\"", "127.0.0.1"]),
                (
                    "ingest.camera_networks=lan",
                    ["camera_networks", "\"lan\"", "10.0.0.0/8"]
                ),
                ("log.level=loud", ["log.level", "\"loud\"", "debug"]),
                ("htpp.port=80", ["htpp.port", "http.port"]),
            ])
        func isRefused(setting: String, words: [String]) async throws {
            let place = try Place()
            defer { place.remove() }
            let result = try await run(
                Programs.marsad, ["serve", "--data", place.data, "--set", setting], in: place)
            #expect(result.status == 2)
            #expect(result.output == "")
            for word in words { #expect(result.errors.contains(word), "\(result.errors)") }
            #expect(!FileManager.default.fileExists(atPath: place.data))
        }

        @Test("in a file names the file")
        func namesTheFile() async throws {
            let place = try Place()
            defer { place.remove() }
            let file = place.folder.path + "/marsad.yaml"
            try Data("http:\n  port: 99999\n".utf8).write(to: URL(fileURLWithPath: file))
            let result = try await run(
                Programs.marsad, ["serve", "--data", place.data, "--config", file], in: place)
            #expect(result.status == 2)
            for word in [file, "http.port", "99999", "65535"] {
                #expect(result.errors.contains(word), "\(result.errors)")
            }
        }
    }
}
