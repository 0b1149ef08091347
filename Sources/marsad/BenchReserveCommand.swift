// `marsad bench reserve`: how many reservations a running server grants a second, and how fast.
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Domain
import Foundation
import NIOCore
import NIOFoundationCompat
import NIOHTTP1
import NIOPosix
import Primitives
import Simulation

extension Bench {
    struct Reserve: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Reserve and release live streams; prints one JSON object.")

        @Flag(help: "Keep what was reserved; a server holds 20,000 reservations at most.")
        var keep = false
        @OptionGroup var options: RequestOptions

        func run() async throws {
            try options.check()
            let cameras = try await Self.cameras(of: try options.server.address())
            guard !cameras.isEmpty else {
                complain("the server has no camera to reserve")
                throw ExitCode.failure
            }
            var (report, tally) = try await options.run(
                .reserve(cameras: cameras, isKept: keep))
            let granted = tally.statuses[201] ?? 0
            report.keep = keep
            report.reservations = granted
            report.reservations_per_second = Double(granted) / max(tally.seconds, 1e-9)
            report.releases = RequestReport.named(tally.releases)
            try printJSON(report)
        }

        private static func cameras(of server: BenchServer.Address) async throws -> [String] {
            struct List: Decodable {
                struct Camera: Decodable { var id: String }
                var cameras: [Camera]
            }
            let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
            let pool = HTTPPool(
                host: server.host, port: server.port, size: 1, group: group,
                now: World.system.now)
            var request = HTTPPool.Request(.GET, "/api/v1/cameras?limit=500")
            if let token = BenchServer.token {
                request.headers = [("Authorization", "Bearer \(token.reveal())")]
            }
            let answer = try await pool.send(request)
            await pool.close()
            try await group.shutdownGracefully()
            guard answer.status == 200 else {
                complain("the server answers \(answer.status) to a question for its cameras")
                throw ExitCode.failure
            }
            return try JSONDecoder().decode(List.self, from: Data(buffer: answer.body))
                .cameras.map(\.id)
        }
    }
}
