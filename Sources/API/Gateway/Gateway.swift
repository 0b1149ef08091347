// What every request passes: a request id, a log line, metrics, and errors in the one shape.
// SPDX-License-Identifier: Apache-2.0

package import Domain
import HTTPTypes
package import Hummingbird
import Logging
import NIOCore
import Observability
import Primitives

/// The context of a request: hummingbird's, with who asks.
package struct MarsadRequestContext: RequestContext {
    package var coreContext: CoreRequestContextStorage
    let channel: any Channel
    var requestID = ""
    /// The client's, as far as the connection's peer may speak for others.
    var address: ClientAddress
    /// Who asks; somebody without any right on routes that do not ask for a caller.
    package internal(set) var caller = Caller.unknown

    init(on channel: any Channel, from peer: ClientAddress, _ logger: Logger) {
        coreContext = .init(source: Source(channel: channel, logger: logger))
        self.channel = channel
        address = peer
    }

    package init(source: Source) {
        self.init(
            on: source.channel, from: ClientAddress(source.channel.remoteAddress), source.logger)
    }

    /// For back-off and for the audit log.
    func origin(of request: Request) -> RequestOrigin {
        RequestOrigin(
            address: address.text, userAgent: request.headers[.userAgent] ?? "",
            requestID: requestID)
    }
}

extension HTTPField.Name {
    static let requestID = HTTPField.Name("X-Request-ID") ?? .eTag
    static let frameTime = HTTPField.Name("X-Frame-Time") ?? .eTag
    static let cameraStatus = HTTPField.Name("X-Camera-Status") ?? .eTag
    static let forwardedFor = HTTPField.Name("X-Forwarded-For") ?? .eTag
    static let idempotencyKey = HTTPField.Name("Idempotency-Key") ?? .eTag
    static let webSocketProtocol = HTTPField.Name("Sec-WebSocket-Protocol") ?? .eTag
}

extension HTTPFields {
    /// The same as the subscript, which puts the values of a name together even where there is one: for
    /// what is asked of every request.
    func value(_ name: HTTPField.Name) -> String? {
        var found: String?
        for field in self where field.name == name {
            guard found == nil else { return self[name] }
            found = field.value
        }
        return found
    }
}

/// Stands before the routes.
package struct Gateway: HTTPResponder {
    package typealias Context = MarsadRequestContext

    let routes: RouteResponder
    let world: World
    let dates = DateText()
    let metrics: RequestMetrics
    let logger: Logger
    let settings: GatewaySettings
    let limiter: RequestLimiter
    /// The routes of WHEP and WHIP, whose answers any origin may read.
    let negotiations: Set<String>

    package func respond(to request: Request, context: Context) async throws -> Response {
        let begun = world.now()
        let request = request.ofKnownMethod
        var context = context
        context.requestID = requestID(request)
        context.address = ClientAddress(
            peer: context.address, forwarded: request.headers[.forwardedFor],
            trusting: settings.trustedProxies)
        let sharing = OriginSharing(request, settings.corsOrigins)
        var response: Response
        do {
            try check(request)
            if let preflight = sharing.preflight(request) {
                response = preflight
            } else {
                response = try await routes.respond(to: request, context: context)
            }
        } catch {
            response = try errorResponse(error, context)
            if request.method == .head { response = response.createHeadResponse() }
        }
        if let path = context.endpointPath, negotiations.contains(path) {
            // Errors, too: a page of another origin could not read why, or when to come back.
            for field in Routes.shared { response.headers[field.name] = field.value }
        } else {
            sharing.apply(to: &response.headers)
        }
        response.headers[.requestID] = context.requestID
        response.headers[.date] = dates.text(of: world.wallTime())
        SecurityHeaders.apply(to: &response.headers, isSecure: settings.isSecure)
        observe(request, response, context, took: world.now() - begun)
        return response
    }

    /// What holds for any address, also one where nothing is.
    private func check(_ request: Request) throws(MarsadError) {
        guard settings.isCalled(request.head.authority) else {
            throw MarsadError(.originNotAllowed)
        }
        guard request.uri.string.utf8.count <= GatewaySettings.addressBytes else {
            throw MarsadError(
                .invalidRequest,
                details: ["reason": "the address is longer than \(GatewaySettings.addressBytes)"])
        }
        if let length = request.headers.value(.contentLength) {
            guard let bytes = Int(length), bytes <= GatewaySettings.bodyBytes else {
                throw MarsadError(.payloadTooLarge)
            }
        }
    }

    /// A caller's id is kept where it is a short token: it travels into logs.
    private func requestID(_ request: Request) -> String {
        if let given = request.headers[.requestID], (8...64).contains(given.utf8.count),
            given.utf8.allSatisfy({
                (48...57).contains($0) || (65...90).contains($0) || (97...122).contains($0)
                    || $0 == UInt8(ascii: "-") || $0 == UInt8(ascii: "_")
            })
        {
            return given
        }
        return world.makeID()
    }

    private func errorResponse(_ error: any Error, _ context: Context) throws -> Response {
        var failure = marsadError(error, context)
        if context.endpointPath == nil, failure.code == .notFound {
            // No route has counted it; looking for what is not there is a request as well.
            do { try limiter.count(context.address) } catch { failure = error }
        }
        let body = ErrorBody(failure, requestID: context.requestID)
        var headers = HTTPFields()
        if let allow = failure.details["allow"] { headers[.allow] = allow }
        let status = failure.status ?? failure.code.text.status
        if status == 503 || failure.details["retry_after"] != nil {
            headers[.retryAfter] = failure.details["retry_after"] ?? "2"
        }
        if status == 401 { headers[.wwwAuthenticate] = "Bearer" }
        return try jsonResponse(body, status: .init(code: status), headers: headers)
    }

    private func marsadError(_ error: any Error, _ context: Context) -> MarsadError {
        if let known = error as? MarsadError { return known }
        if error is TornBody { return MarsadError(.invalidRequest) }
        logger.error(
            "request failed",
            metadata: [
                "event": "request_failed", "request_id": "\(context.requestID)",
                "error": "\(Scrubber.scrub(String(describing: error)))",
            ])
        return MarsadError(.internalError)
    }

    private func observe(
        _ request: Request, _ response: Response, _ context: Context, took: Duration
    ) {
        metrics.count(request.method, context.endpointPath, response.status, took)
        logger.debug(
            "request",
            metadata: [
                "event": "request", "request_id": "\(context.requestID)",
                "endpoint": "\(context.endpointPath ?? "none")",
                "status": "\(response.status.code)",
                "duration_ms": "\(took.saturatingNanoseconds / 1_000_000)",
            ])
    }
}
