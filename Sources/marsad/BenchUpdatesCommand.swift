// `marsad bench updates`: connects WebSocket clients to a running server and times what they are told.
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Domain
import Foundation
import NIOCore
import NIOPosix
import Simulation

extension Bench {
    struct Updates: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Time how fast a change of usage reaches every WebSocket; prints JSON.")

        @OptionGroup var server: BenchServer
        @Option(help: "How many clients that read.") var clients = 1000
        @Option(help: "How many more that stop reading once they are connected.") var sleepers = 100
        @Option(help: "How many changes to time, one after the other.") var changes = 50
        @Option(help: "The server's process, to measure what it uses.") var serverPid: Int32?

        func run() async throws {
            let address = try server.address()
            guard (1...20_000).contains(clients), (0...20_000).contains(sleepers),
                (1...10_000).contains(changes)
            else {
                throw ConfigurationError(
                    description: "--clients, --sleepers or --changes is out of range")
            }
            var settings = UpdatesLoad.Settings()
            settings.host = address.host
            settings.port = address.port
            settings.clients = clients
            settings.sleepers = sleepers
            settings.changes = changes
            settings.serverPID = serverPid
            let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
            let load = UpdatesLoad(settings, group: group, now: World.system.now)
            let report = try await load.run()
            try await group.shutdownGracefully()
            try printJSON(report)
            if report.missing > 0 { throw ExitCode.failure }
        }
    }
}
