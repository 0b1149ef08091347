// Renders and encodes the simulated cameras' loops once, and keeps them for the next start.
// SPDX-License-Identifier: Apache-2.0

import Foundation
package import H26x
import NIOCore

/// Makes the clips that simulated cameras play.
package enum SceneLibrary {
    /// What the scenes look like.
    package struct Settings: Hashable, Sendable {
        /// How many cameras need a clip; past `distinctScenes` they share.
        package var cameras: Int
        package var width: Int
        package var height: Int
        package var framesPerSecond: Int
        package var bitsPerSecond: Int
        /// Frames from one IDR to the next.
        package var gop: Int
        /// Length of a loop: a divisor of 60, so that the seconds in the picture are true.
        package var loopSeconds: Int
        package var codec: Codec

        package init(
            cameras: Int, width: Int = 1280, height: Int = 720, framesPerSecond: Int = 25,
            bitsPerSecond: Int = 2_000_000, gop: Int = 50, loopSeconds: Int = 20,
            codec: Codec = .h264
        ) {
            self.cameras = cameras
            self.width = width
            self.height = height
            self.framesPerSecond = framesPerSecond
            self.bitsPerSecond = bitsPerSecond
            self.gop = gop
            self.loopSeconds = loopSeconds
            self.codec = codec
        }

        /// The same cameras' sub-streams: half as wide and high, an eighth of the bits.
        package var sub: Settings {
            var sub = self
            sub.width = max(256, width / 4 * 2)
            sub.height = max(144, height / 4 * 2)
            sub.bitsPerSecond = max(50_000, bitsPerSecond / 8)
            return sub
        }

        /// Refuses what the renderer, the frame code or the encoder cannot do.
        fileprivate func validate() throws(SimulationError) {
            guard (1...10_000).contains(cameras), (256...3840).contains(width),
                (144...2160).contains(height), width % 2 == 0, height % 2 == 0,
                (1...120).contains(framesPerSecond), (50_000...50_000_000).contains(bitsPerSecond)
            else {
                throw .badSettings(
                    "simulated cameras: 1…10000 of them, even sizes from 256×144 to 3840×2160, "
                        + "1…120 frames and 50k…50M bits a second")
            }
            guard (1...60).contains(loopSeconds), 60 % loopSeconds == 0, gop >= 1,
                loopSeconds * framesPerSecond % gop == 0
            else {
                let frames = loopSeconds * framesPerSecond
                throw .badSettings(
                    "a group of pictures of \(gop) frames does not divide the loop of \(frames) "
                        + "(\(loopSeconds) s, a divisor of 60 s, at \(framesPerSecond) a second)")
            }
        }
    }

    /// Scenes that differ; more cameras share these, which bounds both time and memory.
    package static let distinctScenes = 9

    /// Encodes at most this many loops at a time.
    private static let parallelEncodes = 2

    /// The clips of the first cameras in order, one per distinct scene; `CameraServer` begins again
    /// with the first where there are more cameras. What is in `folder` with the same settings is
    /// reused.
    package static func prepare(folder: String, settings: Settings) async throws -> [Clip] {
        try settings.validate()
        try FileManager.default.createDirectory(
            atPath: folder, withIntermediateDirectories: true)
        let scenes = min(settings.cameras, distinctScenes)
        return try await withThrowingTaskGroup(of: (Int, Clip).self) { group in
            var found: [Int: Clip] = [:]
            for camera in 1...scenes {
                if camera > parallelEncodes, let (number, clip) = try await group.next() {
                    found[number] = clip
                }
                group.addTask {
                    (camera, try await clip(camera: camera, folder: folder, settings: settings))
                }
            }
            for try await (number, clip) in group { found[number] = clip }
            return (1...scenes).compactMap { found[$0] }
        }
    }

    private static func clip(
        camera: Int, folder: String, settings: Settings
    ) async throws -> Clip {
        let file = "\(folder)/\(fileName(camera: camera, settings: settings))"
        if !FileManager.default.fileExists(atPath: file) {
            try await encode(camera: camera, to: file, settings: settings)
        }
        let bytes = try Data(contentsOf: URL(fileURLWithPath: file))
        let clip = try Clip(
            name: file, annexB: ByteBuffer(bytes: bytes), settings.codec,
            framesPerSecond: Double(settings.framesPerSecond))
        guard clip.units.count == settings.loopSeconds * settings.framesPerSecond else {
            throw SimulationError.unusableClip(
                file: file, reason: "it has \(clip.units.count) frames; remove it to make it anew")
        }
        return clip
    }

    /// The name carries every setting that shapes the bytes, and a version of the drawing.
    private static func fileName(camera: Int, settings: Settings) -> String {
        let facts =
            "v3 \(settings.width)x\(settings.height) \(settings.framesPerSecond) "
            + "\(settings.bitsPerSecond) \(settings.gop) \(settings.loopSeconds)"
        var hash = FNV1a()
        hash.combine(ByteBuffer(string: facts))
        return "scene-\(camera)-\(String(hash.value, radix: 16)).\(settings.codec.ffmpegName)"
    }

    private static func encode(
        camera: Int, to file: String, settings: Settings
    ) async throws {
        let frames = settings.loopSeconds * settings.framesPerSecond
        let renderer = SceneRenderer(
            camera: camera, width: settings.width, height: settings.height, frameCount: frames,
            framesPerSecond: Double(settings.framesPerSecond))
        let temporary = "\(file).\(UUID().uuidString).part"
        defer { try? FileManager.default.removeItem(atPath: temporary) }
        _ = try await FFmpegProgram.ffmpeg.run(
            [
                "-v", "error", "-y", "-f", "rawvideo", "-pix_fmt", "yuv420p", "-video_size",
                "\(settings.width)x\(settings.height)", "-framerate",
                String(settings.framesPerSecond), "-i", "-", "-an", "-pix_fmt", "yuv420p",
            ] + encoder(camera: camera, settings) + ["-f", settings.codec.ffmpegName, temporary],
            input: { index in index < frames ? renderer.frame(index).bytes : nil })
        // Renamed when whole, so that an interrupted run leaves nothing that looks finished.
        try FileManager.default.moveItem(atPath: temporary, toPath: file)
    }

    /// No B-frames, keyframes at equal distances, and as many bits a second as asked for. The first
    /// group of pictures is shorter by a length of the scene's own: cameras are not in step, and all
    /// their keyframes at one moment would be a load that no city has.
    private static func encoder(camera: Int, _ settings: Settings) -> [String] {
        let rate = String(settings.bitsPerSecond)
        let gop = String(settings.gop)
        let turn = Double(camera) * 0.618_033_988_75
        let first = Int(Double(settings.gop) * (turn - turn.rounded(.down)))
        let control = [
            "-b:v", rate, "-maxrate", rate, "-bufsize", rate, "-g", gop, "-forced-idr", "1",
            "-force_key_frames", "expr:eq(n,\(first))",
        ]
        switch settings.codec {
        case .h264:
            let profile = camera % 2 == 0 ? "high" : "main"
            return [
                "-c:v", "libx264", "-threads", "1", "-preset", "superfast", "-profile:v", profile,
                "-bf", "0", "-keyint_min", gop, "-sc_threshold", "0", "-aud", "1",
            ] + control
        case .h265:
            let rules =
                "keyint=\(gop):min-keyint=\(gop):scenecut=0:bframes=0:open-gop=0:aud=1:"
                + "repeat-headers=1:pools=1:frame-threads=1:log-level=none"
            return ["-c:v", "libx265", "-preset", "ultrafast", "-x265-params", rules] + control
        }
    }
}
