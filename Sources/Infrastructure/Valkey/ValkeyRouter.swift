// Which server a command goes to, and what becomes of it when that server sends it elsewhere.
// SPDX-License-Identifier: Apache-2.0

import NIOCore
import RESP

/// The servers of one client, on its event loop: one alone, the master that sentinels know, or the
/// members of a cluster as their redirections name them.
final class ValkeyRouter {
    private let settings: ValkeyURL
    private let loop: any EventLoop
    private let home: ValkeyNode
    /// Members of a cluster beside the first.
    private var members: [ValkeyAddress: ValkeyNode] = [:]
    private var slots: [HashSlot: ValkeyAddress] = [:]
    private var isTicking = false
    /// Commands that wait before they are tried again.
    private var retrying = 0
    private var isClosed = false

    /// - Parameter onChange: told what becomes of the connection to the first server.
    init(
        settings: ValkeyURL, loop: any EventLoop, onChange: @escaping (ValkeyNode.Change) -> Void
    ) {
        self.settings = settings
        self.loop = loop
        home = ValkeyNode(
            seeds: settings.seeds, settings: settings, loop: loop, onChange: onChange)
    }

    func start() { home.connect() }

    /// Sends a command; `flush()` writes what was sent.
    func send(_ command: PendingCommand) {
        guard !isClosed else { return command.complete(.failure(.closed)) }
        dispatch(command, to: command.slot.flatMap { slots[$0] }.map(node) ?? home)
        tick()
    }

    func flush() {
        home.flush()
        for member in members.values { member.flush() }
    }

    func close() {
        isClosed = true
        home.close()
        for member in members.values { member.close() }
    }

    private func dispatch(_ command: PendingCommand, to node: ValkeyNode) {
        var sent = command
        sent.complete = { [weak self, weak node] result in
            guard let self, let node, case .success(.failure(let failure)) = result else {
                return command.complete(result)
            }
            self.receive(failure, of: command, from: node)
        }
        node.send(sent)
    }

    private func receive(
        _ failure: RESPFailure, of command: PendingCommand, from node: ValkeyNode
    ) {
        switch failure.code {
        case "MOVED", "ASK":
            follow(failure, command, from: node)
        default:
            guard let retried = RetriedFailure(rawValue: failure.code) else {
                return command.complete(.success(.failure(failure)))
            }
            if retried == .readOnly { node.reset() }
            retry(command, after: failure.code)
        }
    }

    private func follow(
        _ failure: RESPFailure, _ command: PendingCommand, from node: ValkeyNode
    ) {
        let parts = failure.detail.split(separator: " ")
        guard command.redirects < Limits.redirects, parts.count >= 2,
            let slot = UInt16(parts[0]).flatMap(HashSlot.init(rawValue:)),
            var address = ValkeyAddress(parts[1])
        else { return command.complete(.failure(.refused(code: failure.code))) }
        // A server that does not know its own name means the one that was asked.
        if address.host.isEmpty { address.host = node.address.host }
        var command = command
        command.redirects += 1
        command.isAsking = failure.code == "ASK"
        if !command.isAsking { slots[slot] = address }
        let target = self.node(address)
        dispatch(command, to: target)
        target.flush()
    }

    private func retry(_ command: PendingCommand, after code: String) {
        var command = command
        command.lastFailure = code
        guard NIODeadline.now() + Limits.retryPause < command.deadline, !isClosed else {
            return command.complete(.failure(.refused(code: code)))
        }
        retrying += 1
        loop.assumeIsolated().scheduleTask(in: Limits.retryPause) { [self] in
            retrying -= 1
            send(command)
            flush()
        }
    }

    private func node(_ address: ValkeyAddress) -> ValkeyNode {
        if address == home.address { return home }
        if let known = members[address] { return known }
        guard members.count < Limits.nodes else { return home }
        let member = ValkeyNode(seeds: [address], settings: settings, loop: loop) {
            [weak self] change in
            if case .ready = change { return }
            self?.forget(address)
        }
        members[address] = member
        member.connect()
        return member
    }

    /// A member that is gone may have been replaced: the first server knows by whom.
    private func forget(_ address: ValkeyAddress) {
        slots = slots.filter { $0.value != address }
        members.removeValue(forKey: address)?.abandon()
    }

    /// Looks at the deadlines while there are any.
    private func tick() {
        guard !isTicking else { return }
        isTicking = true
        loop.assumeIsolated().scheduleTask(in: Limits.tick) { [weak self] in
            guard let self else { return }
            self.isTicking = false
            let now = NIODeadline.now()
            self.home.expire(at: now)
            for member in self.members.values { member.expire(at: now) }
            let isIdle =
                self.home.isIdle && self.members.values.allSatisfy(\.isIdle) && self.retrying == 0
            if !isIdle { self.tick() }
        }
    }
}
