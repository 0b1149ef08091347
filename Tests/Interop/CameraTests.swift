// A camera that dies and comes back, and one with a password full of symbols that nobody may see.
// SPDX-License-Identifier: Apache-2.0

import Foundation
import Glibc
import Primitives
import Testing

extension InteropTests {
    @Suite struct Cameras {
        @Test("a frozen camera is shown as lost with its last picture, and comes back by itself")
        func comesBack() async throws {
            let place = try Place()
            defer { place.remove() }
            let simulator = try await SimulatorProgram.start(place, count: 1)
            defer { simulator.program.kill() }
            let id = try await addCamera(simulator.address(1), name: "One", in: place)
            let server = try await ServerProgram.start(place)
            defer { server.program.kill() }
            try await server.waitUntilOnline(1)
            try await expectSnapshot(server, id, ["ONLINE"])

            simulator.program.signal(SIGSTOP)
            let lost = ["OFFLINE", "CIRCUIT_OPEN"]
            let camera = try await eventually("the camera is lost", within: .seconds(15)) {
                try await server.cameras().first { lost.contains($0.status) }
            }
            #expect(camera.last_error?.isEmpty == false)
            try await expectSnapshot(server, id, lost)

            // The circuit may be open for up to 36 s.
            simulator.program.kill()
            _ = try await simulator.program.status(within: .seconds(10))
            let replaced = try await SimulatorProgram.start(place, count: 1, port: simulator.port)
            defer { replaced.program.kill() }
            try await server.waitUntilOnline(1, within: .seconds(50))
            try await expectSnapshot(server, id, ["ONLINE"])
            try await server.stop()
        }

        private func expectSnapshot(
            _ server: ServerProgram, _ id: String, _ statuses: [String]
        ) async throws {
            let answer = try await server.answer("/api/v1/cameras/\(id)/snapshot.jpg")
            #expect(answer.status == 200)
            #expect(answer.headers["content-type"] == "image/jpeg")
            #expect(answer.body.starts(with: [0xFF, 0xD8, 0xFF]))
            let status = answer.headers["x-camera-status"] ?? "none"
            #expect(statuses.contains(status))
        }

        @Test("a password of symbols logs in by Digest and appears nowhere")
        func hidesPassword() async throws {
            let password = #"Qz7!@#$%^&*()_+{}|:<>?/\'~"=;, zQ"#
            let encoded = password.utf8.map { byte in
                "%" + (byte < 16 ? "0" : "") + String(byte, radix: 16, uppercase: true)
            }.joined()
            let place = try Place()
            defer { place.remove() }
            let simulator = try await SimulatorProgram.start(
                place, count: 1, credentials: "operator:" + password)
            defer { simulator.program.kill() }
            let added = try await run(
                Programs.marsad,
                [
                    "camera", "add", simulator.address(1, login: "operator:\(encoded)@"),
                    "--name", "Secret", "--data", place.data,
                ], in: place)
            #expect(added.status == 0)
            let id = added.output.trimmingCharacters(in: .whitespacesAndNewlines)
            // Another camera has the wrong password: failures are where passwords leak.
            let wrong = try await run(
                Programs.marsad,
                [
                    "camera", "add", simulator.address(1, login: "operator:x\(encoded)@"),
                    "--name", "Wrong", "--data", place.data,
                ], in: place)
            let begun = WallTime.present
            let server = try await ServerProgram.start(place)
            defer { server.program.kill() }
            try await server.waitUntilOnline(1)
            try await server.waitUntilRecorded(id, since: begun, .seconds(2))
            _ = try await eventually("the wrong login fails", within: .seconds(10)) {
                try await server.cameras().first { $0.last_error != nil }
            }
            let listed = try await run(
                Programs.marsad, ["camera", "list", "--json", "--data", place.data], in: place)

            var seen: [String: Data] = [
                "camera add": Data((added.output + added.errors).utf8),
                "the second camera add": Data((wrong.output + wrong.errors).utf8),
                "camera list": Data((listed.output + listed.errors).utf8),
            ]
            for path in ["/api/v1/cameras", "/api/v1/cameras/\(id)", "/metrics", "/health/ready"] {
                seen[path] = try await server.answer(path).body
            }
            try await server.stop()
            seen["stdout"] = Data(server.program.output.utf8)
            seen["stderr"] = Data(server.program.errors.utf8)
            for file in place.files(below: "data") where !file.hasSuffix(".mp4") {
                seen[file] = try Data(
                    contentsOf: place.folder.appendingPathComponent("data/" + file))
            }
            let json = password.replacingOccurrences(of: #"\"#, with: #"\\"#)
                .replacingOccurrences(of: #"""#, with: #"\""#)
            let forms = [password, encoded, encoded.lowercased(), json, "Qz7!", "%51%7A%37"]
            for (name, bytes) in seen {
                for form in forms {
                    #expect(bytes.range(of: Data(form.utf8)) == nil, "the password is in \(name)")
                }
            }
        }
    }
}
