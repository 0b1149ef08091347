// The TCP port of live viewing, for those who cannot use UDP.
// SPDX-License-Identifier: Apache-2.0

import Glibc
import NIOCore
import NIOPosix
import Synchronization
import WebRTC

/// Takes connections on each loop, and bounds how many there are.
final class LiveListener: Sendable {
    private struct Counts {
        var total = 0
        /// By address without its port.
        var byAddress: [TransportAddress: Int] = [:]
    }

    private let counts = Mutex(Counts())
    private let metrics: LiveMetrics

    init(_ metrics: LiveMetrics) { self.metrics = metrics }

    /// Opens the port on each loop, or on none: an error says why not.
    func open(port: UInt16, _ loops: [LiveLoop.Handle]) async throws -> [any Channel] {
        // Listeners that share a port take each other's connections without a word; a second program
        // must find out before it shares.
        try await Self.bootstrap(loops[0].eventLoop, isShared: false).bind(port: port).close()
        var channels: [any Channel] = []
        do {
            for loop in loops {
                let bootstrap = Self.bootstrap(loop.eventLoop, isShared: true)
                    .childChannelOption(.socketOption(.tcp_nodelay), value: 1)
                    .childChannelOption(
                        .socketOption(.so_sndbuf), value: .init(Limits.connectionSendBuffer)
                    )
                    .childChannelInitializer { [self] channel in
                        channel.eventLoop.makeCompletedFuture { try admit(channel, loops) }
                    }
                channels.append(try await bootstrap.bind(port: port))
            }
        } catch {
            for channel in channels { try? await channel.close() }
            throw error
        }
        return channels
    }

    private static func bootstrap(_ loop: any EventLoop, isShared: Bool) -> ServerBootstrap {
        ServerBootstrap(group: loop)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .serverChannelOption(
                .socketOption(.init(rawValue: SO_REUSEPORT)), value: isShared ? 1 : 0)
    }

    private func admit(_ channel: any Channel, _ loops: [LiveLoop.Handle]) throws {
        guard let address = channel.remoteAddress.flatMap({ TransportAddress($0, .tcp) })?.unported,
            take(address)
        else {
            metrics.refused(.limit)
            throw ChannelError.inappropriateOperationForState
        }
        channel.closeFuture.whenComplete { [self] _ in release(address) }
        try channel.pipeline.syncOperations.addHandler(LiveConnectionHandler(loops, metrics))
    }

    private func take(_ address: TransportAddress) -> Bool {
        let total = counts.withLock { counts -> Int? in
            guard counts.total < Limits.connections,
                counts.byAddress[address, default: 0] < Limits.connectionsPerAddress
            else { return nil }
            counts.total += 1
            counts.byAddress[address, default: 0] += 1
            return counts.total
        }
        if let total { metrics.connections(total) }
        return total != nil
    }

    private func release(_ address: TransportAddress) {
        let total = counts.withLock { counts in
            counts.total -= 1
            let left = counts.byAddress[address, default: 1] - 1
            counts.byAddress[address] = left > 0 ? left : nil
            return counts.total
        }
        metrics.connections(total)
    }
}

extension ServerBootstrap {
    /// On all addresses; on those of IPv4 where there is no IPv6.
    fileprivate func bind(port: UInt16) async throws -> any Channel {
        do {
            return try await bind(host: "::", port: Int(port)).get()
        } catch let error as IOError
            where error.errnoCode == EADDRINUSE || error.errnoCode == EACCES
        {
            throw error
        } catch {
            return try await bind(host: "0.0.0.0", port: Int(port)).get()
        }
    }
}

extension TransportAddress {
    fileprivate var unported: TransportAddress {
        ipv6.map { TransportAddress(ipv6: $0, port: 0, transport: transport) }
            ?? TransportAddress(ipv4: ipv4 ?? 0, port: 0, transport: transport)
    }
}
