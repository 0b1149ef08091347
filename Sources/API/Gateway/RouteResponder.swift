// The way of a request to its route.
// SPDX-License-Identifier: Apache-2.0

import Domain
import HTTPTypes
import Hummingbird

/// Finds the route of a request.
struct RouteResponder: HTTPResponder {
    /// A route at one address.
    struct Place {
        var method: HTTPRequest.Method
        var handler: RouteHandler
    }

    let router: any HTTPResponder<MarsadRequestContext>
    /// Routes whose addresses are always the same, by address: found without a search.
    let places: [String: [Place]]

    func respond(
        to request: Request, context: MarsadRequestContext
    ) async throws -> Response {
        let path = request.uri.path
        if let place = places[path]?.first(where: { $0.method == request.method }) {
            context.coreContext.endpointPath.value = path
            return try await place.handler(request, context)
        }
        let response = try await router.respond(to: request, context: context)
        guard context.endpointPath?.hasPrefix("/") == true else {
            // The router's own answer to an address where nothing is, under a name of its own.
            context.coreContext.endpointPath.value = nil
            throw MarsadError(.notFound)
        }
        return response
    }
}

extension Request {
    /// The same, for a closed set of methods: there are dozens of others (RFC 9110 §9.1), and each would be
    /// a line of its own in the metrics. One that nobody here takes is refused as TRACE is, which every
    /// address refuses.
    var ofKnownMethod: Request {
        guard !RouteTable.methods.contains(method) else { return self }
        var head = head
        head.method = .trace
        return Request(head: head, body: body)
    }
}

extension MarsadError {
    /// What the library throws from within a handler, and would answer in a shape of its own.
    init(_ error: any HTTPResponseError) {
        switch error.status.code {
        case 404: self.init(.notFound)
        case 413: self.init(.payloadTooLarge)
        case 415: self.init(.unsupportedMediaType)
        case 400..<500: self.init(.invalidRequest)
        default: self.init(.internalError)
        }
    }
}
