// `marsad simulate network`: a bad network between players and a server, by a seed.
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Foundation
import NIOCore
import NIOPosix
import Primitives
import Simulation

extension Simulate {
    struct Network: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Relay UDP of 127.0.0.1:LISTEN to a server, and treat it badly both ways.")

        @Option(help: "The port to listen on; 0 takes a free one.") var listen = 0
        @Option(help: "HOST:PORT of the server; [HOST]:PORT for IPv6.") var to: String
        @Option(help: "Share of the packets that are lost, as 5%.") var loss = "0%"
        @Option(help: "How long every packet takes, as 50ms.") var delay = "0ms"
        @Option(help: "Share of the packets that are overtaken by others, as 5%.")
        var reorder = "0%"
        @Option(help: "Share of the packets that arrive twice, as 2%.") var duplicate = "0%"
        @Option(help: "Makes a run repeatable; without it each is another.") var seed: UInt64?
        @Flag(help: "Print the ready line as JSON on stdout.") var json = false

        func run() async throws {
            var settings = LossyLink.Settings()
            settings.loss = try share("loss", loss)
            settings.delay = try milliseconds("delay", delay)
            settings.reordered = try share("reorder", reorder)
            settings.duplicated = try share("duplicate", duplicate)
            let seed = seed ?? UInt64.random(in: 0...UInt64(UInt32.max))
            let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
            let relay = try await LossyRelay.start(
                port: listen, to: try server(), settings, seed: seed, on: group.next())
            FileHandle.standardError.write(Data("seed \(seed)\n".utf8))
            announceReady(url: "udp://127.0.0.1:\(relay.port)", rtspURL: nil, json: json)
            await stopSignal()
            let counts = try await relay.counts()
            try await relay.stop()
            try await group.shutdownGracefully()
            let line =
                "seed \(seed): \(counts.passed) packets passed, \(counts.lost) lost, "
                + "\(counts.reordered) overtaken, \(counts.duplicated) doubled\n"
            FileHandle.standardError.write(Data(line.utf8))
        }

        private func server() throws -> SocketAddress {
            guard let colon = to.lastIndex(of: ":"), let port = Int(to[to.index(after: colon)...]),
                (1...65_535).contains(port)
            else {
                throw ConfigurationError(description: "--to is \"\(to)\"; allowed: HOST:PORT")
            }
            let host = to[..<colon].trimmingCharacters(in: ["[", "]"])
            return try SocketAddress.makeAddressResolvingHost(host, port: port)
        }

        private func share(_ name: String, _ text: String) throws -> Double {
            guard text.hasSuffix("%"), let percent = Double(text.dropLast()),
                (0...100).contains(percent)
            else {
                throw ConfigurationError(
                    description: "--\(name) is \"\(text)\"; allowed: 0% to 100%")
            }
            return percent / 100
        }

        private func milliseconds(_ name: String, _ text: String) throws -> Duration {
            guard text.hasSuffix("ms"), let count = Int(text.dropLast(2)),
                (0...10_000).contains(count)
            else {
                throw ConfigurationError(
                    description: "--\(name) is \"\(text)\"; allowed: 0ms to 10000ms")
            }
            return .milliseconds(count)
        }
    }
}
