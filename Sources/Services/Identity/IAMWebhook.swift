// Events of the organisation's identity system: signed, fresh, and each taken once.
// SPDX-License-Identifier: Apache-2.0

import Crypto
import Database
package import Domain
import Foundation
package import JSON
package import Primitives

/// A verified event, not acted upon yet.
package struct IAMEvent: Sendable, Equatable {
    package enum Kind: String, Sendable, CaseIterable {
        case userCreated = "USER_CREATED"
        case userUpdated = "USER_UPDATED"
        case userDisabled = "USER_DISABLED"
        case groupChanged = "GROUP_CHANGED"
    }

    package let id: String
    package let kind: Kind
    package let data: [String: JSONValue]
}

/// Checks that a webhook's body was sent by who has the secret, and lately. The signature is over the
/// bytes as they came, before any of them is understood.
package struct IAMWebhook: Sendable {
    private let key: Redacted<SymmetricKey>

    /// - Parameter secret: shared with the sender; at least 32 bytes.
    package init?(secret: Redacted<String>) {
        guard secret.reveal().utf8.count >= 32 else { return nil }
        key = Redacted(SymmetricKey(data: Data(secret.reveal().utf8)))
    }

    /// - Parameters:
    ///   - signature: `X-IAM-Signature`: HMAC-SHA256 over `timestamp.body` in hexadecimal, alone or
    ///     after `sha256=`.
    ///   - timestamp: `X-IAM-Timestamp`: seconds since 1970.
    package func verify(
        body: [UInt8], signature: String, timestamp: String, at now: WallTime
    ) throws(MarsadError) -> IAMEvent {
        guard body.count <= Limits.webhookBytes else { throw MarsadError(.payloadTooLarge) }
        guard (1...12).contains(timestamp.utf8.count), let seconds = Int64(timestamp),
            let given = Self.bytes(signature)
        else { throw MarsadError(.invalidSignature) }
        let message = Array(timestamp.utf8) + [UInt8(ascii: ".")] + body
        guard
            HMAC<SHA256>.isValidAuthenticationCode(
                given, authenticating: message, using: key.reveal())
        else { throw MarsadError(.invalidSignature) }
        let age = now - WallTime(microseconds: seconds * 1_000_000)
        guard age <= Limits.webhookTolerance, age >= .zero - Limits.webhookTolerance else {
            throw MarsadError(.invalidSignature)
        }
        return try Self.event(body)
    }

    /// The headers by which who has the secret knows that a body is ours: the same that `verify` takes.
    func headers(for body: [UInt8], at now: WallTime) -> [(name: String, value: String)] {
        let timestamp = String(now.microseconds / 1_000_000)
        var code = HMAC<SHA256>(key: key.reveal())
        code.update(data: Array("\(timestamp).".utf8) + body)
        return [
            ("X-IAM-Timestamp", timestamp),
            ("X-IAM-Signature", "sha256=" + Array(code.finalize()).hex),
        ]
    }

    private static func event(_ body: [UInt8]) throws(MarsadError) -> IAMEvent {
        guard let members = (try? JSONValue(parsingEvent: body))?.members,
            let id = members["event_id"]?.text, (1...128).contains(id.utf8.count),
            let kind = members["event_type"]?.text.flatMap({ IAMEvent.Kind(rawValue: $0) }),
            let data = members["data"]?.members
        else { throw MarsadError(.invalidRequest, details: ["field": "body"]) }
        return IAMEvent(id: id, kind: kind, data: data)
    }

    private static func bytes(_ signature: String) -> [UInt8]? {
        let text = signature.hasPrefix("sha256=") ? signature.dropFirst(7) : signature[...]
        guard text.utf8.count == 64 else { return nil }
        let digits = text.utf8.compactMap { byte in
            switch byte {
            case 48...57: byte - 48
            case 97...102: byte - 87
            case 65...70: byte - 55
            default: nil as UInt8?
            }
        }
        guard digits.count == 64 else { return nil }
        return stride(from: 0, to: 64, by: 2).map { digits[$0] << 4 | digits[$0 + 1] }
    }

    // MARK: Rows

    /// Fails as a double key when the event was taken before.
    static func take(_ event: IAMEvent, at now: WallTime) -> Statement {
        Statement(
            "INSERT INTO webhook_events (event_id, event_type, received_at) VALUES (?, ?, ?)",
            [.text(event.id), .text(event.kind.rawValue), .integer(now.microseconds)])
    }

    static func forget(at now: WallTime) -> Statement {
        Statement(
            "DELETE FROM webhook_events WHERE received_at < ?",
            [.integer((now + (.zero - Limits.webhookMemory)).microseconds)])
    }
}
