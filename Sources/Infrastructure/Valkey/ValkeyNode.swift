// One server and the connection to it: found, logged in, and made again when it ends.
// SPDX-License-Identifier: Apache-2.0

import NIOCore
import NIOPosix
import Primitives
import RESP

/// Lives on its event loop.
final class ValkeyNode {
    private enum State {
        case connecting
        case ready(ValkeyChannelHandler)
        /// Between two tries.
        case waiting
        case closed
    }

    enum Change {
        case ready
        case lost
        /// The server answered the handshake with this code.
        case refused(String)
    }

    /// Where to look, one after the other.
    private let seeds: [ValkeyAddress]
    private let settings: ValkeyURL
    private let loop: any EventLoop
    /// Told when a connection is ready, and when one ended or could not be made.
    private let onChange: (Change) -> Void
    /// The server that answers, once known.
    private(set) var address: ValkeyAddress
    private var state = State.waiting
    private var next = 0
    private var backoff = Limits.firstBackoff
    /// Commands that wait for a connection.
    private var queue = CircularBuffer<PendingCommand>()

    init(
        seeds: [ValkeyAddress], settings: ValkeyURL, loop: any EventLoop,
        onChange: @escaping (Change) -> Void
    ) {
        precondition(!seeds.isEmpty, "a server has an address")
        self.seeds = seeds
        self.settings = settings
        self.loop = loop
        self.onChange = onChange
        address = seeds[0]
    }

    var isIdle: Bool { queue.isEmpty && connection?.count ?? 0 == 0 }

    private var connection: ValkeyChannelHandler? {
        if case .ready(let handler) = state { handler } else { nil }
    }

    func send(_ command: PendingCommand) {
        guard queue.count + (connection?.count ?? 0) < Limits.pending else {
            return command.complete(.failure(.overloaded))
        }
        switch state {
        case .ready(let handler): handler.send(command)
        case .connecting, .waiting: queue.append(command)
        case .closed: command.complete(.failure(.closed))
        }
    }

    func flush() { connection?.flush() }

    func expire(at now: NIODeadline) {
        connection?.expire(at: now)
        guard queue.contains(where: { $0.deadline <= now }) else { return }
        let late = queue.filter { $0.deadline <= now }
        queue = CircularBuffer(queue.filter { $0.deadline > now })
        for command in late { command.expire(.unreachable) }
    }

    /// The server is not the one that is wanted any more: it is looked for anew.
    func reset() { connection?.close() }

    func close() { end(.closed) }

    /// Ends with what waits for it: nobody will look for this server again.
    func abandon() { end(.unreachable) }

    private func end(_ error: ValkeyError) {
        let handler = connection
        state = .closed
        handler?.close()
        let left = queue
        queue = []
        for command in left { command.complete(.failure(error)) }
    }

    // MARK: Connecting

    func connect() {
        guard case .waiting = state else { return }
        state = .connecting
        let seed = seeds[next % seeds.count]
        next += 1
        let found: EventLoopFuture<ValkeyAddress> =
            settings.sentinelName.map { master(of: $0, from: seed) }
            ?? loop.makeSucceededFuture(seed)
        found.assumeIsolated().flatMap { [self] address in
            self.address = address
            return open(address)
        }.flatMap { [self] opened in
            greet(opened)
        }.whenComplete { [self] result in
            switch result {
            case .success(let opened): begin(opened.value)
            case .failure(ValkeyError.refused(let code)): lost(.refused(code))
            case .failure: lost()
            }
        }
    }

    /// A connection whose handler is in place.
    private func open(
        _ address: ValkeyAddress
    ) -> EventLoopFuture<NIOLoopBound<ValkeyChannelHandler>> {
        let loop = loop
        return ClientBootstrap(group: loop)
            .connectTimeout(Limits.connectTimeout)
            .channelOption(.tcpOption(.tcp_nodelay), value: 1)
            .connect(host: address.host, port: address.port)
            .assumeIsolated()
            .flatMapThrowing { channel in
                let handler = ValkeyChannelHandler()
                try channel.pipeline.syncOperations.addHandler(handler)
                return NIOLoopBound(handler, eventLoop: loop)
            }.nonisolated()
    }

    /// Logs in, chooses the database, and makes sure that it is a master where sentinels said so.
    private func greet(
        _ opened: NIOLoopBound<ValkeyChannelHandler>
    ) -> EventLoopFuture<NIOLoopBound<ValkeyChannelHandler>> {
        let handler = opened.value
        let loop = loop
        let needsMaster = settings.sentinelName != nil
        var hello = ["HELLO", "3"]
        if let password = settings.password {
            hello += ["AUTH", settings.user ?? "default", password.reveal()]
        }
        var steps = [hello + ["SETNAME", "marsad"]]
        if settings.database > 0 { steps.append(["SELECT", String(settings.database)]) }
        if needsMaster { steps.append(["ROLE"]) }
        let greeted = steps.reduce(loop.makeSucceededFuture(RESPValue.null)) { done, step in
            done.assumeIsolated().flatMap { _ in handler.ask(step, on: loop) }.nonisolated()
        }.assumeIsolated().flatMapThrowing { last in
            guard !needsMaster || last.elements?.first?.text == "master" else {
                throw ValkeyError.refused(code: RetriedFailure.readOnly.rawValue)
            }
            return opened
        }
        greeted.whenFailure { _ in handler.close() }
        return greeted.nonisolated()
    }

    /// What a sentinel says is the master.
    private func master(
        of name: String, from sentinel: ValkeyAddress
    ) -> EventLoopFuture<ValkeyAddress> {
        let loop = loop
        return open(sentinel).assumeIsolated().flatMap { opened in
            let handler = opened.value
            let asked = handler.ask(["SENTINEL", "GET-MASTER-ADDR-BY-NAME", name], on: loop)
            asked.assumeIsolated().whenComplete { _ in handler.close() }
            return asked
        }.flatMapThrowing { answer in
            guard let parts = answer.elements, parts.count == 2, let host = parts[0].text,
                let port = parts[1].text, let address = ValkeyAddress("[\(host)]:\(port)")
            else { throw ValkeyError.unexpectedReply }
            return address
        }.nonisolated()
    }

    private func begin(_ handler: ValkeyChannelHandler) {
        guard case .connecting = state, handler.isOpen else {
            handler.close()
            return lost()
        }
        handler.onClose = { [weak self] in self?.lost() }
        state = .ready(handler)
        backoff = Limits.firstBackoff
        let waiting = queue
        queue = []
        for command in waiting { handler.send(command) }
        handler.flush()
        onChange(.ready)
    }

    private func lost(_ change: Change = .lost) {
        if case .closed = state { return }
        state = .waiting
        let pause = backoff
        backoff = min(pause + pause, Limits.longestBackoff)
        loop.assumeIsolated().scheduleTask(in: pause) { [weak self] in self?.connect() }
        onChange(change)
    }
}
