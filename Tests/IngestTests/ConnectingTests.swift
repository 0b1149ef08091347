// Connections of the ingest service over real sockets on this machine.
// SPDX-License-Identifier: Apache-2.0

import Domain
import Ingest
import Logging
import NIOCore
import NIOPosix
import Observability
import Outbound
import Primitives
import Testing

/// Tells what the first client says, and then hangs up.
private final class FirstWords: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    private let heard: EventLoopPromise<String>

    init(_ heard: EventLoopPromise<String>) { self.heard = heard }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        heard.succeed(String(buffer: unwrapInboundIn(data)))
        context.close(promise: nil)
    }
}

@Suite struct ConnectingTests {
    @Test(
        "a numeric address needs no look-up: it connects while the resolver does not work",
        .timeLimit(.minutes(1)))
    func numericAddress() async throws {
        let group = MultiThreadedEventLoopGroup.singleton
        let heard = group.next().makePromise(of: String.self)
        let server = try await ServerBootstrap(group: group)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(FirstWords(heard))
                }
            }
            .bind(host: "127.0.0.1", port: 0).get()
        let port = try #require(server.localAddress?.port)
        let world = World(
            now: { Instant(nanoseconds: Int64(NIODeadline.now().uptimeNanoseconds)) },
            wallTime: { WallTime(microseconds: 1_000_000) }, random: { 4 },
            secureRandomBytes: { [UInt8](repeating: 1, count: $0) })
        let networks = ["127.0.0.0/8"].compactMap(AddressBlock.init)
        // A pool that was never started refuses all work.
        let service = IngestService(
            world: world, policy: NetworkPolicy(blocks: networks), group: group,
            resolver: NIOThreadPool(numberOfThreads: 1), registry: MetricsRegistry(),
            logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() },
            makeSinks: { _, _ in [] })
        await service.assign(
            Camera(
                id: try #require(CameraID("3f2504e0-4f89-41d3-9a0c-000000000001")), name: "Gate",
                nameArabic: "", source: try #require(Source("METRO")),
                address: Redacted("rtsp://127.0.0.1:\(port)/1"),
                createdAt: WallTime(microseconds: 1)))
        #expect(try await heard.futureResult.get().hasPrefix("OPTIONS rtsp://127.0.0.1"))
        await service.stop()
        try await server.close()
    }
}
