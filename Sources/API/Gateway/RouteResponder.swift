// The way of a request to its route, whatever method it names.
// SPDX-License-Identifier: Apache-2.0

import HTTPTypes
package import Hummingbird

/// The router, for a closed set of methods: there are dozens of others (RFC 9110 §9.1), and each would be a
/// line of its own in the metrics. One that nobody here takes is refused as TRACE is, which every
/// address refuses.
package struct RouteResponder: HTTPResponder {
    let router: any HTTPResponder<MarsadRequestContext>

    package func respond(
        to request: Request, context: MarsadRequestContext
    ) async throws -> Response {
        guard !RouteTable.methods.contains(request.method) else {
            return try await router.respond(to: request, context: context)
        }
        var head = request.head
        head.method = .trace
        return try await router.respond(
            to: Request(head: head, body: request.body), context: context)
    }
}
