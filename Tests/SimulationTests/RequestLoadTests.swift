// The load client against a small server of the test's own.
// SPDX-License-Identifier: Apache-2.0

import NIOCore
import NIOHTTP1
import NIOPosix
import Primitives
import Simulation
import Synchronization
import Testing

@Suite struct RequestLoadTests {
    /// What the server was asked, and how it answers.
    private final class Desk: Sendable {
        let lines = Mutex<[String]>([])
        /// Closes every so many requests without an answer; 0: never.
        let closesEvery: Int

        init(closesEvery: Int = 0) { self.closesEvery = closesEvery }

        /// The body and status of an answer; `nil` to close the connection.
        func answer(_ head: HTTPRequestHead, _ body: String) -> (HTTPResponseStatus, String)? {
            let number = lines.withLock { lines in
                lines.append("\(head.method) \(head.uri) \(head.headers["authorization"]) \(body)")
                return lines.count
            }
            if closesEvery > 0, number.isMultiple(of: closesEvery) { return nil }
            switch head.method {
            case .POST:
                let id = "00000000-0000-4000-8000-" + String(100_000_000_000 + number)
                return (.created, "{\"token\":\"x\",\"reservation_id\":\"\(id)\",\"limit\":3}")
            case .DELETE: return (.noContent, "")
            default: return (.ok, "fine")
            }
        }
    }

    private final class Waiter: ChannelInboundHandler {
        typealias InboundIn = HTTPServerRequestPart
        typealias OutboundOut = HTTPServerResponsePart
        private let desk: Desk
        private var head: HTTPRequestHead?
        private var body = ""

        init(desk: Desk) { self.desk = desk }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            switch unwrapInboundIn(data) {
            case .head(let head):
                self.head = head
                body = ""
            case .body(let part): body += String(buffer: part)
            case .end:
                guard let head, let (status, text) = desk.answer(head, body) else {
                    return context.close(promise: nil)
                }
                var headers = HTTPHeaders()
                if status != .noContent {
                    headers.add(name: "Content-Length", value: String(text.utf8.count))
                }
                context.write(
                    wrapOutboundOut(
                        .head(.init(version: .http1_1, status: status, headers: headers))),
                    promise: nil)
                context.write(
                    wrapOutboundOut(.body(.byteBuffer(ByteBuffer(string: text)))), promise: nil)
                context.writeAndFlush(wrapOutboundOut(.end(nil)), promise: nil)
            }
        }
    }

    private func load(
        _ desk: Desk, _ work: RequestLoad.Work,
        _ change: (inout RequestLoad.Settings) -> Void = { _ in }
    ) async throws -> RequestLoad.Tally {
        let group = MultiThreadedEventLoopGroup.singleton
        let server = try await ServerBootstrap(group: group)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.configureHTTPServerPipeline()
                    try channel.pipeline.syncOperations.addHandler(Waiter(desk: desk))
                }
            }
            .bind(host: "127.0.0.1", port: 0).get()
        var settings = RequestLoad.Settings(work)
        settings.port = server.localAddress?.port ?? 0
        settings.connections = 4
        settings.seconds = 30
        settings.count = 100
        change(&settings)
        do {
            let tally = try await RequestLoad(settings, on: group.next()).run()
            try await server.close()
            return tally
        } catch {
            try await server.close()
            throw error
        }
    }

    @Test("each reservation is given back by its own name, and all cameras are asked for")
    func reserve() async throws {
        let desk = Desk()
        let tally = try await load(desk, .reserve(cameras: ["a", "b"], isKept: false)) {
            $0.token = Redacted("t")
        }
        #expect(tally.statuses == [201: 100])
        #expect(tally.releases == [204: 100])
        #expect(tally.answers == 200)
        #expect(tally.latencies.count == 100)
        let lines = desk.lines.withLock { $0 }
        let asked = lines.indices.filter { lines[$0].hasPrefix("POST") }
        #expect(Set(asked.map { lines[$0] }).count == 2)
        #expect(lines.allSatisfy { $0.contains("Bearer t") })
        let granted = asked.map { "00000000-0000-4000-8000-\(100_000_000_001 + $0)" }
        let released = lines.filter { $0.hasPrefix("DELETE") }
            .compactMap { $0.split(separator: "/").last?.split(separator: " ").first }
        #expect(Set(released.map(String.init)) == Set(granted))
    }

    @Test("what is kept is not given back")
    func keep() async throws {
        let tally = try await load(Desk(), .reserve(cameras: ["a"], isKept: true))
        #expect(tally.statuses == [201: 100])
        #expect(tally.releases.isEmpty)
    }

    @Test("at a rate every request that is due is asked, and told by itself where that is wanted")
    func rate() async throws {
        let tally = try await load(Desk(), .get(path: "/x")) {
            $0.rate = 2000
            $0.isTraced = true
        }
        #expect(tally.statuses == [200: 100])
        #expect(tally.bodyBytes == 400)
        let dues = tally.traces.map(\.due.uptimeNanoseconds).sorted()
        #expect(dues.count == 100)
        #expect(zip(dues, dues.dropFirst()).allSatisfy { $1 - $0 == 500_000 })
    }

    @Test("a connection that is lost counts as no answer, and another one takes its place")
    func lost() async throws {
        let tally = try await load(Desk(closesEvery: 10), .get(path: "/x"))
        #expect(tally.statuses == [200: 90, 0: 10])
        #expect(tally.answers == 90)
    }

    @Test("a server that is not there ends the load")
    func unreachable() async throws {
        let group = MultiThreadedEventLoopGroup.singleton
        let closed = try await ServerBootstrap(group: group).bind(host: "127.0.0.1", port: 0).get()
        var settings = RequestLoad.Settings(.get(path: "/"))
        settings.port = closed.localAddress?.port ?? 0
        try await closed.close()
        let load = RequestLoad(settings, on: group.next())
        await #expect(throws: RequestLoad.Failure.self) { try await load.run() }
    }
}
