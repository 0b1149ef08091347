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

        @Option(help: "The server.") var url = "http://127.0.0.1:8080"
        @Option(help: "Clients at once, each with a connection of its own.") var clients = 64
        @Option(help: "How long to measure.") var seconds = 10.0
        @Option(help: "Reservations a second in all; 0: as many as it takes.") var rate = 0.0
        @Flag(help: "Print the report as JSON; it always is.") var json = false

        func run() async throws {
            guard let server = URL(string: url), server.scheme == "http", let host = server.host,
                (1...10_000).contains(clients), (0.1...3600).contains(seconds),
                (0...1_000_000).contains(rate)
            else {
                throw ConfigurationError(
                    description: "--url http://HOST:PORT, --clients 1 to 10000, "
                        + "--seconds 0.1 to 3600 and --rate 0 to 1000000 are allowed")
            }
            let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
            let load = ReserveLoad(
                host: host.trimmingCharacters(in: ["[", "]"]), port: server.port ?? 80,
                clients: clients, seconds: seconds, rate: rate, group: group)
            try printJSON(try await load.run())
            try await group.shutdownGracefully()
        }
    }
}

/// What came of it.
private struct ReserveReport: Encodable {
    var clients: Int
    var seconds: Double
    var reservations: Int
    var reservationsPerSecond: Double
    /// Of a reservation, from its request to its answer.
    var p50Ms: Double
    var p99Ms: Double
    var maxMs: Double
    var statuses: [String: Int]

    enum CodingKeys: String, CodingKey {
        case clients, seconds, reservations, statuses
        case reservationsPerSecond = "reservations_per_second"
        case p50Ms = "p50_ms"
        case p99Ms = "p99_ms"
        case maxMs = "max_ms"
    }
}

private struct ReserveLoad: Sendable {
    var host: String
    var port: Int
    var clients: Int
    var seconds: Double
    var rate: Double
    var group: any EventLoopGroup

    private struct Tally: Sendable {
        var latencies: [Double] = []
        var statuses: [String: Int] = [:]
    }

    private struct Reservation: Decodable {
        var reservation_id: String
    }

    private struct CameraList: Decodable {
        struct Camera: Decodable { var id: String }
        var cameras: [Camera]
    }

    func run() async throws -> ReserveReport {
        let now = World.system.now
        let first = HTTPPool(host: host, port: port, size: 1, group: group, now: now)
        let answer = try await first.send(.init(.GET, "/api/v1/cameras?limit=500"))
        await first.close()
        let list = try JSONDecoder().decode(CameraList.self, from: Data(buffer: answer.body))
        guard !list.cameras.isEmpty else {
            throw ConfigurationError(description: "the server has no camera to reserve")
        }
        let begun = now()
        let end = begun + .seconds(seconds)
        let tallies = try await withThrowingTaskGroup(of: Tally.self) { group in
            for client in 0..<clients {
                let camera = list.cameras[client % list.cameras.count].id
                group.addTask {
                    try await drive(client, camera: camera, from: begun, to: end, now)
                }
            }
            return try await group.reduce(into: Tally()) { sum, one in
                sum.latencies += one.latencies
                sum.statuses.merge(one.statuses, uniquingKeysWith: +)
            }
        }
        let took = (now() - begun).inSeconds
        let sorted = tallies.latencies.sorted()
        func percentile(_ share: Double) -> Double {
            sorted.isEmpty ? 0 : sorted[min(sorted.count - 1, Int(Double(sorted.count) * share))]
        }
        return ReserveReport(
            clients: clients, seconds: took, reservations: sorted.count,
            reservationsPerSecond: Double(sorted.count) / took, p50Ms: percentile(0.5),
            p99Ms: percentile(0.99), maxMs: sorted.last ?? 0, statuses: tallies.statuses)
    }

    /// One client: reserves, releases, and begins again; at a rate, each at its own time.
    private func drive(
        _ client: Int, camera: String, from begun: Instant, to end: Instant,
        _ now: @escaping @Sendable () -> Instant
    ) async throws -> Tally {
        let pool = HTTPPool(host: host, port: port, size: 1, group: group, now: now)
        var reserve = HTTPPool.Request(.POST, "/api/v1/stream/reserve")
        reserve.headers = [("Content-Type", "application/json")]
        reserve.body = ByteBuffer(string: "{\"camera_id\": \"\(camera)\"}")
        let decoder = JSONDecoder()
        var tally = Tally()
        var round = 0
        while now() < end {
            if rate > 0 {
                let due = begun + .seconds((Double(round * clients) + Double(client)) / rate)
                if due >= end { break }
                if due > now() { try await Task.sleep(for: due - now()) }
            }
            round += 1
            let began = now()
            let answer = try await pool.send(reserve)
            tally.statuses[String(answer.status), default: 0] += 1
            guard answer.status == 201 else { continue }
            tally.latencies.append((now() - began).inSeconds * 1000)
            let id = try decoder.decode(Reservation.self, from: Data(buffer: answer.body))
            _ = try await pool.send(
                .init(.DELETE, "/api/v1/stream/release/\(id.reservation_id)"))
        }
        await pool.close()
        return tally
    }
}
