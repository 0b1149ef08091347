// `marsad bench valkey`: how often the script that takes a seat runs through our client.
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Domain
import NIOCore
import NIOPosix
import Primitives
import Quota
import Simulation
import Valkey

extension Bench {
    /// A client of Valkey as the server has it: one connection, asked by many tasks.
    struct SeatScript: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "valkey",
            abstract: "Take a seat in Valkey over and over; prints one JSON object.",
            discussion: "The server counts the seat for twenty seconds: ask one that nobody uses.")

        @Option(help: "Where Valkey is, as valkey.url says it.") var url = "valkey://127.0.0.1:6379"
        @Option(help: "Tasks that ask at once.") var tasks = 50
        @Option(help: "How long to measure.") var seconds = 5.0
        @Flag(help: "Print the report as JSON; it always is.") var json = false

        private struct Report: Encodable {
            var tasks: Int
            var seconds: Double
            var operations: Int
            var operations_per_second: Double
            var p50_ms: Double
            var p99_ms: Double
            var max_ms: Double
            /// The same for another client, word by word.
            var command: [String]
        }

        func run() async throws {
            try BenchServer.check("tasks", Double(tasks), 1...1000)
            try BenchServer.check("seconds", seconds, 0.1...3600)
            guard let source = Source("BENCH") else { throw ExitCode.failure }
            let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
            // A machine that stands still for a moment shows in the times; it does not end the run.
            let client = try await ValkeyClient.open(
                ValkeyURL(parsing: url), on: group.next(), timeout: .seconds(10))
            let store = ValkeyQuotaStore(client: client, unit: .viewer, world: .system)
            let lease = SeatLease(
                seat: Seat(source: source, name: World.system.makeID()), priority: .normal)
            let owner = World.system.makeID()
            // The server has the script from now on.
            let outcome = try await store.acquire(
                lease, owner: owner, sourceLimit: 1000, totalLimit: 10_000, victim: nil)
            guard case .granted = outcome else {
                complain("the seat was not granted")
                throw ExitCode.failure
            }
            let question = store.question(
                [SeatWish(lease, owner: owner, sourceLimit: 1000, totalLimit: 10_000)])
            let began = World.system.now()
            let end = began + .seconds(seconds)
            let times = try await withThrowingTaskGroup(of: LatencyHistogram.self) { group in
                for _ in 0..<tasks {
                    group.addTask { try await Self.ask(client, question, until: end) }
                }
                return try await group.reduce(into: LatencyHistogram()) { $0.merge($1) }
            }
            let took = (World.system.now() - began).inSeconds
            await client.close()
            try await group.shutdownGracefully()
            try printJSON(
                Report(
                    tasks: tasks, seconds: took, operations: times.count,
                    operations_per_second: Double(times.count) / took,
                    p50_ms: times.quantile(0.5)?.inMilliseconds ?? 0,
                    p99_ms: times.quantile(0.99)?.inMilliseconds ?? 0,
                    max_ms: times.longest?.inMilliseconds ?? 0,
                    command: ["EVALSHA", question.script.digest, String(question.keys.count)]
                        + question.keys + question.arguments))
        }

        @concurrent
        private static func ask(
            _ client: ValkeyClient, _ question: ValkeyQuotaStore.Question, until end: Instant
        ) async throws -> LatencyHistogram {
            var times = LatencyHistogram()
            var now = World.system.now()
            while now < end {
                _ = try await client.run(
                    question.script, keys: question.keys, arguments: question.arguments)
                let next = World.system.now()
                times.record(next - now)
                now = next
            }
            return times
        }
    }
}
