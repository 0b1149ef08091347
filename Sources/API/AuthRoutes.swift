// Signing in and out over HTTP, and the keys by which others check our tokens.
// SPDX-License-Identifier: Apache-2.0

import Domain
import HTTPTypes
import Hummingbird
import Identity
import NIOCore
import Primitives

/// What a login and a refresh answer.
struct TokenBody: Encodable {
    var accessToken: String
    var expiresIn: Int64
    var refreshToken: String?

    init(_ grant: TokenGrant) {
        accessToken = grant.accessToken.reveal()
        expiresIn = grant.expiresIn.components.seconds
        refreshToken = grant.refreshToken?.reveal()
    }
}

extension Routes {
    func authentication(_ table: RouteTable) {
        let group = table.group("api/v1/auth")
        group.post("token", .open, .signIn) { request, context in
            let body = try await body(of: request, allowing: ["login_id", "password"])
            return try granted(
                await services.identity.login(
                    try body.requiredText("login_id"),
                    password: Redacted(try body.requiredText("password")),
                    from: context.origin(of: request)))
        }
        group.post("refresh", .open, .refreshToken) { request, context in
            let body = try await body(of: request, allowing: ["refresh_token"])
            return try granted(
                await services.identity.refresh(
                    Redacted(try body.requiredText("refresh_token")),
                    from: context.origin(of: request)))
        }
        group.post("logout", .caller, .signOut) { _, context in
            try await services.identity.logout(context.caller)
            return Response(status: .noContent)
        }
        table.on(.get, ".well-known/jwks.json", .open, .keySet) { _, _ in
            Response(
                status: .ok,
                headers: [
                    .contentType: JSONType.keySet, .cacheControl: "public, max-age=300",
                ], body: .init(byteBuffer: ByteBuffer(string: services.identity.publishedKeys)))
        }
    }

    private func granted(_ grant: TokenGrant) throws -> Response {
        try jsonResponse(TokenBody(grant), headers: [.cacheControl: "no-store"])
    }

    /// The request's JSON object.
    func body(
        of request: Request, allowing keys: Set<String>
    ) async throws -> JSONObject {
        var request = request
        return try JSONObject(parsing: try await request.collectJSON(), allowing: keys)
    }
}
