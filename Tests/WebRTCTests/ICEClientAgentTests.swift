// Both agents, joined by a network that loses, delays, repeats and reorders.
// SPDX-License-Identifier: Apache-2.0

import NIOCore
import Primitives
import Testing
import WebRTC

/// A client and a server with a seeded network between them.
private struct ICENetwork {
    static let server = TransportAddress(ipv4: 0x0A00_0001, port: 5000)
    static let serverCredentials = ICECredentials(ufrag: "srv", password: Redacted("server pass"))
    static let clientCredentials = ICECredentials(ufrag: "cli", password: Redacted("client pass"))

    struct Datagram {
        var due: Instant
        var bytes: ByteBuffer
        var from: TransportAddress
        var to: TransportAddress
    }

    var client: ICEClientAgent
    var lite: ICELiteAgent
    /// The client's address of the moment, as the server sees it.
    var clientAddress = TransportAddress(ipv4: 0x0A00_0002, port: 6000)
    var loss = 0.0
    var isClientGone = false
    var now = Instant(nanoseconds: 0)
    var clientOutputs: [ICEClientAgent.Output] = []
    var serverOutputs: [ICELiteAgent.Output] = []
    private var random: SeededRandom
    private var wire: [Datagram] = []

    init(seed: UInt64, candidates: [TransportAddress] = [ICENetwork.server]) {
        var ids = SeededRandom(seed: seed &+ 1)
        random = SeededRandom(seed: seed)
        client = ICEClientAgent(
            local: Self.clientCredentials, remote: Self.serverCredentials, candidates: candidates,
            at: now, random: { ids.next() })
        lite = ICELiteAgent(
            local: Self.serverCredentials, remote: Self.clientCredentials, at: now,
            random: { ids.next() })
    }

    mutating func replaceClient(_ agent: ICEClientAgent) { client = agent }

    mutating func run(for duration: Duration) {
        let end = now + duration
        client.advance(to: now)
        drain()
        for _ in 0..<100_000 {
            let times =
                wire.map(\.due)
                + [lite.deadline, isClientGone ? nil : client.deadline].compactMap(\.self)
            guard let next = times.min(), next <= end else { break }
            now = max(now, next)
            for datagram in wire.filter({ $0.due <= now }) { deliver(datagram) }
            wire.removeAll { $0.due <= now }
            lite.advance(to: now)
            if !isClientGone { client.advance(to: now) }
            drain()
        }
        now = end
    }

    private mutating func deliver(_ datagram: Datagram) {
        if datagram.to == Self.server {
            lite.receive(datagram.bytes, from: datagram.from, at: now)
        } else if datagram.to == clientAddress, !isClientGone {
            client.receive(datagram.bytes, from: datagram.from, at: now)
        }
    }

    private mutating func drain() {
        while let output = client.pollOutput() {
            if case .send(let bytes, let to) = output {
                if !isClientGone { send(bytes, from: clientAddress, to: to) }
            } else {
                clientOutputs.append(output)
            }
        }
        while let output = lite.pollOutput() {
            if case .send(let bytes, let to) = output {
                send(bytes, from: Self.server, to: to)
            } else {
                serverOutputs.append(output)
            }
        }
    }

    private mutating func send(
        _ bytes: ByteBuffer, from: TransportAddress, to: TransportAddress
    ) {
        let copies = Double.random(in: 0..<1, using: &random) < loss ? 2 : 1
        for _ in 0..<copies where Double.random(in: 0..<1, using: &random) >= loss {
            let delay = Int64.random(in: 1...(loss > 0 ? 120 : 2), using: &random)
            let due = now + .milliseconds(delay)
            wire.append(Datagram(due: due, bytes: bytes, from: from, to: to))
        }
    }
}

@Suite struct ICEClientAgentTests {
    @Test("client and server find each other in one round trip")
    func connects() {
        var network = ICENetwork(seed: 1)
        network.run(for: .milliseconds(10))
        #expect(network.clientOutputs == [.selected(ICENetwork.server)])
        #expect(network.serverOutputs == [.selected(network.clientAddress)])
        #expect(network.lite.isNominated)
    }

    @Test("the first of several addresses that answers is taken, dead ones are left")
    func candidates() {
        let dead = (0..<30).map { TransportAddress(ipv4: UInt32($0), port: 1) }
        var network = ICENetwork(seed: 2, candidates: dead.prefix(3) + [ICENetwork.server])
        network.run(for: .seconds(1))
        #expect(network.client.selected == ICENetwork.server)
        #expect(network.lite.isNominated)
        network = ICENetwork(seed: 3, candidates: dead)
        network.run(for: .seconds(30))
        #expect(network.clientOutputs == [.failed])
        #expect(network.serverOutputs == [.timedOut])
    }

    @Test("a client without addresses fails at once")
    func nowhere() {
        var network = ICENetwork(seed: 4, candidates: [])
        network.run(for: .milliseconds(1))
        #expect(network.clientOutputs == [.failed])
        #expect(network.client.deadline == nil)
    }

    @Test("consent holds for minutes, and ends five seconds after the client vanishes")
    func vanishes() {
        var network = ICENetwork(seed: 5)
        network.run(for: .seconds(120))
        #expect(!network.lite.hasEnded)
        network.isClientGone = true
        network.run(for: .milliseconds(2499))
        #expect(!network.lite.hasEnded)
        network.run(for: .seconds(3))
        #expect(network.serverOutputs.last == .consentLost)
    }

    @Test("the server's questions are answered, and keep a client that asks nothing itself")
    func answersProbes() {
        var network = ICENetwork(seed: 6)
        network.run(for: .seconds(1))
        let address = network.clientAddress
        // The next check comes at 2.5 s; a question asked now must be answered before it.
        var ids = SeededRandom(seed: 60)
        var message = STUNMessage(
            .request, transactionID: STUNTransactionID(random: { ids.next() }))
        message.username = "cli:srv"
        message.role = .controlled(1)
        let question = message.serialize(password: ICENetwork.clientCredentials.password)
        network.client.receive(question, from: ICENetwork.server, at: network.now)
        guard case .send(let bytes, let to) = network.client.pollOutput() else {
            Issue.record("no answer to \(address)")
            return
        }
        #expect(to == ICENetwork.server)
        let answer = try? STUNMessage(validating: bytes)
        #expect(answer?.messageClass == .success)
        #expect(
            answer?.isAuthentic(password: ICENetwork.clientCredentials.password) == true)
        message.username = "cli:other"
        network.client.receive(
            message.serialize(password: nil), from: ICENetwork.server, at: network.now)
        #expect(network.client.pollOutput() == nil)
        #expect(network.client.discarded == [.unknownUsername: 1])
    }

    @Test("a client notices that the server is gone")
    func serverGone() {
        var network = ICENetwork(seed: 7)
        network.run(for: .seconds(1))
        network.loss = 1
        network.run(for: .seconds(11))
        #expect(network.clientOutputs.last == .failed)
        #expect(network.serverOutputs.last == .consentLost)
    }

    @Test(
        "sessions connect, follow a new address and a restart while a third of the packets is lost",
        arguments: UInt64(0)..<100)
    func badNetwork(seed: UInt64) {
        var network = ICENetwork(seed: seed)
        network.loss = 0.33
        network.run(for: .seconds(9))
        #expect(network.client.selected == ICENetwork.server, "seed \(seed)")
        #expect(network.lite.selected == network.clientAddress, "seed \(seed)")

        network.clientAddress = TransportAddress(ipv4: 0x0A00_0002, port: 6001)
        network.client.renominate(at: network.now)
        network.run(for: .seconds(4))
        #expect(network.lite.selected == network.clientAddress, "seed \(seed)")

        let local = ICECredentials(ufrag: "cli2", password: Redacted("client again"))
        let remote = ICECredentials(ufrag: "srv2", password: Redacted("server again"))
        network.lite.restart(local: remote, remote: local, at: network.now)
        network.run(for: .seconds(1))
        var ids = SeededRandom(seed: seed &+ 77)
        network.clientAddress = TransportAddress(ipv4: 0x0A00_0002, port: 6002)
        network.replaceClient(
            ICEClientAgent(
                local: local, remote: remote, candidates: [ICENetwork.server], at: network.now,
                random: { ids.next() }))
        network.run(for: .seconds(5))
        #expect(network.lite.local == remote, "seed \(seed)")
        #expect(network.lite.selected == network.clientAddress, "seed \(seed)")
        #expect(!network.lite.hasEnded, "seed \(seed)")
    }
}
