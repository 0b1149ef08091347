// A bad network on real sockets: UDP between clients and one server.
// SPDX-License-Identifier: Apache-2.0

package import NIOCore
import NIOPosix
import Primitives

/// Relays the datagrams of each client from a port of its own, as a gateway would, through a lossy link
/// each way. Lives on one event loop.
package final class LossyRelay {
    /// One client's two directions.
    private final class Client {
        let address: SocketAddress
        var toServer: LossyLink
        var toClient: LossyLink
        var far: (any Channel)?

        init(_ address: SocketAddress, _ settings: LossyLink.Settings, seed: UInt64) {
            self.address = address
            toServer = LossyLink(settings, seed: seed)
            toClient = LossyLink(settings, seed: ~seed)
        }
    }

    /// Clients after these are passed over.
    private static let maximumClients = 64

    private let settings: LossyLink.Settings
    private let seed: UInt64
    private let server: SocketAddress
    private let loop: any EventLoop
    private var near: (any Channel)?
    private var clients: [SocketAddress: Client] = [:]
    private var timer: (due: Instant, task: Scheduled<Void>)?

    private init(
        _ settings: LossyLink.Settings, seed: UInt64, to server: SocketAddress,
        on loop: any EventLoop
    ) {
        self.settings = settings
        self.seed = seed
        self.server = server
        self.loop = loop
    }

    /// How other threads reach a relay.
    package struct Handle: Sendable {
        /// Where clients find it.
        package let port: Int
        fileprivate let near: any Channel
        fileprivate let relay: NIOLoopBound<LossyRelay>

        /// Of all clients, both ways.
        package func counts() async throws -> LossyLink.Counts {
            try await near.eventLoop.submit { [relay] in relay.value.counts }.get()
        }

        package func stop() async throws {
            try await near.eventLoop.submit { [relay] in relay.value.stop() }.get()
        }
    }

    /// Opens a port on the loopback address.
    /// - Parameters:
    ///   - port: 0 takes a free one.
    ///   - seed: the n-th client's links have seeds made of it and of n.
    package static func start(
        port: Int, to server: SocketAddress, _ settings: LossyLink.Settings, seed: UInt64,
        on loop: any EventLoop
    ) async throws -> Handle {
        let relay = try await loop.submit {
            NIOLoopBound(LossyRelay(settings, seed: seed, to: server, on: loop), eventLoop: loop)
        }.get()
        let near = try await socket(on: loop) { envelope in
            relay.value.receive(envelope.data, from: envelope.remoteAddress)
        }.bind(host: "127.0.0.1", port: port).get()
        try await loop.submit { relay.value.near = near }.get()
        return Handle(port: near.localAddress?.port ?? port, near: near, relay: relay)
    }

    private static func socket(
        on loop: any EventLoop,
        _ receive: @escaping @Sendable (AddressedEnvelope<ByteBuffer>) -> Void
    ) -> DatagramBootstrap {
        DatagramBootstrap(group: loop).channelInitializer { channel in
            channel.eventLoop.makeCompletedFuture {
                try channel.pipeline.syncOperations.addHandler(Ear(receive))
            }
        }
    }

    private func receive(_ packet: ByteBuffer, from address: SocketAddress) {
        guard let client = clients[address] ?? admit(address) else { return }
        client.toServer.send(packet, at: now)
        schedule()
    }

    private func admit(_ address: SocketAddress) -> Client? {
        guard clients.count < Self.maximumClients else { return nil }
        let client = Client(address, settings, seed: seed &+ UInt64(clients.count))
        clients[address] = client
        let bound = NIOLoopBound((self, client), eventLoop: loop)
        let local = server.protocol == .inet6 ? "::" : "0.0.0.0"
        Self.socket(on: loop) { envelope in
            let (relay, client) = bound.value
            client.toClient.send(envelope.data, at: relay.now)
            relay.schedule()
        }.bind(host: local, port: 0).assumeIsolated().whenSuccess { channel in
            let (relay, client) = bound.value
            // Its packets may have become due while there was no socket yet.
            client.far = channel
            if relay.clients[address] == nil { channel.close(promise: nil) }
            relay.schedule()
        }
        return client
    }

    private var now: Instant {
        Instant(nanoseconds: Int64(clamping: NIODeadline.now().uptimeNanoseconds))
    }

    /// Sends on what has arrived, and waits for what comes next.
    private func advance() {
        timer = nil
        let now = now
        for client in clients.values {
            if let far = client.far {
                while let packet = client.toServer.receive(at: now) {
                    write(packet, to: server, on: far)
                }
            }
            if let near {
                while let packet = client.toClient.receive(at: now) {
                    write(packet, to: client.address, on: near)
                }
            }
        }
        schedule()
    }

    private func write(_ packet: ByteBuffer, to address: SocketAddress, on channel: any Channel) {
        channel.writeAndFlush(
            AddressedEnvelope(remoteAddress: address, data: packet), promise: nil)
    }

    private func schedule() {
        let due = clients.values.compactMap { client in
            let toServer = client.far == nil ? nil : client.toServer.deadline
            return [toServer, client.toClient.deadline].compactMap(\.self).min()
        }.min()
        guard let due else { return }
        if let timer, timer.due <= due { return }
        timer?.task.cancel()
        let bound = NIOLoopBound(self, eventLoop: loop)
        let wait = max((due - now).saturatingNanoseconds, 0)
        timer = (due, loop.scheduleTask(in: .nanoseconds(wait)) { bound.value.advance() })
    }

    private var counts: LossyLink.Counts {
        clients.values.reduce(into: LossyLink.Counts()) {
            $0 += $1.toServer.counts
            $0 += $1.toClient.counts
        }
    }

    private func stop() {
        timer?.task.cancel()
        timer = nil
        for client in clients.values { client.far?.close(promise: nil) }
        clients = [:]
        near?.close(promise: nil)
        near = nil
    }
}

/// Hands a socket's datagrams on.
private final class Ear: ChannelInboundHandler {
    typealias InboundIn = AddressedEnvelope<ByteBuffer>

    private let receive: @Sendable (AddressedEnvelope<ByteBuffer>) -> Void

    init(_ receive: @escaping @Sendable (AddressedEnvelope<ByteBuffer>) -> Void) {
        self.receive = receive
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        receive(unwrapInboundIn(data))
    }

    /// An unreachable port is one more lost packet.
    func errorCaught(context: ChannelHandlerContext, error: any Error) {}
}
