// The client's side of ICE, for clients that talk to an ICE-lite server.
// SPDX-License-Identifier: Apache-2.0

package import NIOCore
package import Primitives

/// A controlling ICE agent with one socket (RFC 8445): checks the server's addresses, each check
/// nominating, takes the first that answers, and keeps the server's consent fresh (RFC 7675).
///
/// Mutate, drain `pollOutput()`, call `advance(to:)` at `deadline`, repeat.
package struct ICEClientAgent {
    /// Time between the first checks of two addresses (RFC 8445 §14.2, Ta).
    package static let pace = Duration.milliseconds(50)
    /// Time until a check is first sent again; it doubles up to `maximumRTO`.
    package static let initialRTO = Duration.milliseconds(100)
    /// The longest time between two copies of a check.
    package static let maximumRTO = Duration.milliseconds(800)
    /// Time between two questions for consent.
    package static let consentInterval = Duration.milliseconds(2500)
    /// How long after the last answer the server counts as gone.
    package static let consentLifetime = Duration.seconds(10)
    /// How many addresses of the server are tried.
    package static let maximumCandidates = 16
    private static let maximumSends = 12

    /// The server's address that answered first.
    package private(set) var selected: TransportAddress?
    /// Whether no address answered, or the selected one ceased to.
    package private(set) var hasFailed = false
    /// Datagrams passed over in silence, by reason.
    package private(set) var discarded: [ICEDiscard: UInt64] = [:]

    private let generation: ICEGeneration
    private let tieBreaker: UInt64
    private let random: () -> UInt64
    private var untried: [TransportAddress]
    private var checks: [Check] = []
    private var nextStart: Instant
    private var lastAnswer: Instant
    private var outputs: [Output] = []

    /// What the agent wants done.
    package enum Output: Equatable, Sendable {
        case send(ByteBuffer, to: TransportAddress)
        case selected(TransportAddress)
        case failed
    }

    /// One request on its way.
    private struct Check {
        let id: STUNTransactionID
        let address: TransportAddress
        let bytes: ByteBuffer
        var rto = ICEClientAgent.initialRTO
        var sends = 1
        /// When it is sent again, or given up after the last time.
        var due: Instant
    }

    /// Starts checking with the first `advance(to:)`. `random` must be unpredictable.
    package init(
        local: ICECredentials, remote: ICECredentials, candidates: [TransportAddress],
        at now: Instant, random: @escaping () -> UInt64
    ) {
        generation = ICEGeneration(local: local, remote: remote)
        tieBreaker = random()
        self.random = random
        untried = candidates.prefix(Self.maximumCandidates).reversed()
        nextStart = now
        lastAnswer = now
    }

    /// When `advance(to:)` has something to do; `nil` after a failure.
    package var deadline: Instant? {
        if hasFailed { return nil }
        var times = checks.map(\.due)
        if selected != nil {
            times += [nextStart, lastAnswer + Self.consentLifetime]
        } else if !untried.isEmpty || checks.isEmpty {
            times.append(nextStart)
        }
        return times.min()
    }

    /// Does what is due.
    package mutating func advance(to now: Instant) {
        if hasFailed { return }
        retransmit(at: now)
        if let selected {
            if now >= lastAnswer + Self.consentLifetime { return fail() }
            if now >= nextStart {
                // One question at a time: a new one replaces the one nobody answered.
                checks.removeAll(keepingCapacity: true)
                start(selected, at: now)
                nextStart = now + Self.consentInterval
            }
        } else {
            if now >= nextStart, let address = untried.popLast() {
                start(address, at: now)
                nextStart = now + Self.pace
            }
            if untried.isEmpty, checks.isEmpty { fail() }
        }
    }

    /// Nominates the selected pair at once, as after a change of the own address.
    package mutating func renominate(at now: Instant) {
        guard selected != nil, !hasFailed else { return }
        nextStart = now
        advance(to: now)
    }

    /// Takes a datagram that `STUNMessage.isSTUN` recognised.
    package mutating func receive(
        _ datagram: ByteBuffer, from address: TransportAddress, at now: Instant
    ) {
        if hasFailed { return discard(.afterEnd) }
        guard let message = try? STUNMessage(validating: datagram) else {
            return discard(.malformed)
        }
        guard message.hasFingerprint else { return discard(.missingFingerprint) }
        guard message.method == STUNMessage.binding, message.messageClass != .indication else {
            return discard(.unexpectedKind)
        }
        if message.messageClass == .request {
            answer(message, from: address)
        } else {
            receive(answer: message, from: address, at: now)
        }
    }

    /// The next thing to do, in order; `nil` when all is done.
    package mutating func pollOutput() -> Output? {
        outputs.isEmpty ? nil : outputs.removeFirst()
    }

    private mutating func answer(_ request: STUNMessage, from address: TransportAddress) {
        guard request.username == generation.incomingUsername else {
            return discard(.unknownUsername)
        }
        let password = generation.local.password
        guard request.isAuthentic(password: password) else { return discard(.wrongIntegrity) }
        let answer: STUNMessage
        if !request.notUnderstood.isEmpty {
            answer = generation.failure(420, to: request)
        } else if case .controlling = request.role {
            // This agent never gives up control (RFC 8445 §7.3.1.1).
            answer = generation.failure(487, to: request)
        } else {
            answer = generation.success(to: request, from: address)
        }
        outputs.append(.send(answer.serialize(password: password), to: address))
    }

    private mutating func receive(
        answer: STUNMessage, from address: TransportAddress, at now: Instant
    ) {
        guard
            let index = checks.firstIndex(where: {
                $0.id == answer.transactionID && $0.address == address
            })
        else { return discard(.unknownTransaction) }
        guard answer.isAuthentic(password: generation.remote.password) else {
            return discard(.wrongIntegrity)
        }
        checks.remove(at: index)
        guard answer.messageClass == .success else {
            if selected == nil, untried.isEmpty, checks.isEmpty { fail() }
            return
        }
        lastAnswer = max(lastAnswer, now)
        guard selected == nil else { return }
        selected = address
        outputs.append(.selected(address))
        // Other checks nominated their addresses too: the last word must be the chosen one's.
        nextStart = checks.isEmpty ? now + Self.consentInterval : now
        checks.removeAll()
        untried.removeAll()
    }

    private mutating func start(_ address: TransportAddress, at now: Instant) {
        let id = STUNTransactionID(random: random)
        let request = generation.request(
            id, role: .controlling(tieBreaker), isNomination: true)
        let bytes = request.serialize(password: generation.remote.password)
        checks.append(
            Check(id: id, address: address, bytes: bytes, due: now + Self.initialRTO))
        outputs.append(.send(bytes, to: address))
    }

    private mutating func retransmit(at now: Instant) {
        checks.removeAll { $0.due <= now && $0.sends >= Self.maximumSends }
        for index in checks.indices where checks[index].due <= now {
            checks[index].sends += 1
            checks[index].rto = min(checks[index].rto * 2, Self.maximumRTO)
            checks[index].due = now + checks[index].rto
            outputs.append(.send(checks[index].bytes, to: checks[index].address))
        }
    }

    private mutating func fail() {
        hasFailed = true
        checks.removeAll()
        outputs.append(.failed)
    }

    private mutating func discard(_ reason: ICEDiscard) {
        discarded[reason, default: 0] &+= 1
    }
}
