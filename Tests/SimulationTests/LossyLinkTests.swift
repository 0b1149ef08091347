// The bad network: its shares, its times, its repeatability, and real datagrams through it.
// SPDX-License-Identifier: Apache-2.0

import NIOCore
import NIOPosix
import Primitives
import Simulation
import Testing

@Suite struct LossyLinkTests {
    private static let settings = {
        var settings = LossyLink.Settings()
        settings.loss = 0.05
        settings.delay = .milliseconds(50)
        settings.reordered = 0.05
        settings.duplicated = 0.02
        return settings
    }()

    /// What becomes of packets sent a millisecond apart: number and time of each arrival.
    private func run(_ link: inout LossyLink, _ count: Int) -> [(number: Int, after: Duration)] {
        var arrivals: [(Int, Duration)] = []
        for step in 0..<(count + 100) {
            let now = Instant(nanoseconds: Int64(step) * 1_000_000)
            if step < count { link.send(ByteBuffer(integer: step), at: now) }
            while let packet = link.receive(at: now) {
                let number = packet.getInteger(at: packet.readerIndex, as: Int.self) ?? -1
                arrivals.append((number, .milliseconds(step - number)))
            }
        }
        return arrivals
    }

    @Test("loses, delays, reorders and doubles by its shares")
    func shares() {
        var link = LossyLink(Self.settings, seed: 7)
        let arrivals = run(&link, 20_000)
        let counts = link.counts
        #expect((900...1100).contains(counts.lost))
        #expect((300...480).contains(counts.duplicated))
        #expect((850...1050).contains(counts.reordered))
        #expect(counts.passed + counts.lost == 20_000)
        #expect(UInt64(arrivals.count) == counts.passed + counts.duplicated)
        #expect(link.deadline == nil)
        #expect(arrivals.allSatisfy { $0.after >= .milliseconds(50) })
        #expect(arrivals.allSatisfy { $0.after <= .milliseconds(79) })
        let overtaken = zip(arrivals, arrivals.dropFirst()).count { $0.number > $1.number }
        #expect(overtaken > 500)
    }

    @Test("the same seed does the same, another one does not")
    func seeds() {
        var (first, second, other) = (
            LossyLink(Self.settings, seed: 1), LossyLink(Self.settings, seed: 1),
            LossyLink(Self.settings, seed: 2)
        )
        let numbers = run(&first, 2000).map(\.number)
        #expect(run(&second, 2000).map(\.number) == numbers)
        #expect(run(&other, 2000).map(\.number) != numbers)
    }

    @Test("without settings it is a good network; with all lost, none")
    func extremes() {
        var good = LossyLink(LossyLink.Settings(), seed: 3)
        #expect(run(&good, 100).map(\.number) == Array(0..<100))
        var settings = LossyLink.Settings()
        settings.loss = 1
        var none = LossyLink(settings, seed: 3)
        #expect(run(&none, 100).isEmpty)
        #expect(none.deadline == nil)
    }

    @Test("holds so many packets and no more")
    func bounded() {
        var link = LossyLink(Self.settings, seed: 3)
        for _ in 0..<(LossyLink.capacity + 5000) {
            link.send(ByteBuffer(), at: Instant(nanoseconds: 0))
        }
        #expect(link.counts.overflowed > 3000)
    }

    /// Counts what comes, sends it back, and says when there was enough.
    private final class Echo: ChannelInboundHandler {
        typealias InboundIn = AddressedEnvelope<ByteBuffer>
        private var left: Int
        private let returns: Bool
        private let done: EventLoopPromise<Void>

        init(_ count: Int, returns: Bool, _ done: EventLoopPromise<Void>) {
            left = count
            self.returns = returns
            self.done = done
        }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            left -= 1
            if returns { context.writeAndFlush(data, promise: nil) }
            if left == 0 { done.succeed() }
        }
    }

    @Test("datagrams of real sockets cross it and their answers come back")
    func relays() async throws {
        let loop = MultiThreadedEventLoopGroup.singleton.next()
        func end(_ returns: Bool) async throws -> (any Channel, EventLoopFuture<Void>) {
            let done = loop.makePromise(of: Void.self)
            let channel = try await DatagramBootstrap(group: loop).channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(
                        Echo(50, returns: returns, done))
                }
            }.bind(host: "127.0.0.1", port: 0).get()
            return (channel, done.futureResult)
        }
        let (server, served) = try await end(true)
        let relay = try await LossyRelay.start(
            port: 0, to: try #require(server.localAddress), LossyLink.Settings(), seed: 1,
            on: loop)
        let address = try SocketAddress(ipAddress: "127.0.0.1", port: relay.port)
        var clients: [(any Channel, EventLoopFuture<Void>)] = []
        for _ in 0..<2 { clients.append(try await end(false)) }
        for number in 0..<50 {
            for (client, _) in clients {
                try await client.writeAndFlush(
                    AddressedEnvelope(remoteAddress: address, data: ByteBuffer(integer: number)))
            }
        }
        try await served.get()
        for (_, done) in clients { try await done.get() }
        #expect(try await relay.counts().passed == 200)
        try await relay.stop()
        for (channel, _) in clients + [(server, served)] { try await channel.close() }
    }
}
