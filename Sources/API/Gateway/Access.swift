// Who may use a route: every one says so, and one that does not say so cannot be registered.
// SPDX-License-Identifier: Apache-2.0

package import Domain
package import Primitives

/// What a route asks of whoever calls it, before its handler runs.
package enum Access: Hashable, Sendable {
    /// Nothing.
    case open
    /// An address of the operations networks.
    case operations
    /// A reservation's token, which the handler checks against the camera.
    case reservation
    /// A camera's publishing token, which the handler checks.
    case publishing
    /// A signature in the address, which the handler checks.
    case signedLink
    /// A signature of the body, which the handler checks.
    case signedBody
    /// A person who is signed in, or a program of this machine.
    case caller
    /// The same, by WebSocket: a browser cannot send a header with it.
    case socket
    /// A caller who has this permission; where it is about cameras, on at least one of them. The
    /// handler then asks about the camera itself.
    case permission(Permission.Action)

    /// Whether the handler finds an authenticated caller in its context.
    package var hasCaller: Bool {
        switch self {
        case .open, .operations, .reservation, .publishing, .signedLink, .signedBody: false
        case .caller, .socket, .permission: true
        }
    }
}

/// Tells who a bearer is; throws what the contract says of bad tokens.
package typealias Authenticator =
    @Sendable (_ bearer: Redacted<String>, _ origin: RequestOrigin) async throws(MarsadError) ->
    Caller

extension Caller {
    /// Somebody who was not asked who he is: may do nothing, sees nothing.
    static let unknown = Caller(
        actor: .anonymous, grants: [], visibility: .nothing,
        issuedAt: WallTime(microseconds: 0), expiresAt: WallTime(microseconds: 0))

    /// Whoever reaches the loopback address without a token: a program of this machine.
    static let local = Caller.program("local")

    /// Whether an action is permitted at all, be it on one camera.
    func mayAnywhere(_ action: Permission.Action) -> Bool {
        grants.contains { $0.permission.action == action }
    }
}
