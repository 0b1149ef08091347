// The addresses that become WebSockets, and the tickets for them.
// SPDX-License-Identifier: Apache-2.0

import Domain
import Hummingbird
import Identity
import NIOCore
import Primitives

/// `POST /api/v1/ws/ticket`.
private struct TicketBody: Encodable {
    var ticket: String
    var expiresIn = SocketTickets.lifetime.components.seconds
}

extension Routes {
    func sockets(_ table: RouteTable) {
        table.on(.post, "api/v1/ws/ticket", .caller, .socketTicket) { _, context in
            let ticket = try tickets.issue(to: context.caller)
            return try jsonResponse(
                TicketBody(ticket: ticket.reveal()), headers: [.cacheControl: "no-store"])
        }
        table.on(.get, "ws/updates", .socket, .updates) { request, context in
            try await openSocket(request, context, topics: [])
        }
        table.on(.get, "ws/stream/stats", .socket, .statsUpdates) { request, context in
            try await openSocket(request, context, topics: [.stats, .quota])
        }
    }

    private func openSocket(
        _ request: Request, _ context: MarsadRequestContext, topics: Set<UpdateTopic>
    ) async throws -> Response {
        let origin = request.headers[.origin]
        guard services.settings.mayConnect(from: origin, to: request.head.authority) else {
            throw MarsadError(.originNotAllowed)
        }
        let headers = try SocketHandshake.answer(request)
        // A ticket was given with the rights of a moment before.
        guard let caller = try await services.identity.renewed(context.caller) else {
            throw MarsadError(.sessionRevoked)
        }
        let (hub, loop) = (services.hub, context.channel.eventLoop)
        guard hub.serves(loop) else { throw MarsadError(.internalError) }
        let opening = SocketOpening {
            let shard = hub.shard(on: loop) ?? UpdatesShard()
            return UpdatesClient(caller, topics: topics, hub: hub, shard: shard)
        }
        try await context.channel.triggerUserOutboundEvent(opening).get()
        return Response(status: .switchingProtocols, headers: headers)
    }
}
