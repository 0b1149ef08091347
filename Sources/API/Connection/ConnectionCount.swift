// How many connections there are, in all and of each address.
// SPDX-License-Identifier: Apache-2.0

import NIOCore
import Observability
import Synchronization

/// The open connections of the HTTP server.
final class ConnectionCount: Sendable {
    private struct Open {
        var total = 0
        var byNetwork: [[UInt8]: Int] = [:]
    }

    private let settings: GatewaySettings
    private let open = Mutex(Open())
    private let refused: Counter
    private let total: Gauge

    init(settings: GatewaySettings, registry: MetricsRegistry) {
        self.settings = settings
        refused = RequestLimiter.hits(registry, scope: "connections")
        total = registry.gauge("cctv_api_connections", help: "Open connections of the HTTP server.")
    }

    /// Counts a connection until it closes; false where it is one too many.
    func admit(_ channel: any Channel, from address: ClientAddress) -> Bool {
        // A proxy's connections are those of all its clients.
        let isProxy = settings.trustedProxies.contains(where: address.isIn)
        let network = address.network
        let isAdmitted = open.withLock { open in
            guard open.total < settings.connections,
                isProxy || open.byNetwork[network, default: 0] < settings.connectionsPerAddress
            else { return false }
            open.total += 1
            open.byNetwork[network, default: 0] += 1
            total.set(Double(open.total))
            return true
        }
        guard isAdmitted else {
            refused.increment()
            return false
        }
        channel.closeFuture.whenComplete { _ in self.leave(network) }
        return true
    }

    private func leave(_ network: [UInt8]) {
        open.withLock { open in
            open.total -= 1
            let left = open.byNetwork[network, default: 1] - 1
            open.byNetwork[network] = left > 0 ? left : nil
            total.set(Double(open.total))
        }
    }
}
