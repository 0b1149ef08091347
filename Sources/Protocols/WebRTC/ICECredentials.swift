// The user fragment and password of one side of ICE, and the requests and answers made with them.
// SPDX-License-Identifier: Apache-2.0

package import Primitives

/// A user fragment and its password (RFC 8445 §5.3).
package struct ICECredentials: Hashable, Sendable {
    /// Names the agent in a check's USERNAME; not a secret.
    package var ufrag: String
    /// Signs the checks that are sent to this agent.
    package var password: Redacted<String>

    package init(ufrag: String, password: Redacted<String>) {
        self.ufrag = ufrag
        self.password = password
    }

    /// Fresh ones, of 48 and 144 bits (RFC 8445 asks for 24 and 128); the source must be one for
    /// keys.
    package init(random: () -> UInt64) {
        self.init(
            ufrag: Self.text(8, random: random), password: Redacted(Self.text(24, random: random)))
    }

    private static func text(_ count: Int, random: () -> UInt64) -> String {
        let alphabet = Array(
            "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)
        let characters = (0..<count).map { _ in alphabet[Int(random() & 63)] }
        return String(decoding: characters, as: UTF8.self)
    }
}

/// Both sides' credentials between one start and the next restart (RFC 8445 §2.4).
struct ICEGeneration {
    let local: ICECredentials
    let remote: ICECredentials
    /// USERNAME of the requests that come in.
    let incomingUsername: String
    /// USERNAME of the requests that go out.
    let outgoingUsername: String

    init(local: ICECredentials, remote: ICECredentials) {
        self.local = local
        self.remote = remote
        incomingUsername = local.ufrag + ":" + remote.ufrag
        outgoingUsername = remote.ufrag + ":" + local.ufrag
    }

    /// A Binding request to the peer. The priority is that of a peer-reflexive candidate of one
    /// component (RFC 8445 §5.1.2), as an address that only the peer sees would have.
    func request(
        _ transaction: STUNTransactionID, role: STUNMessage.Role, isNomination: Bool
    ) -> STUNMessage {
        var message = STUNMessage(.request, transactionID: transaction)
        message.username = outgoingUsername
        message.priority = 110 << 24 | 65_535 << 8 | 255
        message.role = role
        message.isNomination = isNomination
        return message
    }

    /// The answer to a request that was found valid.
    func success(to request: STUNMessage, from address: TransportAddress) -> STUNMessage {
        var message = STUNMessage(.success, transactionID: request.transactionID)
        message.mappedAddress = address
        return message
    }

    /// An answer that refuses a request whose integrity was found right.
    func failure(_ code: UInt16, to request: STUNMessage) -> STUNMessage {
        var message = STUNMessage(.failure, transactionID: request.transactionID)
        message.errorCode = code
        if code == 420 { message.unknownAttributes = request.notUnderstood }
        return message
    }
}

/// Why an ICE agent passed over a datagram in silence.
package enum ICEDiscard: CaseIterable, Hashable, Sendable {
    /// No STUN message, or a damaged one, or a FINGERPRINT that does not fit.
    case malformed
    /// ICE asks for a FINGERPRINT in every message (RFC 8445 §7.1).
    case missingFingerprint
    /// Not a Binding request or an answer to one.
    case unexpectedKind
    /// A request whose USERNAME is not this session's.
    case unknownUsername
    /// Made with another password, or with none.
    case wrongIntegrity
    /// The copy of a request, from an address that the request did not come from.
    case replayed
    /// An answer to a question that was not asked, or not asked there.
    case unknownTransaction
    /// The session had ended.
    case afterEnd
}
