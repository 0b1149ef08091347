// `marsad camera probe`: what a camera sends, before it is added.
// SPDX-License-Identifier: Apache-2.0

import API
import ArgumentParser
import Domain
import Foundation
import Ingest
import NIOCore
import NIOPosix
import Primitives

extension CameraCommand {
    struct Probe: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Say what a camera sends; ends with 1 where it sends nothing.")

        @Argument(help: "Its address, rtsp://user:password@host:port/path.") var url: String
        @OptionGroup var options: FolderOptions

        func run() async throws {
            let configuration = try options.configuration()
            do throws(MarsadError) {
                try CameraAddress.check(url, key: "url")
            } catch {
                throw ConfigurationError(description: "url: not an rtsp:// address")
            }
            let resolver = NIOThreadPool(numberOfThreads: 1)
            resolver.start()
            let probe = CameraProbe(
                world: .system,
                policy: NetworkPolicy(blocks: configuration.networks("ingest.camera_networks")),
                group: MultiThreadedEventLoopGroup.singleton, resolver: resolver)
            let result = try await probe.run(Redacted(url))
            if options.json {
                print(String(buffer: try jsonBytes(ProbeBody(result))))
            } else {
                show(result)
            }
            if case .failure = result { throw ExitCode(1) }
        }

        private func show(_ result: Result<ProbeReport, CameraFailure>) {
            switch result {
            case .failure(let failure): complain("\(failure.kind.rawValue): \(failure.reason)")
            case .success(let report):
                let rate = report.framesPerSecond.map { String(format: "%.2f", $0) } ?? "unknown"
                print("video           \(report.codec) (\(report.profile))")
                print("resolution      \(report.width)x\(report.height)")
                print("frame rate      \(rate)")
                print(
                    "bitrate         \(report.bitsPerSecond.map { "\($0 / 1000) kbit/s" } ?? "unknown")"
                )
                print(
                    "keyframes       \(report.gopLength.map { "every \($0) frames" } ?? "one seen")"
                )
                print("B-frames        \(report.hasBFrames ? "yes: not for sub-streams" : "no")")
                print("audio           \(report.audio ?? "none")")
                print("transport       TCP, login: \(report.authentication)")
                print(
                    "first keyframe  after \(report.timeToKeyframe.saturatingNanoseconds / 1_000_000) ms"
                )
            }
        }
    }
}
