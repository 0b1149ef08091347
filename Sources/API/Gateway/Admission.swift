// Lets a request to its handler, or says why not: who calls, and how often already.
// SPDX-License-Identifier: Apache-2.0

import Domain
import HTTPTypes
import Hummingbird
import Primitives

/// What every registered route passes before its handler.
struct Admission: Sendable {
    /// The longest token: an access token with a hundred permissions.
    static let tokenBytes = 8 * 1024

    let world: World
    let settings: GatewaySettings
    let authenticate: Authenticator?
    let limiter: RequestLimiter
    let tickets: SocketTickets
    let answers: IdempotentAnswers

    /// The caller, or `unknown` where the route asks for none.
    func admit(
        _ request: Request, _ context: MarsadRequestContext, _ access: Access, isMedia: Bool
    ) async throws -> Caller {
        guard isMedia else {
            try limiter.count(context.address)
            return try await check(request, context, access, isMedia: isMedia)
        }
        do {
            return try await check(request, context, access, isMedia: isMedia)
        } catch {
            // Guessing tokens is counted wherever it is tried.
            try limiter.count(context.address)
            throw error
        }
    }

    private func check(
        _ request: Request, _ context: MarsadRequestContext, _ access: Access, isMedia: Bool
    ) async throws -> Caller {
        switch access {
        case .open, .reservation, .publishing, .signedLink:
            return .unknown
        case .operations:
            guard settings.operationsNetworks.contains(where: context.address.isIn) else {
                throw MarsadError(.addressNotAllowed)
            }
            return .unknown
        case .caller, .socket, .permission:
            var caller = try await self.caller(request, isSocket: access == .socket)
            caller.origin = RequestOrigin(
                address: context.address.text, userAgent: request.headers[.userAgent] ?? "",
                requestID: context.requestID)
            if !isMedia, let user = caller.actor.userID { try limiter.count(user) }
            if case .permission(let action) = access, !caller.mayAnywhere(action) {
                throw MarsadError(.forbidden, details: ["permission": action.rawValue])
            }
            return caller
        }
    }

    private func caller(_ request: Request, isSocket: Bool) async throws -> Caller {
        if isSocket {
            switch try SocketCredential(request.headers[.webSocketProtocol]) {
            case .ticket(let ticket): return try tickets.redeem(ticket)
            case .bearer(let token): return try await caller(token)
            case nil: break
            }
        }
        // Without accounts only this machine's loopback address is listened on.
        guard authenticate != nil else { return .program("local") }
        return try await caller(Redacted(try request.bearer(upTo: Self.tokenBytes)))
    }

    private func caller(_ token: Redacted<String>) async throws -> Caller {
        guard let authenticate else { return .program("local") }
        return try await authenticate(token)
    }
}

extension Request {
    /// The token of the Authorization header (RFC 6750 §2.1).
    func bearer(upTo length: Int) throws(MarsadError) -> String {
        guard let value = headers[.authorization] else { throw MarsadError(.missingToken) }
        let parts = value.split(separator: " ", maxSplits: 1)
        guard parts.count == 2, parts[0].lowercased() == "bearer", parts[1].utf8.count <= length
        else { throw MarsadError(.invalidToken) }
        return String(parts[1])
    }
}
