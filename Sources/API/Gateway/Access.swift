// Who may use a route: every one says so, and one that does not say so cannot be registered.
// SPDX-License-Identifier: Apache-2.0

package import Domain
import HTTPTypes
package import Hummingbird
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

typealias RouteHandler = @Sendable (Request, MarsadRequestContext) async throws -> Response

/// Every route with its access. The router is filled here and nowhere else.
package final class RouteTable {
    package struct Entry: Hashable, Sendable {
        package var method: String
        /// As the router writes it: `/api/v1/cameras/:id`.
        package var path: String
        package var access: Access
    }

    package private(set) var entries: [Entry] = []
    package let router = Router(
        context: MarsadRequestContext.self, options: .autoGenerateHeadEndpoints)
    private let admission: Admission

    init(_ admission: Admission) { self.admission = admission }

    func group(_ path: String) -> RouteGroup { RouteGroup(table: self, prefix: path + "/") }

    /// - Parameter isMedia: whether it is called several times a second by everybody who watches. Such
    ///   a call is not counted as a request where it succeeds.
    func on(
        _ method: HTTPRequest.Method, _ path: String, _ access: Access, isMedia: Bool = false,
        _ handler: @escaping RouteHandler
    ) {
        let path = RouterPath(path)
        entries.append(
            Entry(method: method.rawValue, path: path.description, access: access))
        let admission = admission
        let isRepeatable = method == .post && access.hasCaller
        router.on(path, method: method) { request, context -> Response in
            var context = context
            do {
                try await admission.admit(request, &context, access, isMedia: isMedia)
                guard isRepeatable, let key = request.headers[.idempotencyKey] else {
                    return try await handler(request, context)
                }
                return try await admission.answers.answer(key, request, context, handler)
            } catch let error as MarsadError where access.hasCaller {
                admission.refusals.tell(error, request, context, route: path.description)
                throw error
            }
        }
    }

    /// A known address with a method it does not take: 405 with what it takes (RFC 9110 §15.5.6).
    func refuseOtherMethods() {
        for (path, routes) in Dictionary(grouping: entries, by: \.path).sorted(by: {
            $0.key < $1.key
        }) {
            var methods = Set(routes.map(\.method))
            if methods.contains("GET") { methods.insert("HEAD") }
            let allow = methods.sorted().joined(separator: ", ")
            let others: [HTTPRequest.Method] = [
                .get, .head, .post, .put, .patch, .delete, .options,
            ]
            for method in others where !methods.contains(method.rawValue) {
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
        _ method: HTTPRequest.Method, _ path: String, _ access: Access, isMedia: Bool = false,
        _ handler: @escaping RouteHandler
    ) {
        table.on(method, prefix + path, access, isMedia: isMedia, handler)
    }

    func get(
        _ path: String, _ access: Access, isMedia: Bool = false, _ handler: @escaping RouteHandler
    ) { on(.get, path, access, isMedia: isMedia, handler) }

    func post(_ path: String, _ access: Access, _ handler: @escaping RouteHandler) {
        on(.post, path, access, handler)
    }

    func delete(_ path: String, _ access: Access, _ handler: @escaping RouteHandler) {
        on(.delete, path, access, handler)
    }

    func put(_ path: String, _ access: Access, _ handler: @escaping RouteHandler) {
        on(.put, path, access, handler)
    }

    func patch(_ path: String, _ access: Access, _ handler: @escaping RouteHandler) {
        on(.patch, path, access, handler)
    }
}

extension Caller {
    /// Somebody who was not asked who he is: may do nothing, sees nothing.
    static var unknown: Caller {
        Caller(
            actor: .anonymous, grants: [], visibility: .nothing,
            issuedAt: WallTime(microseconds: 0), expiresAt: WallTime(microseconds: 0))
    }

    /// Whether an action is permitted at all, be it on one camera.
    func mayAnywhere(_ action: Permission.Action) -> Bool {
        grants.contains { $0.permission.action == action }
    }
}
