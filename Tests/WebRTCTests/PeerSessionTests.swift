// A whole session against a client's halves, over a network that loses, repeats, reorders and moves.
// SPDX-License-Identifier: Apache-2.0

import Foundation
import NIOCore
import Primitives
import RTP
import Testing
import WebRTC

/// A server's session, a client, and a seeded network between them on a virtual clock.
private final class PeerNetwork {
    static let server = TransportAddress(ipv4: 0x0A00_0001, port: 5000)
    static let identities = Result { () throws(DTLSFailure) in
        (try DTLSIdentity(), try DTLSIdentity())
    }

    struct Faults {
        var loss = 0.0
        var duplication = 0.0
        var maxDelay = 10
    }

    private struct Datagram {
        var due: Instant
        var bytes: ByteBuffer
        var from: TransportAddress
        var to: TransportAddress
    }

    let peer: PeerSession
    var ice: ICEClientAgent
    var dtls: DTLSEndpoint?
    var faults: Faults
    var now = Instant(nanoseconds: 0)
    var clientAddress = TransportAddress(ipv4: 0x0A00_0002, port: 6000)
    var isClientGone = false
    private(set) var serverKeys: KeyingMaterial?
    private(set) var clientKeys: KeyingMaterial?
    private(set) var selected: [TransportAddress] = []
    private(set) var reports: [[RTCPPacket]] = []
    private(set) var media: [ByteBuffer] = []
    private(set) var end: PeerEnd?
    private(set) var sentAfterEnd = 0
    private(set) var clientMedia: [ByteBuffer] = []
    private let isDTLSServer: Bool
    private let fingerprint: Fingerprint?
    private var random: SeededRandom
    private var ids: SeededRandom
    private var wire: [Datagram] = []

    static let local = ICECredentials(ufrag: "srv", password: Redacted("server password"))
    static let remote = ICECredentials(ufrag: "cli", password: Redacted("client password"))

    init(
        seed: UInt64 = 1, faults: Faults = Faults(), isDTLSServer: Bool = true,
        serverExpects fingerprint: Fingerprint? = nil
    ) throws {
        let (client, server) = try Self.identities.get()
        var ids = SeededRandom(seed: seed &+ 1)
        peer = PeerSession(
            local: Self.local, remote: Self.remote,
            remoteFingerprint: fingerprint ?? client.fingerprint, identity: server,
            isDTLSServer: isDTLSServer, at: now, random: { ids.next() })
        var others = SeededRandom(seed: seed &+ 2)
        ice = ICEClientAgent(
            local: Self.remote, remote: Self.local, candidates: [Self.server], at: now,
            random: { others.next() })
        self.faults = faults
        self.isDTLSServer = isDTLSServer
        self.fingerprint = server.fingerprint
        random = SeededRandom(seed: seed)
        self.ids = SeededRandom(seed: seed &+ 3)
    }

    var isConnected: Bool { serverKeys != nil && clientKeys != nil }

    /// The client starts anew with other credentials, and keeps its DTLS association.
    func restartClient(_ local: ICECredentials, _ remote: ICECredentials) {
        var others = SeededRandom(seed: ids.next())
        ice = ICEClientAgent(
            local: local, remote: remote, candidates: [Self.server], at: now,
            random: { others.next() })
    }

    func run(for limit: Duration, until isDone: () -> Bool = { false }) throws {
        let end = now + limit
        if !isClientGone { ice.advance(to: now) }
        try drain()
        while !isDone() {
            let client = isClientGone ? [] : [ice.deadline, dtls?.deadline]
            let times = wire.map(\.due) + ([peer.deadline] + client).compactMap(\.self)
            guard let next = times.min(), next <= end else { break }
            now = max(now, next)
            let due = wire.filter { $0.due <= now }
            wire.removeAll { $0.due <= now }
            for datagram in due { deliver(datagram) }
            peer.advance(to: now)
            if !isClientGone {
                ice.advance(to: now)
                dtls?.advance(to: now)
            }
            try drain()
        }
        if !isDone() { now = end }
    }

    private func deliver(_ datagram: Datagram) {
        if datagram.to == Self.server {
            return peer.receive(datagram.bytes, from: datagram.from, at: now)
        }
        guard datagram.to == clientAddress, !isClientGone else { return }
        switch datagram.bytes.getInteger(at: datagram.bytes.readerIndex, as: UInt8.self) ?? 255 {
        case 0...3: ice.receive(datagram.bytes, from: Self.server, at: now)
        case 20...63: dtls?.receive(datagram.bytes, at: now)
        default: clientMedia.append(datagram.bytes)
        }
    }

    private func drain() throws {
        while let output = peer.pollOutput() {
            switch output {
            case .send(let bytes, let to):
                if end != nil { sentAfterEnd += 1 }
                fly(bytes, from: Self.server, to: to)
            case .selected(let address): selected.append(address)
            case .connected(let keys): serverKeys = keys
            case .rtcp(let packets): reports.append(packets)
            case .rtp(let packet): media.append(packet)
            case .ended(let reason):
                #expect(end == nil)
                end = reason
            }
        }
        guard !isClientGone else { return }
        while let output = ice.pollOutput() {
            switch output {
            case .send(let bytes, let to): fly(bytes, from: clientAddress, to: to)
            case .selected: try beginHandshake()
            case .failed: break
            }
        }
        while let output = dtls?.pollOutput() {
            switch output {
            case .send(let bytes): fly(bytes, from: clientAddress, to: Self.server)
            case .connected(let keys): clientKeys = keys
            case .failed, .closed: break
            }
        }
    }

    private func beginHandshake() throws {
        guard dtls == nil, let fingerprint else { return }
        dtls = try DTLSEndpoint(
            identity: try Self.identities.get().0, role: isDTLSServer ? .client : .server,
            expects: fingerprint, at: now)
    }

    func sendFromClient(_ bytes: ByteBuffer) {
        fly(bytes, from: clientAddress, to: Self.server)
    }

    private func fly(_ bytes: ByteBuffer, from: TransportAddress, to: TransportAddress) {
        let isTwice = Double.random(in: 0..<1, using: &random) < faults.duplication
        for _ in 0..<(isTwice ? 2 : 1)
        where Double.random(in: 0..<1, using: &random) >= faults.loss {
            let delay = Int.random(in: 1...max(1, faults.maxDelay), using: &random)
            wire.append(
                Datagram(due: now + .milliseconds(delay), bytes: bytes, from: from, to: to))
        }
    }
}

private let sent: [RTCPPacket] = [
    .receiverReport(ReceiverReport(ssrc: SSRC(rawValue: 9))),
    .pictureLoss(
        PictureLossIndication(sender: SSRC(rawValue: 9), media: SSRC(rawValue: 10))),
]

@Suite struct PeerSessionTests {
    @Test("a session connects, in either DTLS role", arguments: [true, false])
    func connects(isDTLSServer: Bool) throws {
        let network = try PeerNetwork(isDTLSServer: isDTLSServer)
        #expect(!network.peer.isConnected)
        try network.run(for: .seconds(1)) { network.isConnected }
        #expect(network.isConnected)
        #expect(network.peer.isConnected)
        #expect(network.serverKeys?.local == network.clientKeys?.remote)
        #expect(network.serverKeys?.remote == network.clientKeys?.local)
        #expect(network.selected == [network.clientAddress])
        #expect(network.peer.address == network.clientAddress)
    }

    @Test("reports and media pass both ways, forgeries and copies are counted")
    func packets() throws {
        let network = try PeerNetwork()
        network.peer.send(sent)
        try network.run(for: .seconds(1)) { network.isConnected }
        let keys = try #require(network.clientKeys)
        let sealer = try SRTCPSealer(profile: keys.profile, keys: keys.local)
        let report = try #require(sealer.seal(RTCPPacket.serialize(sent)))
        network.sendFromClient(report)
        network.sendFromClient(report)
        var forged = try #require(sealer.seal(RTCPPacket.serialize(sent)))
        forged.setInteger(UInt8(0), at: forged.writerIndex - 6)
        forged.setInteger(UInt8(0), at: forged.writerIndex - 7)
        network.sendFromClient(forged)
        network.sendFromClient(ByteBuffer(bytes: [255, 1, 2]))
        network.sendFromClient(ByteBuffer(bytes: [128]))
        network.sendFromClient(ByteBuffer())
        network.peer.send(sent)
        try network.run(for: .milliseconds(100))
        #expect(network.reports == [sent])
        #expect(network.peer.discards.srtp[.replayed] == 1)
        #expect(network.peer.discards.srtp[.forged] == 1)
        #expect(network.peer.discards.unexpected == 1)
        let opener = try SRTCPOpener(profile: keys.profile, keys: keys.remote)
        #expect(network.clientMedia.count == 1)
        let plain = try opener.open(try #require(network.clientMedia.first))
        #expect(try RTCPPacket.parse(compound: plain) == sent)
    }

    @Test("media of more sources than a peer has is refused, and a forgery takes no place")
    func sources() throws {
        let network = try PeerNetwork()
        try network.run(for: .seconds(1)) { network.isConnected }
        let keys = try #require(network.clientKeys)
        let sealer = try SRTPSealer(profile: keys.profile, keys: keys.local)
        func packet(_ ssrc: UInt32) -> ByteBuffer {
            var bytes = ByteBuffer()
            _ = bytes.writeWithUnsafeMutableBytes(minimumWritableBytes: 64) { target in
                guard let base = target.baseAddress else { return 0 }
                return [UInt8(1), 2, 3].withUnsafeBytes {
                    sealer.seal(
                        marker: true, payloadType: 96, index: 5, timestamp: 6, ssrc: ssrc,
                        payload: $0, into: base)
                }
            }
            return bytes
        }
        for ssrc in 0..<UInt32(10) {
            var forged = packet(100 + ssrc)
            forged.setInteger(UInt32(77), at: forged.writerIndex - 4)
            network.sendFromClient(forged)
        }
        try network.run(for: .milliseconds(100))
        for ssrc in 0..<UInt32(6) { network.sendFromClient(packet(ssrc)) }
        try network.run(for: .milliseconds(100))
        #expect(network.media.count == 4)
        #expect(network.peer.discards.srtp[.forged] == 10)
        #expect(network.peer.discards.srtp[.unknownSource] == 2)
    }

    @Test("nothing but ICE is taken from an address that did not prove itself")
    func strangers() throws {
        let network = try PeerNetwork()
        let stranger = TransportAddress(ipv4: 0x0A00_0099, port: 1)
        network.peer.receive(ByteBuffer(bytes: [22, 1]), from: stranger, at: network.now)
        try network.run(for: .seconds(1)) { network.isConnected }
        network.peer.receive(ByteBuffer(bytes: [22, 1]), from: stranger, at: network.now)
        network.peer.receive(
            ByteBuffer(repeating: 0x80, count: 40), from: stranger, at: network.now)
        #expect(network.peer.discards.unexpected == 3)
        #expect(network.peer.pollOutput() == nil)
    }

    @Test("a peer that never comes, one that vanishes and one with another certificate are ended")
    func ends() throws {
        let absent = try PeerNetwork()
        absent.isClientGone = true
        try absent.run(for: .seconds(30)) { absent.end != nil }
        #expect(absent.end == .neverCame)
        #expect(absent.peer.deadline == nil)

        let vanished = try PeerNetwork()
        try vanished.run(for: .seconds(60))
        #expect(vanished.end == nil)
        vanished.isClientGone = true
        let since = vanished.now
        try vanished.run(for: .seconds(30)) { vanished.end != nil }
        #expect(vanished.end == .vanished)
        #expect(vanished.now - since <= .seconds(5))
        #expect(!vanished.peer.isConnected)
        vanished.peer.send(sent)
        #expect(vanished.peer.pollOutput() == nil)

        let half = try PeerNetwork()
        try half.run(for: .seconds(1)) { half.dtls != nil }
        half.isClientGone = true
        try half.run(for: .seconds(30))
        #expect(half.end == .vanished)
        #expect(half.sentAfterEnd == 0)

        let other = try DTLSIdentity().fingerprint
        let impostor = try PeerNetwork(serverExpects: other)
        try impostor.run(for: .seconds(5)) { impostor.end != nil }
        #expect(impostor.end == .refused(.fingerprintMismatch))
        #expect(impostor.serverKeys == nil)
    }

    @Test("goodbyes end a session on both sides")
    func goodbyes() throws {
        let left = try PeerNetwork()
        try left.run(for: .seconds(1)) { left.isConnected }
        left.dtls?.close()
        try left.run(for: .seconds(1)) { left.end != nil }
        #expect(left.end == .left)
        let closed = try PeerNetwork()
        try closed.run(for: .seconds(1)) { closed.isConnected }
        closed.peer.close()
        closed.peer.close()
        try closed.run(for: .seconds(1))
        #expect(closed.end == .closed)
        let early = try PeerNetwork()
        early.peer.close()
        try early.run(for: .seconds(1))
        #expect(early.end == .closed)
        #expect(early.selected.isEmpty)
    }

    private static var seeds: Range<UInt64> {
        let text = ProcessInfo.processInfo.environment["MARSAD_SEEDS"] ?? ""
        return 0..<(UInt64(text) ?? 200)
    }

    /// Loss, copies, disorder, a new address in the middle of the handshake, a restart that nobody
    /// follows and one that the client follows from a third address.
    @Test("sessions connect and stay connected over a bad network that moves")
    func badNetwork() throws {
        for seed in Self.seeds {
            var random = SeededRandom(seed: seed &* 7919)
            let faults = PeerNetwork.Faults(
                loss: .random(in: 0...0.2, using: &random),
                duplication: .random(in: 0...0.3, using: &random),
                maxDelay: .random(in: 1...100, using: &random))
            let network = try PeerNetwork(
                seed: seed, faults: faults, isDTLSServer: Bool.random(using: &random))
            if Bool.random(using: &random) {
                let wait = Int.random(in: 1...400, using: &random)
                try network.run(for: .milliseconds(wait))
                network.clientAddress = TransportAddress(ipv4: 0x0A00_0002, port: 6001)
                if network.ice.selected == nil {
                    // Copies of a check from another address are refused; a client asks anew.
                    network.restartClient(PeerNetwork.remote, PeerNetwork.local)
                } else {
                    network.ice.renominate(at: network.now)
                }
            }
            try network.run(for: .seconds(15)) { network.isConnected }
            #expect(network.isConnected, "seed \(seed): \(String(describing: network.end))")
            #expect(network.serverKeys?.local == network.clientKeys?.remote, "seed \(seed)")

            let (local, remote) = restart("a")
            network.peer.restart(local: local, remote: remote, at: network.now)
            network.clientAddress = TransportAddress(ipv4: 0x0A00_0002, port: 6002)
            network.ice.renominate(at: network.now)
            try network.run(for: .seconds(3))
            #expect(network.peer.address == network.clientAddress, "seed \(seed)")

            let (newLocal, newRemote) = restart("b")
            network.peer.restart(local: newLocal, remote: newRemote, at: network.now)
            #expect(network.peer.acceptedFragments.contains("srvb"))
            #expect(!network.peer.acceptedFragments.contains("srva"))
            network.clientAddress = TransportAddress(ipv4: 0x0A00_0002, port: 6003)
            network.restartClient(newRemote, newLocal)
            try network.run(for: .seconds(4))
            #expect(network.peer.acceptedFragments == ["srvb"], "seed \(seed)")
            #expect(network.peer.address == network.clientAddress, "seed \(seed)")
            #expect(network.end == nil, "seed \(seed)")
            #expect(network.peer.isConnected, "seed \(seed)")

            network.isClientGone = true
            try network.run(for: .seconds(6))
            #expect(network.end == .vanished, "seed \(seed)")
            #expect(network.sentAfterEnd == 0, "seed \(seed)")
        }
    }

    private func restart(_ name: String) -> (local: ICECredentials, remote: ICECredentials) {
        (
            ICECredentials(ufrag: "srv" + name, password: Redacted("server again " + name)),
            ICECredentials(ufrag: "cli" + name, password: Redacted("client again " + name))
        )
    }
}
