// What the benchmarks of single requests share: how many, how fast, and what came of them.
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Domain
import Foundation
import Glibc
import NIOCore
import NIOPosix
import Simulation

/// How a server is loaded with requests.
struct RequestOptions: ParsableArguments {
    @OptionGroup var server: BenchServer
    @Option(help: "Clients at once, each with a connection of its own.") var clients = 64
    @Option(help: "How long to measure.") var seconds = 10.0
    @Option(help: "Requests a second in all, each at its own time; 0: as many as it takes.")
    var rate = 0.0
    @Option(help: "End after so many requests; 0: by time alone.") var count = 0
    @Option(help: "A file for each request's due time, status and milliseconds (CSV).")
    var trace: String?

    func check() throws {
        try BenchServer.check("clients", Double(clients), 1...10_000)
        try BenchServer.check("seconds", seconds, 0.1...3600)
        try BenchServer.check("rate", rate, 0...1_000_000)
        try BenchServer.check("count", Double(count), 0...1e9)
    }

    private func settings(_ work: RequestLoad.Work) throws -> RequestLoad.Settings {
        try check()
        let address = try server.address()
        var settings = RequestLoad.Settings(work)
        settings.host = address.host
        settings.port = address.port
        settings.connections = clients
        settings.seconds = seconds
        settings.rate = rate
        if count > 0 { settings.count = count }
        settings.token = BenchServer.token
        settings.isTraced = trace != nil
        return settings
    }

    /// Loads the server from one thread.
    func run(_ work: RequestLoad.Work) async throws -> (RequestReport, RequestLoad.Tally) {
        let settings = try settings(work)
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        let before = ProcessSample(pid: getpid())?.cpuSeconds ?? 0
        let tally = try await RequestLoad(settings, on: group.next()).run()
        let used = (ProcessSample(pid: getpid())?.cpuSeconds ?? 0) - before
        try await group.shutdownGracefully()
        if let trace { try Self.write(tally.traces, to: trace) }
        return (RequestReport(clients: clients, tally: tally, cpuSeconds: used), tally)
    }

    /// Due times by the monotonic clock, in seconds: what else happened then, its doer can tell.
    private static func write(_ traces: [RequestLoad.Trace], to path: String) throws {
        var text = "due_seconds,status,milliseconds\n"
        for trace in traces {
            let due = Double(trace.due.uptimeNanoseconds) / 1e9
            text += "\(due),\(trace.status),\(trace.took.inMilliseconds)\n"
        }
        do {
            try text.write(toFile: path, atomically: false, encoding: .utf8)
        } catch {
            throw ConfigurationError(
                description: "--trace is \"\(path)\"; allowed: a file that can be written")
        }
    }
}

extension Duration {
    var inMilliseconds: Double { self / .milliseconds(1) }
}

/// What came of it. Times are from when a request was due to its answer.
struct RequestReport: Encodable {
    var clients: Int
    var seconds: Double
    /// Answered ones, releases among them.
    var requests: Int
    var requests_per_second: Double
    var p50_ms: Double
    var p99_ms: Double
    var max_ms: Double
    /// `0`: not answered.
    var statuses: [String: Int]
    /// Of this process.
    var client_cpu_seconds: Double
    var bytes_per_answer: Int

    // What only one of the commands says.
    var path: String?
    var keep: Bool?
    var reservations: Int?
    var reservations_per_second: Double?
    var releases: [String: Int]?

    init(clients: Int, tally: RequestLoad.Tally, cpuSeconds: Double) {
        self.clients = clients
        seconds = tally.seconds
        requests = tally.answers
        requests_per_second = Double(tally.answers) / max(tally.seconds, 1e-9)
        p50_ms = tally.latencies.quantile(0.5)?.inMilliseconds ?? 0
        p99_ms = tally.latencies.quantile(0.99)?.inMilliseconds ?? 0
        max_ms = tally.latencies.longest?.inMilliseconds ?? 0
        statuses = Self.named(tally.statuses)
        client_cpu_seconds = cpuSeconds
        bytes_per_answer = tally.bodyBytes / max(tally.answers, 1)
    }

    static func named(_ statuses: [Int: Int]) -> [String: Int] {
        Dictionary(uniqueKeysWithValues: statuses.map { (String($0), $1) })
    }
}
