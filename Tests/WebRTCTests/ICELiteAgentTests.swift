// ICE-lite: what is answered, what is followed, and when a viewer counts as gone.
// SPDX-License-Identifier: Apache-2.0

import NIOCore
import Primitives
import Testing
import WebRTC

/// A server's agent and the requests of its peer, by hand.
struct ICELiteBench {
    static let local = ICECredentials(ufrag: "server", password: Redacted("server password"))
    static let remote = ICECredentials(ufrag: "viewer", password: Redacted("viewer password"))
    static let newLocal = ICECredentials(ufrag: "server2", password: Redacted("second server"))
    static let newRemote = ICECredentials(ufrag: "viewer2", password: Redacted("second viewer"))
    static let first = TransportAddress(ipv4: 0xC000_0201, port: 1111)
    static let second = TransportAddress(ipv4: 0xC000_0201, port: 2222)

    var agent: ICELiteAgent
    private var transactions: UInt64 = 0

    init() {
        var counter: UInt64 = 0
        agent = ICELiteAgent(
            local: Self.local, remote: Self.remote, at: Self.at(0),
            random: {
                counter += 1
                return counter
            })
    }

    static func at(_ milliseconds: Int64) -> Instant {
        Instant(nanoseconds: milliseconds * 1_000_000)
    }

    mutating func request(
        nominates: Bool = false, role: STUNMessage.Role? = .controlling(1),
        username: String = "server:viewer", password: Redacted<String> = local.password
    ) -> ByteBuffer {
        transactions += 1
        var message = STUNMessage(
            .request, transactionID: STUNTransactionID(upper: 1, lower: transactions))
        message.username = username
        message.priority = 1
        message.role = role
        message.isNomination = nominates
        return message.serialize(password: password)
    }

    mutating func receive(
        _ bytes: ByteBuffer, from address: TransportAddress = first, at milliseconds: Int64 = 0
    ) -> [ICELiteAgent.Output] {
        agent.receive(bytes, from: address, at: Self.at(milliseconds))
        return drain()
    }

    mutating func advance(_ milliseconds: Int64) -> [ICELiteAgent.Output] {
        agent.advance(to: Self.at(milliseconds))
        return drain()
    }

    mutating func drain() -> [ICELiteAgent.Output] {
        var outputs: [ICELiteAgent.Output] = []
        while let output = agent.pollOutput() { outputs.append(output) }
        return outputs
    }

    /// The one message that is sent, read back.
    static func sent(_ outputs: [ICELiteAgent.Output]) throws -> STUNMessage {
        let messages = outputs.compactMap { output in
            if case .send(let bytes, _) = output { bytes } else { nil }
        }
        #expect(messages.count == 1)
        return try STUNMessage(validating: try #require(messages.first))
    }
}

@Suite struct ICELiteAgentTests {
    private typealias Bench = ICELiteBench

    @Test("a valid check is answered with its address, and selects it until one is nominated")
    func answers() throws {
        var bench = Bench()
        let outputs = bench.receive(bench.request())
        let answer = try Bench.sent(outputs)
        #expect(answer.messageClass == .success)
        #expect(answer.mappedAddress == Bench.first)
        #expect(answer.transactionID == STUNTransactionID(upper: 1, lower: 1))
        #expect(answer.hasFingerprint)
        #expect(answer.isAuthentic(password: Bench.local.password))
        #expect(outputs.last == .selected(Bench.first))
        #expect(!bench.agent.isNominated)
        // A second address is answered, but only a nomination moves the session.
        #expect(bench.receive(bench.request(), from: Bench.second).count == 1)
        #expect(bench.agent.selected == Bench.first)
        let nomination = bench.receive(bench.request(nominates: true), from: Bench.second)
        #expect(nomination.last == .selected(Bench.second))
        #expect(bench.agent.isNominated)
    }

    @Test("a viewer that changes its address keeps its session")
    func moves() {
        var bench = Bench()
        _ = bench.receive(bench.request(nominates: true))
        let outputs = bench.receive(bench.request(nominates: true), from: Bench.second, at: 900)
        #expect(outputs.last == .selected(Bench.second))
        // Nominating the same address again is no news.
        #expect(bench.receive(bench.request(nominates: true), from: Bench.second).count == 1)
    }

    @Test("everything that is not a valid check meets silence and a counter")
    func silence() {
        var bench = Bench()
        var stripped = bench.request()
        stripped.moveWriterIndex(to: stripped.writerIndex - 8)
        stripped.setInteger(UInt16(stripped.readableBytes - 20), at: 2)
        let id = STUNTransactionID(upper: 9, lower: 9)
        let inputs: [(ByteBuffer, ICEDiscard)] = [
            (ByteBuffer(bytes: [0, 1, 0, 0]), .malformed),
            (stripped, .missingFingerprint),
            (bench.request(username: "other:viewer"), .unknownUsername),
            (bench.request(username: "server:other"), .unknownUsername),
            (bench.request(password: Redacted("guess")), .wrongIntegrity),
            (STUNMessage(.indication, transactionID: id).serialize(password: nil), .unexpectedKind),
            (
                STUNMessage(.request, method: 3, transactionID: id).serialize(password: nil),
                .unexpectedKind
            ),
            (
                STUNMessage(.success, transactionID: id).serialize(password: nil),
                .unknownTransaction
            ),
        ]
        for (bytes, reason) in inputs {
            let before = bench.agent.discarded[reason] ?? 0
            #expect(bench.receive(bytes).isEmpty, "\(reason)")
            #expect(bench.agent.discarded[reason] == before + 1)
        }
        #expect(bench.agent.selected == nil)
    }

    @Test("no answer is longer than its request")
    func amplification() throws {
        let from = try #require(TransportAddress(host: "2001:db8::1", port: 9))
        for role: STUNMessage.Role? in [nil, .controlling(0), .controlled(0)] {
            var bench = Bench()
            let request = bench.request(role: role)
            guard case .send(let answer, _) = bench.receive(request, from: from).first else {
                Issue.record("no answer")
                continue
            }
            #expect(answer.readableBytes <= request.readableBytes)
        }
    }

    @Test("a peer that means to be controlled is told of the conflict and selects nothing")
    func roleConflict() throws {
        var bench = Bench()
        let answer = try Bench.sent(
            bench.receive(bench.request(nominates: true, role: .controlled(5))))
        #expect(answer.messageClass == .failure)
        #expect(answer.errorCode == 487)
        #expect(answer.isAuthentic(password: Bench.local.password))
        #expect(bench.agent.selected == nil)
    }

    @Test("an attribute that must be understood and is not gets a 420 that names it")
    func unknownAttribute() throws {
        var bench = Bench()
        // Made with Python's hmac and zlib: USERNAME, 0x7001 (below 0x8000: must be understood,
        // RFC 8489 §14), USE-CANDIDATE, MESSAGE-INTEGRITY, FINGERPRINT.
        let request = ByteBuffer(bytes: [
            0x00, 0x01, 0x00, 0x40, 0x21, 0x12, 0xA4, 0x42, 0x00, 0x01, 0x02, 0x03, 0x04, 0x05,
            0x06, 0x07, 0x08, 0x09, 0x0A, 0x0B, 0x00, 0x06, 0x00, 0x0D, 0x73, 0x65, 0x72, 0x76,
            0x65, 0x72, 0x3A, 0x76, 0x69, 0x65, 0x77, 0x65, 0x72, 0x00, 0x00, 0x00, 0x70, 0x01,
            0x00, 0x01, 0x3F, 0x00, 0x00, 0x00, 0x00, 0x25, 0x00, 0x00, 0x00, 0x08, 0x00, 0x14,
            0x12, 0x6C, 0x8E, 0x32, 0xDF, 0x80, 0x2C, 0xA1, 0xED, 0xD5, 0xEA, 0x28, 0x32, 0xF4,
            0x05, 0x69, 0xAF, 0x74, 0xDC, 0x03, 0x80, 0x28, 0x00, 0x04, 0x95, 0xC7, 0x63, 0xF4,
        ])
        let answer = try Bench.sent(bench.receive(request))
        #expect(answer.errorCode == 420)
        #expect(answer.unknownAttributes == [0x7001])
        #expect(answer.isAuthentic(password: Bench.local.password))
        #expect(bench.agent.selected == nil)
    }

    @Test("a late copy of a nomination does not move the session back, nor does a stolen one")
    func replays() {
        var bench = Bench()
        let old = bench.request(nominates: true)
        _ = bench.receive(old)
        _ = bench.receive(bench.request(nominates: true), from: Bench.second)
        // The copy from the same address is answered as a retransmission is, without effect.
        #expect(bench.receive(old).count == 1)
        #expect(bench.agent.selected == Bench.second)
        #expect(bench.receive(old, from: TransportAddress(ipv4: 1, port: 1)).isEmpty)
        #expect(bench.agent.discarded == [.replayed: 1])
    }

    @Test("a session without a valid check ends after ten seconds, once")
    func timeout() {
        var bench = Bench()
        #expect(bench.agent.deadline == Bench.at(10_000))
        _ = bench.receive(bench.request(password: Redacted("guess")), at: 9000)
        #expect(bench.advance(9999).isEmpty)
        #expect(bench.advance(10_000) == [.timedOut])
        #expect(bench.agent.deadline == nil)
        #expect(bench.advance(20_000).isEmpty)
        #expect(bench.receive(bench.request(), at: 20_000).isEmpty)
        #expect(bench.agent.discarded[.afterEnd] == 1)
    }

    @Test("a silent viewer is asked after three seconds and gone after five")
    func consent() throws {
        var bench = Bench()
        _ = bench.receive(bench.request(nominates: true), at: 1000)
        var asked: [Int64] = []
        var now: Int64 = 1000
        while let deadline = bench.agent.deadline {
            now = deadline.nanoseconds / 1_000_000
            let outputs = bench.advance(now)
            if outputs == [.consentLost] { break }
            let probe = try Bench.sent(outputs)
            #expect(probe.username == "viewer:server")
            #expect(probe.isAuthentic(password: Bench.remote.password))
            guard case .controlled = probe.role else {
                Issue.record("the probe claims \(String(describing: probe.role))")
                break
            }
            asked.append(now)
        }
        #expect(asked == [4000, 4500, 5000, 5500])
        #expect(now == 6000)
        #expect(bench.agent.hasEnded)
    }

    @Test("an answer to the question is a sign of life; a forged or foreign one is not")
    func probeAnswers() throws {
        var bench = Bench()
        _ = bench.receive(bench.request(nominates: true))
        let probe = try Bench.sent(bench.advance(3000))
        let answer = STUNMessage(.success, transactionID: probe.transactionID)
        _ = bench.receive(answer.serialize(password: Redacted("guess")), at: 3100)
        _ = bench.receive(answer.serialize(password: nil), at: 3100)
        #expect(bench.agent.discarded[.wrongIntegrity] == 2)
        let signed = answer.serialize(password: Bench.remote.password)
        _ = bench.receive(signed, from: Bench.second, at: 3100)
        #expect(bench.agent.discarded[.unknownTransaction] == 1)
        #expect(bench.agent.deadline == Bench.at(3500))
        _ = bench.receive(signed, at: 3200)
        #expect(bench.agent.deadline == Bench.at(6200))
        // It counts once.
        _ = bench.receive(signed, at: 5000)
        #expect(bench.agent.deadline == Bench.at(6200))
    }

    @Test("checks and authenticated traffic from the selected address are signs of life")
    func activity() {
        var bench = Bench()
        _ = bench.receive(bench.request(nominates: true))
        bench.agent.noteActivity(from: Bench.first, at: Bench.at(2000))
        #expect(bench.agent.deadline == Bench.at(5000))
        bench.agent.noteActivity(from: Bench.second, at: Bench.at(2500))
        _ = bench.receive(bench.request(), from: Bench.second, at: 2600)
        #expect(bench.agent.deadline == Bench.at(5000))
        _ = bench.receive(bench.request(), at: 2700)
        #expect(bench.agent.deadline == Bench.at(5700))
        // Time that runs backwards takes nothing away.
        bench.agent.noteActivity(from: Bench.first, at: Bench.at(100))
        #expect(bench.agent.deadline == Bench.at(5700))
    }

    @Test("a process that slept asks once before it gives a viewer up")
    func sleptThrough() {
        var bench = Bench()
        _ = bench.receive(bench.request(nominates: true))
        #expect(bench.advance(60_000).count == 1)
        #expect(!bench.agent.hasEnded)
        #expect(bench.advance(60_500) == [.consentLost])
    }

    @Test("a restart keeps the old pair until the peer nominates with the new credentials")
    func restart() throws {
        var bench = Bench()
        _ = bench.receive(bench.request(nominates: true))
        bench.agent.restart(local: Bench.newLocal, remote: Bench.newRemote, at: Bench.at(100))
        #expect(bench.agent.acceptedFragments == ["server", "server2"])
        #expect(bench.receive(bench.request(), at: 200).count == 1)
        // Checked with the new credentials, not yet nominated.
        let check = bench.request(
            username: "server2:viewer2", password: Bench.newLocal.password)
        let answer = try Bench.sent(bench.receive(check, from: Bench.second, at: 300))
        #expect(answer.isAuthentic(password: Bench.newLocal.password))
        #expect(bench.agent.selected == Bench.first)
        #expect(bench.agent.local == Bench.local)
        // The old passwords do not sign for the new fragments.
        let mixed = bench.request(username: "server2:viewer2")
        #expect(bench.receive(mixed, from: Bench.second).isEmpty)
        let nomination = bench.request(
            nominates: true, username: "server2:viewer2", password: Bench.newLocal.password)
        let outputs = bench.receive(nomination, from: Bench.second, at: 400)
        #expect(outputs.last == .selected(Bench.second))
        #expect(bench.agent.local == Bench.newLocal)
        #expect(bench.agent.acceptedFragments == ["server2"])
        #expect(bench.receive(bench.request(nominates: true)).isEmpty)
        #expect(bench.agent.discarded[.unknownUsername] == 1)
        // Questions are asked with the new ones too.
        let probe = try Bench.sent(bench.advance(3400))
        #expect(probe.username == "viewer2:server2")
        #expect(probe.isAuthentic(password: Bench.newRemote.password))
    }

    @Test("a restart before the first check takes the place of the start")
    func earlyRestart() throws {
        var bench = Bench()
        bench.agent.restart(local: Bench.newLocal, remote: Bench.newRemote, at: Bench.at(100))
        let check = bench.request(
            username: "server2:viewer2", password: Bench.newLocal.password)
        #expect(bench.receive(check, at: 200).last == .selected(Bench.first))
        #expect(bench.agent.acceptedFragments == ["server2"])
        #expect(try Bench.sent(bench.advance(3200)).username == "viewer2:server2")
    }

    @Test("a restart that the peer never follows leaves the session alone")
    func staleRestart() {
        var bench = Bench()
        _ = bench.receive(bench.request(nominates: true))
        bench.agent.restart(local: Bench.newLocal, remote: Bench.newRemote, at: Bench.at(100))
        bench.agent.restart(
            local: ICECredentials(ufrag: "server3", password: Redacted("third")),
            remote: Bench.newRemote, at: Bench.at(200))
        #expect(bench.agent.acceptedFragments == ["server", "server3"])
        for second in Int64(1)..<20 {
            #expect(bench.receive(bench.request(nominates: true), at: second * 1000).count == 1)
        }
        #expect(bench.agent.selected == Bench.first)
        #expect(!bench.agent.hasEnded)
    }

    @Test("fresh credentials have the characters and length of RFC 8445, and hide the password")
    func credentials() {
        var random = SeededRandom(seed: 8445)
        let made = ICECredentials(random: { random.next() })
        #expect(made.ufrag.utf8.count == 8)
        let password = made.password.reveal()
        #expect(password.utf8.count == 24)
        let allowed = Set(
            "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")
        #expect((made.ufrag + password).allSatisfy(allowed.contains))
        #expect(!"\(made)".contains(password))
        #expect(ICECredentials(random: { random.next() }) != made)
    }

    @Test("mutated checks never trap, select or stay without a counter")
    func sweep() {
        var random = SeededRandom(seed: 445)
        var bench = Bench()
        let source = bench.request(nominates: true)
        for _ in 0..<3000 {
            var changed = source
            for _ in 0..<Int.random(in: 1...3, using: &random) {
                let place = Int.random(in: 0..<source.readableBytes, using: &random)
                changed.setInteger(UInt8.random(in: 0...255, using: &random), at: place)
            }
            if changed != source { #expect(bench.receive(changed).isEmpty) }
        }
        #expect(bench.agent.selected == nil)
    }
}
