// The camera server over real sockets, with tiny clips made by ffmpeg.
// SPDX-License-Identifier: Apache-2.0

import Foundation
import H26x
import NIOCore
import NIOPosix
import Primitives
import RTP
import RTSP
import Simulation
import Testing

private let hasFFmpeg =
    FFmpegProgram.ffmpeg.location != nil && FFmpegProgram.ffprobe.location != nil

@Suite(
    "Camera server",
    .enabled(if: hasFFmpeg, "ffmpeg and ffprobe are not in PATH: the simulator is not tested"))
struct CameraServerTests {
    /// One second of ffmpeg's test picture, 10 frames, an IDR every 5.
    private static let clip = Task { () async throws -> Clip in
        let folder = try temporaryFolder()
        defer { try? FileManager.default.removeItem(at: folder) }
        let file = folder.appendingPathComponent("tiny.mp4").path
        _ = try await FFmpegProgram.ffmpeg.run([
            "-v", "error", "-f", "lavfi", "-i", "testsrc=size=320x180:rate=10:duration=1", "-c:v",
            "libx264", "-threads", "1", "-preset", "superfast", "-pix_fmt", "yuv420p", "-bf", "0",
            "-g", "5", "-sc_threshold", "0", file,
        ])
        return try await Clip.load(file)
    }

    private static func temporaryFolder() throws -> URL {
        let folder = FileManager.default.temporaryDirectory
            .appendingPathComponent("marsad-test-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        return folder
    }

    /// Runs a server of these settings around the body; gives its base URL.
    private func serving(
        _ change: (inout CameraServer.Settings) -> Void = { _ in },
        _ body: (CameraServer, String, any EventLoopGroup) async throws -> Void
    ) async throws {
        var settings = CameraServer.Settings(
            port: 0, count: 3, clips: [try await Self.clip.value], speed: 20)
        settings.startTime = WallTime(microseconds: 1_700_000_000_123_456)
        settings.seed = 42
        change(&settings)
        let group = MultiThreadedEventLoopGroup.singleton
        let server = CameraServer(settings: settings, group: group)
        let port = try await server.start()
        do {
            try await body(server, "rtsp://127.0.0.1:\(port)", group)
        } catch {
            await server.stop()
            throw error
        }
        await server.stop()
    }

    @Test("a file becomes a clip from its first IDR on, with its parameter sets and rate")
    func clipFromFile() async throws {
        let clip = try await Self.clip.value
        #expect(clip.units.count == 10)
        #expect(clip.units.map(\.isRandomAccessPoint) == (0..<10).map { $0 % 5 == 0 })
        #expect(clip.framesPerSecond == 10)
        #expect(clip.parameterSets.sequence.width == 320)
        #expect(clip.units.last?.decodeTime == 81_000)
    }

    @Test(
        "a sub-stream is another stream of the same camera, and one that is not there is not found")
    func subStream() async throws {
        let clip = try await Self.clip.value
        try await serving({ $0.subClips = [clip] }) { server, base, group in
            let viewing = try await CameraViewer.watch(
                "\(base)/camera_2/sub", frames: 5, group: group)
            #expect(viewing.failure == nil)
            let stamps = viewing.units.compactMap { FrameStamp.read(from: $0)?.camera }
            #expect(stamps == [2, 2, 2, 2, 2])
            server.setFault(2, .down)
            let down = try await CameraViewer.watch(
                "\(base)/camera_2/sub", frames: 1, group: group)
            #expect(down.failure?.kind == .protocol)
        }
        try await serving { _, base, group in
            let none = try await CameraViewer.watch(
                "\(base)/camera_2/sub", frames: 1, group: group)
            #expect(none.failure?.kind == .notFound)
        }
    }

    @Test("a camera with sound sends a tone beside its pictures, in step with them")
    func sound() async throws {
        try await serving({ $0.hasAudio = true }) { _, base, group in
            let viewing = try await CameraViewer.watch(
                "\(base)/camera_1", frames: 20, group: group)
            #expect(viewing.failure == nil)
            // Two seconds of pictures have a hundred packets of sound beside them; how many of the last
            // ones come before the last picture, and after it, is the machine's.
            #expect(viewing.sound.count >= 60)
            #expect(viewing.sound.allSatisfy { $0.readableBytes == 160 })
            // G.711: 0xFF is silence, and the tone is none.
            let loud = viewing.sound.first.map { $0.readableBytesView.count { $0 & 0x70 < 0x40 } }
            #expect(loud ?? 0 > 80)
        }
        try await serving { _, base, group in
            let viewing = try await CameraViewer.watch(
                "\(base)/camera_1", frames: 5, group: group)
            #expect(viewing.sound.isEmpty)
        }
    }

    @Test(
        "a viewer gets consecutive frames, whole, from an IDR on, with true times",
        arguments: [false, true])
    func consecutiveFrames(spreadsPackets: Bool) async throws {
        try await serving {
            $0.spreadsPackets = spreadsPackets
        } _: { _, base, group in
            let viewing = try await CameraViewer.watch(
                "\(base)/camera_2", frames: 40, group: group)
            #expect(viewing.failure == nil)
            #expect(viewing.track?.parameterSets != nil)
            #expect(viewing.lost == 0)
            #expect(viewing.units.first?.isRandomAccessPoint == true)
            var checker = StampChecker()
            for unit in viewing.units { checker.append(unit) }
            #expect(checker.report.frames == 40)
            #expect(checker.report.isPerfect)
            let stamps = viewing.units.compactMap { FrameStamp.read(from: $0) }
            #expect(stamps.allSatisfy { $0.camera == 2 })
            let first = try #require(stamps.first)
            let base = try #require(viewing.units.first?.decodeTime)
            for (stamp, unit) in zip(stamps, viewing.units) {
                let media = Double(unit.decodeTime - base) / 90_000
                #expect(abs((stamp.wallTime - first.wallTime).inSeconds - media) < 0.001)
            }
            let report = try #require(viewing.reports.first)
            let wall = try #require(report.ntpTime.wallTime)
            #expect(abs((wall - first.wallTime).inSeconds) < 0.001)
        }
    }

    @Test("frame numbers go on through a reconnection, and two viewers see the same frames")
    func reconnection() async throws {
        try await serving { _, base, group in
            async let left = CameraViewer.watch("\(base)/camera_1", frames: 30, group: group)
            async let right = CameraViewer.watch("\(base)/camera_1", frames: 30, group: group)
            let first = try await (left, right)
            let again = try await CameraViewer.watch("\(base)/camera_1", frames: 5, group: group)
            let numbers = [first.0, first.1, again].map { viewing in
                viewing.units.compactMap { FrameStamp.read(from: $0)?.number }
            }
            #expect(numbers.map(\.count) == [30, 30, 5])
            let latest = max(numbers[0].last ?? 0, numbers[1].last ?? 0)
            #expect(try #require(numbers[2].first) > min(latest, numbers[0].last ?? 0))
        }
    }

    @Test("Digest credentials are asked for, and wrong ones refused")
    func credentials() async throws {
        let right = Credentials(user: "operator", password: Redacted("s3cret"))
        let wrong = Credentials(user: "operator", password: Redacted("guess"))
        try await serving({ $0.credentials = right }) { _, base, group in
            let good = try await CameraViewer.watch(
                "\(base)/camera_1", frames: 5, credentials: right, group: group)
            #expect(good.units.count == 5)
            let bad = try await CameraViewer.watch(
                "\(base)/camera_1", frames: 5, credentials: wrong, group: group)
            #expect(bad.units.isEmpty)
            #expect(bad.failure?.kind == .authentication)
        }
    }

    @Test("an unknown camera is not found, and one that is down answers 503 until it is repaired")
    func faults() async throws {
        try await serving({ $0.faults = [3: .down] }) { server, base, group in
            let unknown = try await CameraViewer.watch(
                "\(base)/camera_99", frames: 1, group: group)
            #expect(unknown.failure?.kind == .notFound)
            let down = try await CameraViewer.watch("\(base)/camera_3", frames: 1, group: group)
            #expect(down.units.isEmpty)
            #expect(down.failure?.reason.contains("503") == true)
            server.setFault(3, .none)
            let repaired = try await CameraViewer.watch(
                "\(base)/camera_3", frames: 3, group: group)
            #expect(repaired.units.count == 3)
        }
    }

    @Test("a camera that goes down drops its viewer")
    func goesDown() async throws {
        try await serving { server, base, group in
            let viewing = try await CameraViewer.watch(
                "\(base)/camera_1", frames: .max, group: group
            ) { server.setFault(1, .down) }
            #expect(viewing.failure?.kind == .closed)
        }
    }

    @Test("scenes are encoded once, and every frame of the loop carries its number")
    func scenes() async throws {
        let folder = try Self.temporaryFolder()
        defer { try? FileManager.default.removeItem(at: folder) }
        let settings = SceneLibrary.Settings(
            cameras: 2, width: 320, height: 180, framesPerSecond: 5, bitsPerSecond: 300_000,
            gop: 10, loopSeconds: 4)
        let clips = try await SceneLibrary.prepare(folder: folder.path, settings: settings)
        #expect(clips.map(\.units.count) == [20, 20])
        let again = try await SceneLibrary.prepare(folder: folder.path, settings: settings)
        #expect(again.map { $0.units.map(\.avcc) } == clips.map { $0.units.map(\.avcc) })
        let files = try FileManager.default.contentsOfDirectory(atPath: folder.path).sorted()
        #expect(files.count == 2)
        let decoded = try await FFmpegProgram.ffmpeg.run([
            "-v", "error", "-i", "\(folder.path)/\(try #require(files.first))", "-f", "rawvideo",
            "-pix_fmt", "yuv420p", "-",
        ])
        let size = 320 * 180 * 3 / 2
        #expect(decoded.count == 20 * size)
        for frame in 0..<20 {
            let luma = [UInt8](decoded.dropFirst(frame * size).prefix(320 * 180))
            #expect(
                FrameCode.read(luma: luma, stride: 320)
                    == FrameCode(frame: UInt16(frame), camera: 1))
        }
    }

    @Test("settings that cannot work are refused in words")
    func badSettings() async throws {
        await #expect(throws: SimulationError.self) {
            try await SceneLibrary.prepare(
                folder: "/nonexistent", settings: .init(cameras: 1, gop: 7))
        }
        await #expect(throws: SimulationError.self) {
            let settings = CameraServer.Settings(count: 0, clips: [])
            let group = MultiThreadedEventLoopGroup.singleton
            _ = try await CameraServer(settings: settings, group: group).start()
        }
        await #expect(throws: SimulationError.self) { try await Clip.load("/nonexistent.mp4") }
    }
}
