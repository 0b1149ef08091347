// The server's side of ICE: answers checks, follows the viewer, notices when it is gone.
// SPDX-License-Identifier: Apache-2.0

package import NIOCore
package import Primitives

/// An ICE-lite agent (RFC 8445 §2.5): one component, always controlled, any number of remote
/// addresses.
///
/// It speaks only to a peer that proves to know the password, and answers with fewer bytes than it
/// was asked with. Mutate, drain `pollOutput()`, call `advance(to:)` at `deadline`, repeat.
package struct ICELiteAgent {
    /// How long a session waits for its first valid request.
    package static let firstRequestTimeout = Duration.seconds(10)
    /// How long the peer may be silent before it is asked whether it still wants the packets.
    package static let probeAfter = Duration.seconds(3)
    /// Time between two such questions.
    package static let probeInterval = Duration.milliseconds(500)
    /// How long after the last sign of life nothing more is sent (RFC 7675 §5.1 allows 30 s).
    package static let consentLifetime = Duration.seconds(5)

    /// The address that packets go to: nominated, or until then where the first valid request
    /// came from.
    package private(set) var selected: TransportAddress?
    /// Whether the peer has nominated `selected`.
    package private(set) var isNominated = false
    /// Whether consent was lost or never came; nothing is answered any more.
    package private(set) var hasEnded = false
    /// Datagrams passed over in silence, by reason.
    package private(set) var discarded: [ICEDiscard: UInt64] = [:]

    private var current: ICEGeneration
    /// Credentials of a restart that the peer has not yet followed.
    private var next: ICEGeneration?
    private let tieBreaker: UInt64
    private let random: () -> UInt64
    private let started: Instant
    private var life: Life
    private var recent = RecentRequests()
    private var outputs: [Output] = []

    /// What the agent wants done.
    package enum Output: Equatable, Sendable {
        case send(ByteBuffer, to: TransportAddress)
        /// Packets go here from now on.
        case selected(TransportAddress)
        /// No sign of life for too long: send nothing more.
        case consentLost
        /// No valid request came at all.
        case timedOut
    }

    /// The signs of life, and the questions asked since the last one.
    private struct Life {
        var lastSign: Instant
        var nextProbe: Instant
        var firstProbe: Instant?
        var probes: [(id: STUNTransactionID, to: TransportAddress)] = []
        /// Answers to later questions than the last few are of no interest.
        static let maximumProbes = 8

        init(at now: Instant) {
            lastSign = now
            nextProbe = now + ICELiteAgent.probeAfter
        }

        /// When consent ends. Never without a question: if this process slept for five seconds,
        /// the peer is not to blame.
        var end: Instant? {
            firstProbe.map {
                max(lastSign + ICELiteAgent.consentLifetime, $0 + ICELiteAgent.probeInterval)
            }
        }
    }

    /// The last requests and where each came from. A network that delivers a nomination a second
    /// time, late, must not move the session back, and nobody can point it elsewhere with a copy.
    private struct RecentRequests {
        private var entries: [(id: STUNTransactionID, from: TransportAddress)] = []
        private var oldest = 0
        private static let maximum = 32

        func source(of id: STUNTransactionID) -> TransportAddress? {
            entries.first { $0.id == id }?.from
        }

        mutating func insert(_ id: STUNTransactionID, from address: TransportAddress) {
            if entries.count < Self.maximum {
                entries.append((id, address))
            } else {
                entries[oldest] = (id, address)
                oldest = (oldest + 1) % Self.maximum
            }
        }
    }

    /// A session that waits for its first check. `random` must be unpredictable.
    package init(
        local: ICECredentials, remote: ICECredentials, at now: Instant,
        random: @escaping () -> UInt64
    ) {
        current = ICEGeneration(local: local, remote: remote)
        tieBreaker = random()
        self.random = random
        started = now
        life = Life(at: now)
    }

    /// The credentials in use: after a restart still the old ones, until the peer nominates with
    /// the new ones.
    package var local: ICECredentials { current.local }

    /// The fragments that requests to this session may carry.
    package var acceptedFragments: [String] {
        [current.local.ufrag] + (next.map { [$0.local.ufrag] } ?? [])
    }

    /// When `advance(to:)` has something to do; `nil` after the end.
    package var deadline: Instant? {
        if hasEnded { return nil }
        guard selected != nil else { return started + Self.firstRequestTimeout }
        return life.end.map { min($0, life.nextProbe) } ?? life.nextProbe
    }

    /// Takes a datagram that `STUNMessage.isSTUN` recognised.
    package mutating func receive(
        _ datagram: ByteBuffer, from address: TransportAddress, at now: Instant
    ) {
        if hasEnded { return discard(.afterEnd) }
        guard let message = try? STUNMessage(validating: datagram) else {
            return discard(.malformed)
        }
        guard message.hasFingerprint else { return discard(.missingFingerprint) }
        guard message.method == STUNMessage.binding else { return discard(.unexpectedKind) }
        switch message.messageClass {
        case .request: receive(request: message, from: address, at: now)
        case .success: receive(answer: message, from: address, at: now)
        case .failure, .indication: discard(.unexpectedKind)
        }
    }

    /// Notes authenticated traffic (DTLS, SRTCP, SRTP); from the selected address it is a sign of
    /// life.
    package mutating func noteActivity(from address: TransportAddress, at now: Instant) {
        if address == selected, !hasEnded { noteSign(at: now) }
    }

    /// Starts an ICE restart (RFC 8445 §9): the new credentials are accepted from now on, and the
    /// old pair goes on until the peer nominates one with them.
    package mutating func restart(
        local: ICECredentials, remote: ICECredentials, at now: Instant
    ) {
        if !hasEnded { next = ICEGeneration(local: local, remote: remote) }
    }

    /// Does what is due.
    package mutating func advance(to now: Instant) {
        guard let deadline, now >= deadline else { return }
        guard let selected else { return end(.timedOut) }
        if let last = life.end, now >= last { return end(.consentLost) }
        probe(selected, at: now)
    }

    /// The next thing to do, in order; `nil` when all is done.
    package mutating func pollOutput() -> Output? {
        outputs.isEmpty ? nil : outputs.removeFirst()
    }

    // MARK: Requests

    private mutating func receive(
        request: STUNMessage, from address: TransportAddress, at now: Instant
    ) {
        let generation: ICEGeneration
        let isRestart: Bool
        if request.username == current.incomingUsername {
            (generation, isRestart) = (current, false)
        } else if let next, request.username == next.incomingUsername {
            (generation, isRestart) = (next, true)
        } else {
            return discard(.unknownUsername)
        }
        guard request.isAuthentic(password: generation.local.password) else {
            return discard(.wrongIntegrity)
        }
        let source = recent.source(of: request.transactionID)
        guard source == nil || source == address else { return discard(.replayed) }
        let answer = answer(to: request, from: address, by: generation)
        outputs.append(.send(answer.serialize(password: generation.local.password), to: address))
        guard answer.messageClass == .success else { return }
        if source == nil {
            recent.insert(request.transactionID, from: address)
            follow(request, from: address, isRestart: isRestart)
        }
        if address == selected { noteSign(at: now) }
    }

    private func answer(
        to request: STUNMessage, from address: TransportAddress, by generation: ICEGeneration
    ) -> STUNMessage {
        if !request.notUnderstood.isEmpty { return generation.failure(420, to: request) }
        // A lite agent never controls, whatever the tie-breakers say: the peer has to change
        // roles (RFC 8445 §7.3.1.1).
        if case .controlled = request.role { return generation.failure(487, to: request) }
        return generation.success(to: request, from: address)
    }

    /// Follows the nominations of the peer, and before the first one its first request.
    private mutating func follow(
        _ request: STUNMessage, from address: TransportAddress, isRestart: Bool
    ) {
        guard request.isNomination || selected == nil else { return }
        if isRestart, let next {
            current = next
            self.next = nil
        }
        isNominated = request.isNomination
        if selected != address {
            selected = address
            outputs.append(.selected(address))
        }
    }

    // MARK: Consent

    private mutating func receive(
        answer: STUNMessage, from address: TransportAddress, at now: Instant
    ) {
        guard life.probes.contains(where: { $0.id == answer.transactionID && $0.to == address })
        else { return discard(.unknownTransaction) }
        guard answer.isAuthentic(password: current.remote.password) else {
            return discard(.wrongIntegrity)
        }
        if address == selected { noteSign(at: now) }
    }

    private mutating func noteSign(at now: Instant) {
        guard now >= life.lastSign else { return }
        life.lastSign = now
        life.nextProbe = now + Self.probeAfter
        life.firstProbe = nil
        life.probes.removeAll(keepingCapacity: true)
    }

    /// Asks whether the peer still wants the packets (RFC 7675 §5.1).
    private mutating func probe(_ address: TransportAddress, at now: Instant) {
        let id = STUNTransactionID(random: random)
        if life.probes.count >= Life.maximumProbes { life.probes.removeFirst() }
        life.probes.append((id, address))
        life.firstProbe = life.firstProbe ?? now
        life.nextProbe = now + Self.probeInterval
        let request = current.request(id, role: .controlled(tieBreaker), isNomination: false)
        outputs.append(.send(request.serialize(password: current.remote.password), to: address))
    }

    private mutating func end(_ output: Output) {
        hasEnded = true
        outputs.append(output)
    }

    private mutating func discard(_ reason: ICEDiscard) {
        discarded[reason, default: 0] &+= 1
    }
}
