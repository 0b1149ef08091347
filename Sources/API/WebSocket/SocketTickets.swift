// How a browser shows who it is when it opens a WebSocket: its headers cannot carry a token.
// SPDX-License-Identifier: Apache-2.0

package import Domain
package import Primitives
import Synchronization

/// Tickets: each opens one socket, within half a minute, for the caller who asked for it.
package final class SocketTickets: Sendable {
    static let lifetime = Duration.seconds(30)
    static let outstanding = 10_000

    private struct Ticket {
        var caller: Caller
        var expires: Instant
    }

    private let world: World
    private let tickets = Mutex<[String: Ticket]>([:])

    package init(world: World) { self.world = world }

    package func issue(to caller: Caller) throws(MarsadError) -> Redacted<String> {
        let text = world.secureRandomBytes(24).hex
        let now = world.now()
        let isTaken = tickets.withLock { tickets in
            if tickets.count >= Self.outstanding {
                tickets = tickets.filter { $0.value.expires > now }
            }
            guard tickets.count < Self.outstanding else { return false }
            tickets[text] = Ticket(caller: caller, expires: now + Self.lifetime)
            return true
        }
        guard isTaken else { throw MarsadError(.overloaded, details: ["retry_after": "30"]) }
        return Redacted(text)
    }

    /// The caller of a ticket, which is then gone.
    package func redeem(_ ticket: Redacted<String>) throws(MarsadError) -> Caller {
        let found = tickets.withLock { $0.removeValue(forKey: ticket.reveal()) }
        guard let found, found.expires > world.now() else { throw MarsadError(.invalidToken) }
        return found.caller
    }

    /// Takes back what was given to callers whose rights have ended.
    /// Forgets the tickets of users whose rights have changed: they carry those of before.
    func forget(_ users: Set<UserID>) {
        tickets.withLock { tickets in
            tickets = tickets.filter { ticket in
                ticket.value.caller.actor.userID.map { !users.contains($0) } ?? true
            }
        }
    }

    func revoke(_ revocation: Revocation) {
        tickets.withLock { tickets in
            tickets = tickets.filter { !revocation.ends($0.value.caller) }
        }
    }
}

/// What the list of subprotocols says beside `marsad`: `bearer.` with a token, or `ticket.` with a
/// ticket. Both are made of characters that a subprotocol may have (RFC 6455 §4.1).
package enum SocketCredential {
    case bearer(Redacted<String>)
    case ticket(Redacted<String>)

    /// The one subprotocol that is spoken, and answered.
    static let subprotocol = "marsad"

    /// `nil` where there is none.
    package init?(_ field: String?) throws(MarsadError) {
        var found: SocketCredential?
        for name in Self.names(field) {
            let credential: SocketCredential
            if name.hasPrefix("bearer.") {
                credential = .bearer(Redacted(String(name.dropFirst(7))))
            } else if name.hasPrefix("ticket.") {
                credential = .ticket(Redacted(String(name.dropFirst(7))))
            } else {
                continue
            }
            guard found == nil, name.utf8.count <= Admission.tokenBytes else {
                throw MarsadError(.invalidToken)
            }
            found = credential
        }
        guard let found else { return nil }
        self = found
    }

    static func names(_ field: String?) -> [String] {
        (field ?? "").split(separator: ",").map { $0.filter { $0 != " " && $0 != "\t" } }
    }
}
