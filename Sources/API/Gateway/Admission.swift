// Lets a request to its handler, or says why not: who calls, and how often already.
// SPDX-License-Identifier: Apache-2.0

import Domain
import HTTPTypes
import Hummingbird
import Primitives

/// The way to every registered route's handler.
struct Admission: Sendable {
    /// The longest token: an access token with a hundred permissions.
    static let tokenBytes = 8 * 1024

    let world: World
    let settings: GatewaySettings
    let authenticate: Authenticator
    let limiter: RequestLimiter
    let tickets: SocketTickets
    let answers: IdempotentAnswers
    let refusals: RefusalLog

    /// A route's answer to a request, where it is let through.
    func serve(
        _ route: Route, _ request: Request, _ context: MarsadRequestContext
    ) async throws -> Response {
        var context = context
        do {
            try await admit(request, &context, route.access, isMedia: route.isMedia)
            if route.operation.hasClosedQuery { try Query.check(request, route.operation.query) }
            guard route.isRepeatable, let key = request.headers[.idempotencyKey] else {
                return try await route.handler(request, context)
            }
            return try await answers.answer(key, request, context, route.handler)
        } catch let error as MarsadError where route.access.hasCaller {
            refusals.tell(error, request, context, route: route.path)
            throw error
        }
    }

    /// Puts the caller into the context, where the route asks for one.
    private func admit(
        _ request: Request, _ context: inout MarsadRequestContext, _ access: Access, isMedia: Bool
    ) async throws {
        guard isMedia else {
            try limiter.count(context.address)
            return try await check(request, &context, access, isMedia: isMedia)
        }
        do {
            try await check(request, &context, access, isMedia: isMedia)
        } catch {
            // Guessing tokens is counted wherever it is tried.
            try limiter.count(context.address)
            throw error
        }
    }

    private func check(
        _ request: Request, _ context: inout MarsadRequestContext, _ access: Access, isMedia: Bool
    ) async throws {
        switch access {
        case .open, .reservation, .publishing, .signedLink, .signedBody: break
        case .operations:
            guard settings.operationsNetworks.contains(where: context.address.isIn) else {
                throw MarsadError(.addressNotAllowed)
            }
        case .caller, .socket, .permission:
            let origin = context.origin(of: request)
            var caller = try await self.caller(request, origin, isSocket: access == .socket)
            caller.origin = origin
            context.caller = caller
            if !isMedia, let user = caller.actor.userID { try limiter.count(user) }
            if case .permission(let action) = access, !caller.mayAnywhere(action) {
                throw MarsadError(.forbidden, details: ["permission": action.rawValue])
            }
        }
    }

    private func caller(
        _ request: Request, _ origin: RequestOrigin, isSocket: Bool
    ) async throws -> Caller {
        if isSocket {
            switch try SocketCredential(request.headers[.webSocketProtocol]) {
            case .ticket(let ticket): return try tickets.redeem(ticket)
            case .bearer(let token): return try await authenticate(token, origin)
            case nil: break
            }
        }
        // Who reaches the loopback address is on this machine; a token that is shown counts there, too.
        if !settings.isTokenRequired, request.headers[.authorization] == nil {
            return .local
        }
        let token = Redacted(try request.bearer(upTo: Self.tokenBytes))
        return try await authenticate(token, origin)
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
