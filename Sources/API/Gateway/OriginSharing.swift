// Which pages of other origins may read our answers.
// SPDX-License-Identifier: Apache-2.0

import HTTPTypes
import Hummingbird

/// Cross-origin sharing with the configured origins (Fetch standard, CORS protocol). An origin is
/// compared as a whole and answered from the list: nothing that was sent is ever sent back.
struct OriginSharing {
    private static let exposed = "Location, ETag, Link, Retry-After, X-Request-ID, X-Frame-Time"

    private let origin: String?
    private let isShared: Bool

    init(_ request: Request, _ origins: Set<String>) {
        origin = request.headers[.origin].flatMap { given in origins.first { $0 == given } }
        isShared = !origins.isEmpty
    }

    /// The answer to a browser that asks before it sends; `nil` for any other request.
    func preflight(_ request: Request) -> Response? {
        guard origin != nil, request.method == .options,
            request.headers[.accessControlRequestMethod] != nil
        else { return nil }
        return Response(
            status: .noContent,
            headers: [
                .accessControlAllowMethods: "GET, HEAD, POST, PUT, PATCH, DELETE",
                .accessControlAllowHeaders:
                    "Authorization, Content-Type, If-Match, Idempotency-Key, X-Request-ID",
                .accessControlMaxAge: "600",
            ])
    }

    func apply(to headers: inout HTTPFields) {
        guard isShared else { return }
        headers[.vary] = "Origin"
        guard let origin else { return }
        headers[.accessControlAllowOrigin] = origin
        headers[.accessControlExposeHeaders] = Self.exposed
    }
}
