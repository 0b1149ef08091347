// Tells every connected client what changes: one encoding, one pass over the clients of each loop.
// SPDX-License-Identifier: Apache-2.0

package import Domain
package import NIOCore
package import Observability
import Primitives
import Synchronization

/// Takes updates from anywhere and brings them to the sockets.
///
/// Each event loop has its clients and its own copy of the present state, so that a snapshot and what
/// follows it cannot overlap or leave a hole, and no lock is held while anybody is sent anything.
package final class UpdatesHub: Sendable {
    private struct State {
        var sequence: UInt64 = 0
        var newest: [UpdateSubject: Update] = [:]
    }

    private struct Shard {
        let eventLoop: any EventLoop
        let clients: NIOLoopBoundBox<UpdatesShard>
    }

    private let shards: [Shard]
    private let state = Mutex(State())
    let world: World
    let metrics: UpdatesMetrics
    /// Whether a caller's rights have ended; asked once a client is where `revoke` would find it.
    let isRevoked: @Sendable (Caller) -> Bool

    /// - Parameter eventLoops: every loop that a socket may be on.
    package init(
        world: World, registry: MetricsRegistry, eventLoops: [any EventLoop],
        isRevoked: @escaping @Sendable (Caller) -> Bool
    ) {
        self.world = world
        self.isRevoked = isRevoked
        metrics = UpdatesMetrics(registry)
        shards = eventLoops.map { loop in
            Shard(
                eventLoop: loop,
                clients: NIOLoopBoundBox.makeBoxSendingValue(UpdatesShard(), eventLoop: loop))
        }
    }

    /// Tells everybody who may know it; nothing happens where it is known already.
    package func publish(_ update: Update) {
        state.withLock { state in
            let message = UpdateMessage(update, sequence: state.sequence + 1)
            if message.isState {
                guard state.newest.updateValue(update, forKey: message.subject) != update
                else { return }
            } else if case .camera = update {
                guard state.newest.removeValue(forKey: message.subject) != nil else { return }
            }
            state.sequence += 1
            // Within the lock: every loop gets the messages in their order.
            for shard in shards {
                shard.eventLoop.execute { shard.clients.value.deliver(message) }
            }
        }
    }

    /// Closes the sockets of callers whose rights have ended.
    package func revoke(_ revocation: Revocation) {
        for shard in shards {
            shard.eventLoop.execute { shard.clients.value.revoke(revocation) }
        }
    }

    /// Closes sockets so that they come back with the rights that their callers have now.
    package func reconnect(where isConcerned: @escaping @Sendable (Caller) -> Bool) {
        for shard in shards {
            shard.eventLoop.execute { shard.clients.value.reconnect(where: isConcerned) }
        }
    }

    /// Who listens.
    func callers() async -> [Caller] {
        var callers: [Caller] = []
        for shard in shards {
            let found = try? await shard.eventLoop.submit { shard.clients.value.callers }.get()
            callers += found ?? []
        }
        return callers
    }

    /// Whether sockets of this loop are told anything.
    package func serves(_ eventLoop: any EventLoop) -> Bool {
        shards.contains { $0.eventLoop === eventLoop }
    }

    /// The clients of an event loop; call on that loop.
    package func shard(on eventLoop: any EventLoop) -> UpdatesShard? {
        shards.first { $0.eventLoop === eventLoop }?.clients.value
    }
}

/// Counted by kind, never by client.
struct UpdatesMetrics: Sendable {
    let clients: Gauge
    let conflated: Counter

    init(_ registry: MetricsRegistry) {
        clients = registry.gauge("cctv_websocket_clients", help: "Open WebSockets.")
        conflated = registry.counter(
            "cctv_websocket_conflated_total",
            help: "Messages that a slow client did not get because a newer one took their place.")
    }
}

/// The clients of one event loop, and what is told to those who come.
package final class UpdatesShard {
    private var clients: [ObjectIdentifier: UpdatesClient] = [:]
    private var state: [UpdateSubject: UpdateMessage] = [:]
    /// Of the newest message that was delivered here.
    private(set) var sequence: UInt64 = 0

    func deliver(_ message: UpdateMessage) {
        sequence = message.sequence
        switch message.update {
        case .alert: break
        case _ where message.isState: state[message.subject] = message
        default: state[message.subject] = nil
        }
        for client in clients.values { client.take(message) }
    }

    func revoke(_ revocation: Revocation) {
        // Closing takes a client out of the table.
        for client in Array(clients.values) { client.end(ifBy: revocation) }
    }

    func reconnect(where isConcerned: (Caller) -> Bool) {
        for client in Array(clients.values) where isConcerned(client.caller) { client.reconnect() }
    }

    var callers: [Caller] { clients.values.map(\.caller) }

    func enter(_ client: UpdatesClient) { clients[ObjectIdentifier(client)] = client }
    func leave(_ client: UpdatesClient) { clients[ObjectIdentifier(client)] = nil }

    func snapshot(of topics: Set<UpdateTopic>) -> [UpdateMessage] {
        state.values.filter { topics.contains($0.topic) }
    }
}
