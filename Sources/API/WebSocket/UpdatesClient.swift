// One client of the updates: what it asked for, and what waits until it reads.
// SPDX-License-Identifier: Apache-2.0

package import Domain
package import NIOCore
import Observability
import Primitives

/// What a client has still to be told: of each subject the newest, so its size is bounded by what there
/// is, not by how long the client has not read.
struct Conflation {
    private var waiting: [UpdateSubject: UpdateMessage] = [:]

    var isEmpty: Bool { waiting.isEmpty }
    var count: Int { waiting.count }

    /// True where an older message lost its place.
    mutating func put(_ message: UpdateMessage) -> Bool {
        waiting.updateValue(message, forKey: message.subject) != nil
    }

    /// Gives what waits, oldest first, until `send` says that it is enough.
    mutating func drain(while isWritable: () -> Bool, _ send: (UpdateMessage) -> Void) {
        guard !waiting.isEmpty, isWritable() else { return }
        for message in waiting.values.sorted(by: { $0.sequence < $1.sequence }) {
            guard isWritable() else { return }
            send(message)
            waiting[message.subject] = nil
        }
    }
}

/// The endpoint of a socket of the updates.
package final class UpdatesClient: SocketEndpoint {
    /// Messages that say nothing we know, until the socket is closed.
    private static let patience = 3
    private static let longestTopics = 16
    /// Timers are set anew after a day.
    private static let longestWake = Duration.seconds(86_400)

    private struct Failure: Encodable {
        var type = "ERROR"
        var error: ErrorBody.Content
    }

    private struct Snapshot: Encodable {
        var type = "SNAPSHOT"
        var seq: UInt64
        var topics: [String]
        /// How many messages with a `seq` up to this one follow, before any newer.
        var count: Int
    }

    let caller: Caller
    private let viewer: UpdateViewer
    private let hub: UpdatesHub
    private let shard: UpdatesShard
    private var topics: Set<UpdateTopic>
    private var conflation = Conflation()
    private var mistakes = 0
    private var socket: (any TextSocket)?

    /// - Parameter topics: those of an address that is about nothing else; empty: the client says.
    package init(_ caller: Caller, topics: Set<UpdateTopic>, hub: UpdatesHub, shard: UpdatesShard) {
        self.caller = caller
        self.topics = topics
        self.hub = hub
        self.shard = shard
        viewer = UpdateViewer(caller)
    }

    // MARK: SocketEndpoint

    package func opened(_ socket: any TextSocket) {
        self.socket = socket
        shard.enter(self)
        hub.metrics.clients.add(1)
        // Ended between the request and now.
        if hub.isRevoked(caller) { return socket.close(.unauthorized) }
        woke()
        if !topics.isEmpty { sendSnapshot() }
    }

    package func received(_ text: ByteBuffer) {
        do {
            let object = try JSONObject(parsing: text, allowing: ["type", "topics"])
            guard try object.requiredText("type") == "subscribe" else {
                throw MarsadError(
                    .invalidRequest, details: ["key": "type", "allowed": "subscribe"])
            }
            let names = try object.texts("topics", upTo: Self.longestTopics) ?? []
            let known = names.compactMap(UpdateTopic.init)
            guard !names.isEmpty, known.count == names.count else {
                let allowed = UpdateTopic.allCases.map(\.rawValue).joined(separator: ", ")
                throw MarsadError(.invalidRequest, details: ["key": "topics", "allowed": allowed])
            }
            topics = Set(known)
            sendSnapshot()
        } catch let error as MarsadError {
            refuse(error)
        } catch {
            refuse(MarsadError(.invalidRequest))
        }
    }

    package func becameWritable() { drain() }

    /// The token ends: so does what was opened with it.
    package func woke() {
        let now = hub.world.wallTime()
        guard caller.expiresAt > now else {
            socket?.close(.unauthorized)
            return
        }
        // Of a program's caller the time of expiry is the last there is: no difference is taken.
        let next = now + Self.longestWake
        socket?.wake(
            in: caller.expiresAt < next ? caller.expiresAt - now : Self.longestWake)
    }

    package func closed() {
        shard.leave(self)
        hub.metrics.clients.add(-1)
        socket = nil
    }

    // MARK: The hub

    func take(_ message: UpdateMessage) {
        guard topics.contains(message.topic), let frame = message.frame(for: viewer) else { return }
        if conflation.isEmpty, let socket, socket.isWritable {
            socket.send(frame)
        } else if conflation.put(message) {
            hub.metrics.conflated.increment()
        }
    }

    func end(ifBy revocation: Revocation) {
        if revocation.ends(caller) { socket?.close(.unauthorized) }
    }

    func reconnect() { socket?.close(.restart) }

    // MARK: Sending

    private func sendSnapshot() {
        conflation = Conflation()
        let state = shard.snapshot(of: topics).filter { $0.frame(for: viewer) != nil }
        for message in state { _ = conflation.put(message) }
        send(
            Snapshot(
                seq: shard.sequence, topics: topics.map(\.rawValue).sorted(), count: state.count))
        drain()
    }

    private func refuse(_ error: MarsadError) {
        mistakes += 1
        send(Failure(error: ErrorBody(error, requestID: caller.origin.requestID).error))
        if mistakes >= Self.patience { socket?.close(.policy) }
    }

    /// Answers are not conflated; a client that asks and does not read is closed instead.
    private func send(_ body: some Encodable) {
        guard let socket, let text = try? jsonBytes(body) else { return }
        guard socket.isWritable else { return socket.close(.policy) }
        socket.send(WebSocketFrames.text(text))
    }

    private func drain() {
        guard let socket else { return }
        conflation.drain(while: { socket.isWritable }) { message in
            if let frame = message.frame(for: viewer) { socket.send(frame) }
        }
    }
}
