// A camera's sub-stream over real sockets: there while it is wanted, and only then.
// SPDX-License-Identifier: Apache-2.0

import Domain
import Ingest
import Logging
import NIOCore
import NIOPosix
import Observability
import Outbound
import Primitives
import Synchronization
import Testing

/// Tells what each client says first, and when each one has gone.
private final class Visits: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    private let words: AsyncStream<String>.Continuation

    init(_ words: AsyncStream<String>.Continuation) { self.words = words }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let line = String(buffer: unwrapInboundIn(data)).prefix { $0 != "\r\n" }
        words.yield(String(line.drop { $0 != "/" }))
    }

    func channelInactive(context: ChannelHandlerContext) { words.yield("gone") }
}

@Suite struct SubStreamTests {
    /// What the consumer was told, and its wish.
    private final class Consumer: Sendable {
        struct Contents: Sendable {
            var loop: (any EventLoop)?
            var wish: (@Sendable (Bool) -> Void)?
            var interruptions = 0
            var ends = 0
        }
        let contents = Mutex(Contents())

        func sink(_ loop: any EventLoop, _ want: @escaping (Bool) -> Void) -> FeedSink {
            let bound = NIOLoopBound(want, eventLoop: loop)
            contents.withLock {
                $0.loop = loop
                $0.wish = { isWanted in loop.execute { bound.value(isWanted) } }
            }
            return FeedSink(
                onAccessUnit: { _, _, _ in },
                onInterruption: { _, _ in self.contents.withLock { $0.interruptions += 1 } },
                onEnd: { self.contents.withLock { $0.ends += 1 } })
        }

        func want(_ isWanted: Bool) { contents.withLock { $0.wish }?(isWanted) }
    }

    @Test("it is connected with the first wish, dropped with the last, and comes back")
    func onDemand() async throws {
        let group = MultiThreadedEventLoopGroup.singleton
        let (visits, words) = AsyncStream.makeStream(of: String.self)
        let server = try await ServerBootstrap(group: group)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(Visits(words))
                }
            }
            .bind(host: "127.0.0.1", port: 0).get()
        let port = try #require(server.localAddress?.port)
        // Slow: the server answers nothing, and nobody is to find that out.
        let world = World(
            now: { Instant(nanoseconds: Int64(NIODeadline.now().uptimeNanoseconds) / 100) },
            wallTime: { WallTime(microseconds: 1_000_000) }, random: { 4 },
            secureRandomBytes: { [UInt8](repeating: 1, count: $0) })
        let consumer = Consumer()
        let service = IngestService(
            world: world,
            policy: NetworkPolicy(blocks: ["127.0.0.0/8"].compactMap(AddressBlock.init)),
            group: group, resolver: NIOThreadPool(numberOfThreads: 1), registry: MetricsRegistry(),
            logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() },
            makeSinks: { _, _ in [] }, makeSubSink: { consumer.sink($1, $2) })
        let id = try #require(CameraID("3f2504e0-4f89-41d3-9a0c-000000000001"))
        await service.assign(
            Camera(
                id: id, name: "Gate", nameArabic: "", source: try #require(Source("METRO")),
                address: Redacted("rtsp://127.0.0.1:\(port)/main"),
                subAddress: Redacted("rtsp://127.0.0.1:\(port)/sub"),
                createdAt: WallTime(microseconds: 1)))
        var visit = visits.makeAsyncIterator()
        func next() async -> String {
            await visit.next(isolation: nil).map { $0.contains("/sub") ? "sub" : $0 } ?? "none"
        }
        #expect(await next().contains("/main"))
        #expect(service.states()[id]?.sub == nil)
        for _ in 0..<2 {
            consumer.want(true)
            #expect(await next() == "sub")
            #expect(service.states()[id]?.sub?.status == .connecting)
            #expect(service.states()[id]?.status == .connecting)
            consumer.want(false)
            #expect(await next() == "gone")
            #expect(service.states()[id]?.sub == nil)
        }
        // A connection that ends is a pause for the consumer, who may hear of it after the server; the
        // camera's end is the end.
        while consumer.contents.withLock({ $0.interruptions }) < 2 { await Task.yield() }
        #expect(consumer.contents.withLock { $0.interruptions } == 2)
        #expect(consumer.contents.withLock { $0.ends } == 0)
        consumer.want(true)
        #expect(await next() == "sub")
        await service.unassign(id)
        #expect(consumer.contents.withLock { $0.ends } == 1)
        try await server.close()
    }
}
