// `marsad simulate cameras`: real RTSP servers for tests, demonstrations and benchmarks.
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Foundation
import Glibc
import H26x
import NIOCore
import NIOPosix
import Primitives
import RTSP
import Simulation

struct Simulate: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Simulate what stands outside Marsad.",
        subcommands: [Cameras.self, Past.self, Network.self])

    struct Cameras: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Cameras at rtsp://127.0.0.1:PORT/camera_1 … camera_N.",
            discussion: "Drawn scenes have a sub-stream at camera_N/sub, files have none.")

        @Option(help: "How many cameras.") var count = 9
        @Option(help: "A file to play instead of the drawn scenes; may be repeated.")
        var clip: [String] = []
        @Option(help: "The port; 0 takes a free one.") var rtspPort = 8564
        @Option(help: "USER:PASSWORD to ask for by Digest.") var credentials: String?
        @Flag(help: "Send each packet by itself, a frame's spread over its time.")
        var spreadPackets = false
        @Flag(help: "Give them a tone beside their pictures.") var audio = false
        @OptionGroup var scenes: SceneOptions
        @Flag(help: "Print the ready line as JSON on stdout.") var json = false

        func run() async throws {
            guard (1...2000).contains(count) else {
                throw ConfigurationError(description: "--count is \(count); allowed: 1 to 2000")
            }
            var settings = CameraServer.Settings(
                host: "127.0.0.1", port: rtspPort, count: count, clips: [],
                credentials: try login())
            settings.hasAudio = audio
            if clip.isEmpty {
                settings.clips = try await scenes.clips(cameras: count)
                settings.subClips = try await scenes.subClips(cameras: count)
            } else {
                for file in clip { settings.clips.append(try await Clip.load(file)) }
            }
            let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
            settings.spreadsPackets = spreadPackets
            let server = CameraServer(settings: settings, group: group)
            let port = try await server.start()
            announceReady(
                url: "rtsp://127.0.0.1:\(port)", rtspURL: "rtsp://127.0.0.1:\(port)", json: json)
            await stopSignal()
            await server.stop()
            try await group.shutdownGracefully()
        }

        private func login() throws -> Credentials? {
            guard let credentials else { return nil }
            guard let colon = credentials.firstIndex(of: ":") else {
                throw ConfigurationError(description: "--credentials: expected USER:PASSWORD")
            }
            return Credentials(
                user: String(credentials[..<colon]),
                password: Redacted(String(credentials[credentials.index(after: colon)...])))
        }
    }
}

/// What the drawn scenes look like.
struct SceneOptions: ParsableArguments {
    @Option(help: "Bits per second, as 2M or 600k.") var bitrate = "2M"
    @Option(help: "Picture size.") var size = "1280x720"
    @Option(help: "Frames per second.") var fps = 25
    @Option(help: "Frames in a group of pictures.") var gop = 50
    @Option(help: "Codec of the drawn scenes: h264 or h265.") var codec = "h264"
    @Option(help: "Folder for the drawn scenes.") var scenes = "data/scenes"

    func clips(cameras: Int) async throws -> [Clip] {
        try await SceneLibrary.prepare(folder: scenes, settings: try settings(cameras))
    }

    func subClips(cameras: Int) async throws -> [Clip] {
        try await SceneLibrary.prepare(folder: scenes, settings: try settings(cameras).sub)
    }

    private func settings(_ cameras: Int) throws -> SceneLibrary.Settings {
        let parts = size.split(separator: "x").compactMap { Int($0) }
        guard parts.count == 2 else {
            throw ConfigurationError(
                description: "--size is \"\(size)\"; allowed: such as 1280x720")
        }
        guard let codec = ["h264": Codec.h264, "h265": .h265][codec] else {
            throw ConfigurationError(
                description: "--codec is \"\(codec)\"; allowed: h264, h265")
        }
        return SceneLibrary.Settings(
            cameras: cameras, width: parts[0], height: parts[1], framesPerSecond: fps,
            bitsPerSecond: try bitsPerSecond(), gop: gop, codec: codec)
    }

    private func bitsPerSecond() throws -> Int {
        let factor = bitrate.hasSuffix("M") ? 1_000_000 : bitrate.hasSuffix("k") ? 1000 : 1
        let digits = factor == 1 ? bitrate : String(bitrate.dropLast())
        guard let number = Double(digits), (0.05...100).contains(number * Double(factor) / 1e6)
        else {
            throw ConfigurationError(
                description: "--bitrate is \"\(bitrate)\"; allowed: 50k to 100M")
        }
        return Int(number * Double(factor))
    }
}

/// Returns at SIGTERM or SIGINT.
func stopSignal() async {
    let signals = [SIGTERM, SIGINT]
    for number in signals { signal(number, SIG_IGN) }
    await withCheckedContinuation { (done: CheckedContinuation<Void, Never>) in
        let queue = DispatchQueue(label: "signals")
        var sources: [any DispatchSourceSignal] = []
        for number in signals {
            sources.append(DispatchSource.makeSignalSource(signal: number, queue: queue))
        }
        for source in sources {
            source.setEventHandler { [sources] in
                for other in sources { other.cancel() }
                done.resume()
            }
        }
        for source in sources { source.resume() }
    }
}
