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
        subcommands: [
            Live.self, Reserve.self, Get.self, Updates.self, Decisions.self, SeatScript.self,
        ])

    struct Live: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Open WHEP viewers that check all they receive; prints one JSON object.")

        @OptionGroup var server: BenchServer
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
            let address = try server.address()
            try BenchServer.check("viewers", Double(viewers), 1...20_000)
            try BenchServer.check("join-rate", joinRate, 0.1...10_000)
            try BenchServer.check("seconds", seconds, 0.1...86_400)
            try BenchServer.check("joins", Double(joins), 1...1_000_000)
            try BenchServer.check("stay", stay, 0...3600)
            try BenchServer.check("loss", loss, 0...90)
            var settings = LiveViewerLoad.Settings()
            settings.host = address.host
            settings.port = address.port
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
    }
}
