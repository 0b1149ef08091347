// Every route with its access and its description: one that lacks either cannot be registered.
// SPDX-License-Identifier: Apache-2.0

import Domain
package import HTTPTypes
import Hummingbird

typealias RouteHandler = @Sendable (Request, MarsadRequestContext) async throws -> Response

/// One address with one method.
package struct Route: Sendable {
    package var method: HTTPRequest.Method
    /// As the router and OpenAPI write it: `/api/v1/cameras/{id}`.
    package var path: String
    package var access: Access
    package var operation: Operation
    /// Whether it is called several times a second by everybody who watches. Such a call is not counted
    /// as a request where it succeeds.
    var isMedia: Bool
    var handler: RouteHandler

    /// Whether a client may send it again under the same Idempotency-Key.
    var isRepeatable: Bool { method == .post && access.hasCaller }
}

/// The routes; their router and their document are both made from here and from nothing else.
package final class RouteTable {
    /// Those that are routed, be it to a refusal.
    static let methods: [HTTPRequest.Method] = [
        .get, .head, .post, .put, .patch, .delete, .options, .trace,
    ]

    package private(set) var routes: [Route] = []

    func group(_ path: String) -> RouteGroup { RouteGroup(table: self, prefix: path + "/") }

    func on(
        _ method: HTTPRequest.Method, _ path: String, _ access: Access, _ operation: Operation,
        isMedia: Bool = false, _ handler: @escaping RouteHandler
    ) {
        routes.append(
            Route(
                method: method, path: RouterPath(path).description, access: access,
                operation: operation, isMedia: isMedia, handler: handler))
    }

    /// The addresses where media are negotiated by WHEP or WHIP.
    var negotiations: Set<String> {
        Set(routes.map(\.path).filter { $0.contains("/whep") || $0.contains("/whip") })
    }

    /// Lets requests to these routes by way of `admission`, and through nothing else.
    func responder(_ admission: Admission) -> RouteResponder {
        let router = Router(
            context: MarsadRequestContext.self, options: .autoGenerateHeadEndpoints)
        var places: [String: [RouteResponder.Place]] = [:]
        for route in routes {
            let handler: RouteHandler = { request, context in
                do {
                    return try await admission.serve(route, request, context)
                } catch let error as any HTTPResponseError {
                    throw MarsadError(error)
                }
            }
            router.on(RouterPath(route.path), method: route.method, use: handler)
            guard !route.path.contains("{") else { continue }
            places[route.path, default: []].append(.init(method: route.method, handler: handler))
        }
        refuseOtherMethods(router)
        return RouteResponder(router: router.buildResponder(), places: places)
    }

    /// A known address with a method it does not take: 405 with what it takes (RFC 9110 §15.5.6).
    private func refuseOtherMethods(_ router: Router<MarsadRequestContext>) {
        for (path, routes) in Dictionary(grouping: routes, by: \.path).sorted(by: {
            $0.key < $1.key
        }) {
            var methods = Set(routes.map(\.method.rawValue))
            if methods.contains("GET") { methods.insert("HEAD") }
            let allow = methods.sorted().joined(separator: ", ")
            for method in Self.methods where !methods.contains(method.rawValue) {
                router.on(RouterPath(path), method: method) { _, _ -> Response in
                    throw MarsadError(.methodNotAllowed, details: ["allow": allow])
                }
            }
        }
    }
}

/// Routes below one address.
struct RouteGroup {
    let table: RouteTable
    let prefix: String

    func on(
        _ method: HTTPRequest.Method, _ path: String, _ access: Access, _ operation: Operation,
        isMedia: Bool = false, _ handler: @escaping RouteHandler
    ) {
        table.on(method, prefix + path, access, operation, isMedia: isMedia, handler)
    }

    func get(
        _ path: String, _ access: Access, _ operation: Operation, isMedia: Bool = false,
        _ handler: @escaping RouteHandler
    ) { on(.get, path, access, operation, isMedia: isMedia, handler) }

    func post(
        _ path: String, _ access: Access, _ operation: Operation,
        _ handler: @escaping RouteHandler
    ) { on(.post, path, access, operation, handler) }

    func delete(
        _ path: String, _ access: Access, _ operation: Operation,
        _ handler: @escaping RouteHandler
    ) { on(.delete, path, access, operation, handler) }

    func put(
        _ path: String, _ access: Access, _ operation: Operation,
        _ handler: @escaping RouteHandler
    ) { on(.put, path, access, operation, handler) }

    func patch(
        _ path: String, _ access: Access, _ operation: Operation,
        _ handler: @escaping RouteHandler
    ) { on(.patch, path, access, operation, handler) }
}
