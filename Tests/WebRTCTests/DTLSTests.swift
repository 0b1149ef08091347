// DTLS between two endpoints: handshakes over good, bad and hostile networks, on a virtual clock.
// SPDX-License-Identifier: Apache-2.0

import NIOCore
import Primitives
import Testing
import WebRTC

/// Two endpoints and a network with faults between them.
private final class Pair {
    static let shared = Result { () throws(DTLSFailure) in
        (try DTLSIdentity(), try DTLSIdentity())
    }

    struct Faults {
        var loss = 0.0
        var duplication = 0.0
        var maxDelay = 20
        /// Drops the n-th datagram of all.
        var drops: Set<Int> = []
    }

    let client: DTLSEndpoint
    let server: DTLSEndpoint
    var now = Instant(nanoseconds: 0)
    var clientKeys: KeyingMaterial?
    var serverKeys: KeyingMaterial?
    var clientEnd: DTLSEndpoint.Output?
    var serverEnd: DTLSEndpoint.Output?
    var sent = 0
    var largest = 0
    private var random: SeededRandom
    private var faults: Faults
    private var flying: [(at: Instant, toServer: Bool, bytes: ByteBuffer)] = []

    init(
        seed: UInt64 = 1, faults: Faults = Faults(), clientExpects: Fingerprint? = nil,
        serverExpects: Fingerprint? = nil, identities: (DTLSIdentity, DTLSIdentity)? = nil
    ) throws {
        let (one, two) = try identities ?? Self.shared.get()
        client = try DTLSEndpoint(
            identity: one, role: .client, expects: clientExpects ?? two.fingerprint, at: now)
        server = try DTLSEndpoint(
            identity: two, role: .server, expects: serverExpects ?? one.fingerprint, at: now)
        random = SeededRandom(seed: seed)
        self.faults = faults
    }

    var isConnected: Bool { clientKeys != nil && serverKeys != nil }

    private func collect(_ endpoint: DTLSEndpoint, toServer: Bool) {
        while let output = endpoint.pollOutput() {
            switch output {
            case .send(let bytes):
                largest = max(largest, bytes.readableBytes)
                sent += 1
                fly(bytes, toServer: toServer)
            case .connected(let keys):
                if toServer { clientKeys = keys } else { serverKeys = keys }
            case .failed, .closed:
                if toServer { clientEnd = output } else { serverEnd = output }
            }
        }
    }

    private func fly(_ bytes: ByteBuffer, toServer: Bool) {
        if faults.drops.contains(sent) { return }
        if Double.random(in: 0..<1, using: &random) < faults.loss { return }
        let isTwice = Double.random(in: 0..<1, using: &random) < faults.duplication
        for _ in 0..<(isTwice ? 2 : 1) {
            let delay = Int.random(in: 1...max(1, faults.maxDelay), using: &random)
            flying.append((now + .milliseconds(delay), toServer, bytes))
        }
    }

    /// Runs until nothing happens any more, or the time is up.
    func run(for limit: Duration = .seconds(30), until isDone: () -> Bool = { false }) {
        let end = now + limit
        while !isDone() {
            collect(client, toServer: true)
            collect(server, toServer: false)
            let events = flying.map(\.at) + [client.deadline, server.deadline].compactMap { $0 }
            guard let next = events.min(), next <= end else { return }
            now = max(now, next)
            let due = flying.filter { $0.at <= now }
            flying.removeAll { $0.at <= now }
            for datagram in due {
                (datagram.toServer ? server : client).receive(datagram.bytes, at: now)
            }
            client.advance(to: now)
            server.advance(to: now)
        }
    }
}

@Suite struct DTLSTests {
    @Test("two ends agree on GCM and on each other's keys")
    func handshake() throws {
        let pair = try Pair()
        pair.run()
        let client = try #require(pair.clientKeys)
        let server = try #require(pair.serverKeys)
        #expect(client.profile == .aeadAES128GCM)
        #expect(client.local == server.remote)
        #expect(client.remote == server.local)
        #expect(client.local != client.remote)
        #expect(pair.largest <= DTLSEndpoint.maxDatagramBytes)
        #expect(pair.client.deadline == nil)
        #expect(pair.server.deadline == nil)
        // Nothing was lost and nothing was slow: nothing was sent twice.
        #expect(pair.sent <= 6)
        #expect(pair.now < Instant(nanoseconds: 100_000_000))
    }

    @Test("a handshake survives the loss of any one datagram", arguments: 1...6)
    func singleLoss(_ number: Int) throws {
        let pair = try Pair(faults: Pair.Faults(drops: [number]))
        pair.run { pair.isConnected }
        #expect(pair.isConnected)
        #expect(pair.clientKeys?.local == pair.serverKeys?.remote)
        #expect(pair.now < Instant(nanoseconds: 400_000_000))
    }

    @Test("loss, duplication and reordering do not keep two ends apart")
    func badNetwork() throws {
        var slowest = Instant(nanoseconds: 0)
        for seed in UInt64(1)...60 {
            let faults = Pair.Faults(loss: 0.2, duplication: 0.2, maxDelay: 80)
            let pair = try Pair(seed: seed, faults: faults)
            pair.run { pair.isConnected }
            #expect(pair.isConnected, "seed \(seed)")
            #expect(pair.clientKeys?.local == pair.serverKeys?.remote, "seed \(seed)")
            slowest = max(slowest, pair.now)
        }
        #expect(slowest < Instant(nanoseconds: 10_000_000_000))
    }

    @Test("the wrong certificate gives no keys, whoever has it")
    func fingerprints() throws {
        let other = try DTLSIdentity().fingerprint
        let atServer = try Pair(serverExpects: other)
        atServer.run()
        #expect(atServer.serverEnd == .failed(.fingerprintMismatch))
        #expect(atServer.serverKeys == nil)
        let atClient = try Pair(clientExpects: other)
        atClient.run()
        #expect(atClient.clientEnd == .failed(.fingerprintMismatch))
        #expect(atClient.clientKeys == nil)
        #expect(!atClient.isConnected)
        guard case .failed(.alert) = atClient.serverEnd else {
            Issue.record("the server was not told: \(String(describing: atClient.serverEnd))")
            return
        }
    }

    @Test("a peer without GCM gets AES-CM, one without either gets nothing")
    func profiles() throws {
        let both = try DTLSIdentity()
        let old = try DTLSIdentity(profiles: [.aes128CMHMACSHA1x80])
        let pair = try Pair(identities: (old, both))
        pair.run()
        #expect(pair.serverKeys?.profile == .aes128CMHMACSHA1x80)
        #expect(pair.clientKeys?.local == pair.serverKeys?.remote)
        #expect(pair.clientKeys?.remote == pair.serverKeys?.local)
        let new = try DTLSIdentity(profiles: [.aeadAES128GCM])
        let strangers = try Pair(identities: (old, new))
        strangers.run()
        #expect(strangers.serverEnd == .failed(.noCommonProfile))
        #expect(strangers.serverKeys == nil)
        #expect(strangers.clientKeys == nil)
    }

    @Test("an end says goodbye and the other hears it")
    func goodbye() throws {
        let pair = try Pair()
        pair.run()
        pair.server.close()
        pair.run()
        #expect(pair.clientEnd == .closed)
        #expect(pair.serverEnd == nil)
        pair.server.close()
        #expect(pair.server.pollOutput() == nil)
    }

    @Test("a peer that never answers is given up, after few datagrams")
    func silence() throws {
        let pair = try Pair(faults: Pair.Faults(loss: 1))
        #expect(pair.server.deadline == nil)
        pair.run()
        #expect(pair.clientEnd == .failed(.timedOut))
        #expect(pair.sent == 7)
        #expect(pair.now == Instant(nanoseconds: 10_000_000_000))
    }

    @Test("garbage neither ends a handshake nor an association")
    func garbage() throws {
        var random = SeededRandom(seed: 3)
        let pair = try Pair()
        func throwGarbage(count: Int) {
            for _ in 0..<count {
                let size = Int.random(in: 0...1500, using: &random)
                var bytes = (0..<size).map { _ in UInt8.random(in: 0...255, using: &random) }
                // Of an epoch that nobody uses, so that no byte of it is trusted.
                if size > 5 { bytes.replaceSubrange(0..<5, with: [22, 254, 253, 7, 7]) }
                pair.server.receive(ByteBuffer(bytes: bytes), at: pair.now)
                pair.client.receive(ByteBuffer(bytes: bytes), at: pair.now)
            }
        }
        throwGarbage(count: 200)
        pair.run { pair.isConnected }
        #expect(pair.isConnected)
        throwGarbage(count: 200)
        pair.run()
        #expect(pair.clientEnd == nil)
        #expect(pair.serverEnd == nil)
    }

    @Test("mutated handshakes never trap and never connect to other keys")
    func mutations() throws {
        let (one, two) = try Pair.shared.get()
        var random = SeededRandom(seed: 11)
        let now = Instant(nanoseconds: 0)
        for _ in 0..<150 {
            let client = try DTLSEndpoint(
                identity: one, role: .client, expects: two.fingerprint, at: now)
            let server = try DTLSEndpoint(
                identity: two, role: .server, expects: one.fingerprint, at: now)
            var keys: [KeyingMaterial] = []
            for _ in 0..<6 {
                for (from, to) in [(client, server), (server, client)] {
                    while let output = from.pollOutput() {
                        if case .connected(let material) = output { keys.append(material) }
                        guard case .send(var bytes) = output else { continue }
                        for _ in 0..<Int.random(in: 0...2, using: &random) {
                            let at = Int.random(in: 0..<bytes.readableBytes, using: &random)
                            bytes.setInteger(UInt8.random(in: 0...255, using: &random), at: at)
                        }
                        to.receive(bytes, at: now)
                    }
                }
            }
            if keys.count == 2 { #expect(keys[0].local == keys[1].remote) }
        }
    }

    @Test("a ClientHello in fragments, out of order, is understood")
    func fragments() throws {
        let (one, two) = try Pair.shared.get()
        let now = Instant(nanoseconds: 0)
        let client = try DTLSEndpoint(
            identity: one, role: .client, expects: two.fingerprint, at: now)
        let server = try DTLSEndpoint(
            identity: two, role: .server, expects: one.fingerprint, at: now)
        guard case .send(let hello) = client.pollOutput() else {
            Issue.record("no ClientHello")
            return
        }
        let body = Array(hello.readableBytesView.dropFirst(25))
        let pieces = stride(from: 0, to: body.count, by: 50).map { start in
            (start, Array(body[start..<min(start + 50, body.count)]))
        }
        #expect(pieces.count >= 3)
        for (number, (start, piece)) in pieces.enumerated().reversed() {
            // Record header, then handshake header (RFC 6347 §4.1 and §4.2.2).
            var bytes = ByteBuffer(bytes: [22, 254, 253, 0, 0, 0, 0, 0, 0, 0, UInt8(number)])
            bytes.writeInteger(UInt16(12 + piece.count))
            bytes.writeBytes([1, 0, 0, UInt8(body.count), 0, 0])
            bytes.writeBytes([0, 0, UInt8(start), 0, 0, UInt8(piece.count)])
            bytes.writeBytes(piece)
            server.receive(bytes, at: now)
        }
        guard case .send(let flight) = server.pollOutput() else {
            Issue.record("no answer to a fragmented ClientHello")
            return
        }
        client.receive(flight, at: now)
        #expect(client.pollOutput() != nil)
    }

    @Test("what is not DTLS is not looked at")
    func foreign() throws {
        let pair = try Pair()
        for bytes: [UInt8] in [[], [0, 1, 0, 0], [0x80, 96], [64, 0]] {
            pair.server.receive(ByteBuffer(bytes: bytes), at: pair.now)
        }
        pair.server.receive(ByteBuffer(repeating: 22, count: 20_000), at: pair.now)
        #expect(pair.server.deadline == nil)
        #expect(pair.server.pollOutput() == nil)
    }

    @Test("keys of a handshake seal and open media both ways")
    func media() throws {
        let pair = try Pair()
        pair.run()
        let client = try #require(pair.clientKeys)
        let server = try #require(pair.serverKeys)
        let sealer = try SRTCPSealer(profile: client.profile, keys: client.local)
        let opener = try SRTCPOpener(profile: server.profile, keys: server.remote)
        let report = ByteBuffer(bytes: [0x80, 201, 0, 1, 0, 0, 0, 7])
        #expect(try opener.open(try #require(sealer.seal(report))) == report)
    }
}

@Suite struct FingerprintTests {
    @Test("a fingerprint is read in either case and written in upper case")
    func text() throws {
        let own = try DTLSIdentity().fingerprint
        #expect(own.algorithm == .sha256)
        #expect(own.text.count == 95)
        #expect(Fingerprint(parsing: own.attribute) == own)
        #expect(Fingerprint(parsing: "SHA-256 " + own.text.lowercased()) == own)
    }

    @Test(
        "other hashes, sizes and texts are refused",
        arguments: [
            "", "sha-256", "sha-256 ", "sha-1 AA:BB", "sha-256 AB:CD",
            "sha-256 " + String(repeating: "AB:", count: 32),
            "sha-256 " + String(repeating: "GG:", count: 31) + "GG",
            "sha-256 " + String(repeating: "A:B", count: 31) + "AB",
            "sha-384 " + String(repeating: "AB:", count: 31) + "AB",
        ])
    func refused(_ text: String) {
        #expect(Fingerprint(parsing: text) == nil)
    }
}
