// The simulator and the server as the interop tests use them: processes and their HTTP answers.
// SPDX-License-Identifier: Apache-2.0

import Foundation
import FoundationNetworking
import Glibc
import Primitives
import Testing

extension WallTime {
    static var present: WallTime {
        WallTime(microseconds: Int64(Date().timeIntervalSince1970 * 1e6))
    }
}

/// `marsad simulate cameras` with small pictures.
struct SimulatorProgram {
    let program: RunningProgram
    let url: String

    var port: String { String(url.split(separator: ":").last ?? "") }

    static func start(
        _ place: Place, count: Int, port: String = "0", credentials: String? = nil,
        codec: String = "h264"
    ) async throws -> SimulatorProgram {
        var arguments = [
            "simulate", "cameras", "--count", "\(count)", "--rtsp-port", port, "--json",
            "--scenes", Place.scenes, "--size", "320x180", "--fps", "10", "--gop", "10",
            "--bitrate", "200k", "--codec", codec,
        ]
        if let credentials { arguments += ["--credentials", credentials] }
        let program = try RunningProgram(Programs.marsad, arguments, in: place)
        do {
            return SimulatorProgram(
                program: program, url: try await program.readyURL(within: .seconds(60)))
        } catch {
            program.kill()
            throw error
        }
    }

    /// The address of a camera; `login` is `user:password@`, percent-encoded.
    func address(_ number: Int, login: String = "") -> String {
        url.replacingOccurrences(of: "rtsp://", with: "rtsp://" + login) + "/camera_\(number)"
    }
}

/// `marsad camera add`: the id of the new camera.
func addCamera(_ address: String, name: String, in place: Place) async throws -> String {
    let result = try await run(
        Programs.marsad, ["camera", "add", address, "--name", name, "--data", place.data], in: place
    )
    guard result.status == 0 else { throw InteropError(result.errors) }
    return result.output.trimmingCharacters(in: .whitespacesAndNewlines)
}

struct CameraAnswer: Decodable {
    var id: String
    var status: String
    var last_error: String?
}

struct TimelineAnswer: Decodable {
    struct Range: Decodable {
        var start_time: String
        var end_time: String

        var start: WallTime? { WallTime(iso8601: start_time) }
        var end: WallTime? { WallTime(iso8601: end_time) }

        func covers(_ from: WallTime, _ to: WallTime) -> Bool {
            guard let start, let end else { return false }
            return start <= from && end >= to
        }
    }
    var coverage: [Range]
    var gaps: [Range]
}

struct PreparedAnswer: Decodable {
    struct Gap: Decodable { var reason: String }
    var status: String
    var playlist_url: String
    var gaps: [Gap]
}

/// `marsad serve`.
struct ServerProgram {
    let program: RunningProgram
    let url: String

    static func start(_ place: Place, segmentSeconds: Int = 3) async throws -> ServerProgram {
        let program = try RunningProgram(
            Programs.marsad,
            [
                "serve", "--json", "--http-port", "0", "--data", place.data,
                "--set", "ingest.camera_networks=127.0.0.0/8", "--set", "webrtc.port=0",
                "--set", "recording.segment_seconds=\(segmentSeconds)",
            ], in: place)
        do {
            return ServerProgram(
                program: program, url: try await program.readyURL(within: .seconds(30)))
        } catch {
            program.kill()
            throw error
        }
    }

    /// SIGTERM must end the server by itself, with status 0.
    func stop() async throws {
        program.signal(SIGTERM)
        let status = try await program.status(within: .seconds(15))
        #expect(status == 0, "after SIGTERM; stderr: \(program.errors.suffix(1000))")
    }

    func answer(
        _ path: String, body: Data? = nil
    ) async throws -> (status: Int, body: Data, headers: [String: String]) {
        guard let address = URL(string: url + path) else { throw InteropError("bad path \(path)") }
        var request = URLRequest(url: address, timeoutInterval: 20)
        if let body {
            request.httpMethod = "POST"
            request.httpBody = body
            request.setValue("application/json", forHTTPHeaderField: "Content-Type")
        }
        let (data, response) = try await URLSession.shared.data(for: request)
        let http = response as? HTTPURLResponse
        var headers: [String: String] = [:]
        for (name, value) in http?.allHeaderFields ?? [:] {
            headers["\(name)".lowercased()] = "\(value)"
        }
        return (http?.statusCode ?? 0, data, headers)
    }

    private func decoded<Body: Decodable>(_ type: Body.Type, _ path: String, body: Data? = nil)
        async throws -> Body
    {
        let answer = try await answer(path, body: body)
        guard answer.status == 200 else {
            throw InteropError(
                "\(path): \(answer.status) \(String(decoding: answer.body, as: UTF8.self))")
        }
        return try JSONDecoder().decode(type, from: answer.body)
    }

    func cameras() async throws -> [CameraAnswer] {
        struct List: Decodable { var cameras: [CameraAnswer] }
        return try await decoded(List.self, "/api/v1/cameras").cameras
    }

    func waitUntilOnline(_ count: Int, within patience: Duration = .seconds(20)) async throws {
        _ = try await eventually("\(count) cameras ONLINE", within: patience) {
            try await cameras().count { $0.status == "ONLINE" } == count ? true : nil
        }
    }

    func timeline(_ id: String, _ from: WallTime, _ to: WallTime) async throws -> TimelineAnswer {
        try await decoded(
            TimelineAnswer.self,
            "/api/v1/playback/timeline?camera_id=\(id)&start_time=\(from)&end_time=\(to)")
    }

    /// Waits until some range of the timeline since a time is this long.
    func waitUntilRecorded(_ id: String, since: WallTime, _ length: Duration) async throws {
        _ = try await eventually("\(length) recorded", within: length + .seconds(15)) {
            let ranges = try await timeline(id, since, .present).coverage
            return ranges.contains { range in
                guard let start = range.start, let end = range.end else { return false }
                return end - start >= length
            } ? true : nil
        }
    }

    func prepare(_ id: String, _ from: WallTime, _ to: WallTime) async throws -> PreparedAnswer {
        let body = try JSONEncoder().encode([
            "camera_id": id, "start_time": from.description, "end_time": to.description,
        ])
        return try await decoded(PreparedAnswer.self, "/api/v1/playback/prepare", body: body)
    }
}
