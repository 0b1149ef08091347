// `marsad bench live`: loads a running server with viewers and says what they and it went through.
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Domain
import Foundation
import NIOCore
import NIOPosix
import Primitives
import Simulation

struct Bench: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Load a running server and measure it.",
        subcommands: [Live.self, Reserve.self, Updates.self])

    struct Live: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Open WHEP viewers that check all they receive; prints one JSON object.")

        @Option(help: "The server.") var url = "http://127.0.0.1:8080"
        @Option(help: "How many viewers.") var viewers = 10
        @Option(help: "all, or how many of the online cameras they share.") var cameras = "all"
        @Option(help: "Viewers that join each second.") var joinRate = 100.0
        @Option(help: "How long to measure, once all have joined.") var seconds = 10.0
        @Option(help: "The server's process, to measure what it uses.") var serverPid: Int32?
        @Flag(help: "Let viewers come and go instead of holding them.") var churn = false
        @Option(help: "With --churn: how many join in all.") var joins = 1000
        @Option(help: "With --churn: seconds that each stays; every other one then vanishes.")
        var stay = 2.0
        @Option(help: "Percent of the media packets to drop on arrival, and ask for again.")
        var loss = 0.0
        @Option(help: "Seed of the drops.") var seed: UInt64 = 1
        @Option(help: "Build the frames of every so many viewers and compare checksums; 0: none.")
        var checkEvery = 20
        @Flag(help: "Print the report as JSON; it always is.") var json = false

        func run() async throws {
            let settings = try settings()
            let group = MultiThreadedEventLoopGroup(numberOfThreads: 2)
            let world = World.system
            let load = try await LiveViewerLoad(
                settings,
                world: LoadWorld(now: world.now, wallTime: world.wallTime, random: world.random),
                group: group, narrate: { complain($0) })
            let report = try await load.run()
            try await group.shutdownGracefully()
            try printJSON(report)
            if report.joined == 0 { throw ExitCode.failure }
        }

        private func settings() throws -> LiveViewerLoad.Settings {
            guard let server = URL(string: url), server.scheme == "http", let host = server.host
            else {
                throw ConfigurationError(
                    description: "--url is \"\(url)\"; allowed: http://HOST:PORT")
            }
            try Self.check("viewers", Double(viewers), 1...20_000)
            try Self.check("join-rate", joinRate, 0.1...10_000)
            try Self.check("seconds", seconds, 0.1...86_400)
            try Self.check("joins", Double(joins), 1...1_000_000)
            try Self.check("stay", stay, 0...3600)
            try Self.check("loss", loss, 0...90)
            var settings = LiveViewerLoad.Settings()
            settings.host = host.trimmingCharacters(in: ["[", "]"])
            settings.port = server.port ?? 80
            settings.viewers = viewers
            if cameras != "all" {
                guard let count = Int(cameras), count > 0 else {
                    throw ConfigurationError(
                        description: "--cameras is \"\(cameras)\"; allowed: all, or a number")
                }
                settings.cameras = count
            }
            settings.joinsPerSecond = joinRate
            settings.seconds = seconds
            settings.serverPID = serverPid
            settings.loss = loss / 100
            settings.seed = seed
            settings.checkEvery = checkEvery
            if churn { settings.churn = .init(joins: joins, staySeconds: stay) }
            return settings
        }

        private static func check(
            _ name: String, _ value: Double, _ allowed: ClosedRange<Double>
        ) throws {
            guard allowed.contains(value) else {
                throw ConfigurationError(
                    description: "--\(name) is \(value); allowed: \(allowed.lowerBound) to "
                        + "\(allowed.upperBound)")
            }
        }
    }
}
