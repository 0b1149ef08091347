// The whole load client on real sockets, against a server of made-up frames.
// SPDX-License-Identifier: Apache-2.0

import NIOCore
import NIOPosix
import Primitives
import Simulation
import Testing

@Suite("Live viewer load") struct LiveViewerLoadTests {
    /// Runs the load against a server double; gives the report and what the server counted.
    private func run(
        refusals: Int = 0, _ change: (inout LiveViewerLoad.Settings) -> Void
    ) async throws -> (ViewerReport, LiveSocketDouble.Counts) {
        let group = MultiThreadedEventLoopGroup.singleton
        let loop = group.next()
        let (server, channel) = try await loop.submit {
            let server = try LiveSocketDouble(loop: loop)
            server.refusals = refusals
            return (NIOLoopBound(server, eventLoop: loop), server.start())
        }.get()
        let listening = try await channel.get()
        var settings = LiveViewerLoad.Settings()
        settings.port = try #require(listening.localAddress?.port)
        settings.seconds = 0.5
        change(&settings)
        let world = LoadWorld(
            now: { LiveSocketDouble.now }, wallTime: { LiveSocketDouble.wallTime },
            random: {
                var source = SystemRandomNumberGenerator()
                return source.next()
            })
        let load = try await LiveViewerLoad(settings, world: world, group: group, narrate: { _ in })
        let report = try await load.run()
        let counts = try await loop.submit {
            server.value.stop()
            return server.value.counts
        }.get()
        try await listening.close()
        return (report, counts)
    }

    @Test("viewers join, receive without loss, and leave nothing behind")
    func holding() async throws {
        let (report, counts) = try await run(refusals: 2) {
            $0.viewers = 8
            $0.checkEvery = 1
        }
        #expect(report.joined == 8)
        #expect(report.failed.isEmpty, "\(report.failed)")
        #expect(report.frames > 8)
        #expect(report.lost + report.frames_missing + report.frames_damaged == 0)
        #expect(counts.reserved == 8)
        #expect(counts.posted == 8)
        #expect(counts.left == 8)
        #expect(counts.released == 8)
    }

    @Test("half of those who come and go vanish without a word")
    func churn() async throws {
        let (report, counts) = try await run {
            var churn = LiveViewerLoad.Churn(joins: 10, staySeconds: 0.05)
            churn.settleSeconds = 0
            $0.churn = churn
        }
        #expect(report.joined == 10)
        #expect(report.failed.isEmpty, "\(report.failed)")
        #expect(counts.posted == 10)
        #expect(counts.left == 5)
        #expect(counts.released == 5)
    }

    @Test("without a server there is an error, not a report")
    func unreachable() async throws {
        let group = MultiThreadedEventLoopGroup.singleton
        var settings = LiveViewerLoad.Settings()
        // A port that was free a moment ago.
        let listening = try await ServerBootstrap(group: group).bind(host: "127.0.0.1", port: 0)
            .get()
        settings.port = try #require(listening.localAddress?.port)
        try await listening.close()
        let world = LoadWorld(
            now: { LiveSocketDouble.now }, wallTime: { LiveSocketDouble.wallTime },
            random: { 7 })
        let load = try await LiveViewerLoad(settings, world: world, group: group, narrate: { _ in })
        await #expect(throws: HTTPFailure.self) { _ = try await load.run() }
    }
}
