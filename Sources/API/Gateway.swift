// What every request passes: a request id, a log line, metrics, and errors in the one shape.
// SPDX-License-Identifier: Apache-2.0

import Domain
import HTTPTypes
package import Hummingbird
import Logging
import Observability
import Primitives

/// The context of a request: hummingbird's, with the request's id.
package struct MarsadRequestContext: RequestContext {
    package var coreContext: CoreRequestContextStorage
    var requestID = ""

    package init(source: ApplicationRequestContextSource) {
        coreContext = .init(source: source)
    }
}

extension HTTPField.Name {
    static let requestID = HTTPField.Name("X-Request-ID") ?? .eTag
    static let frameTime = HTTPField.Name("X-Frame-Time") ?? .eTag
    static let cameraStatus = HTTPField.Name("X-Camera-Status") ?? .eTag
    static let contentTypeOptions = HTTPField.Name("X-Content-Type-Options") ?? .eTag
    static let referrerPolicy = HTTPField.Name("Referrer-Policy") ?? .eTag
}

/// The outermost middleware.
struct Gateway: RouterMiddleware {
    typealias Context = MarsadRequestContext

    let world: World
    let registry: MetricsRegistry
    let logger: Logger

    func handle(
        _ request: Request, context: Context,
        next: @concurrent (Request, Context) async throws -> Response
    ) async throws -> Response {
        let begun = world.now()
        var context = context
        context.requestID = requestID(request)
        var response: Response
        do {
            guard Self.isLocal(request.head.authority) else {
                throw MarsadError(.originNotAllowed)
            }
            response = try await next(request, context)
        } catch {
            response = try errorResponse(error, context)
        }
        let isNegotiation = ["/whep", "/whip"].contains {
            context.endpointPath?.contains($0) == true
        }
        if isNegotiation {
            // Errors, too: a page of another origin could not read why, or when to come back.
            for field in Routes.shared { response.headers[field.name] = field.value }
        }
        response.headers[.requestID] = context.requestID
        response.headers[.contentTypeOptions] = "nosniff"
        response.headers[.referrerPolicy] = "no-referrer"
        observe(request, response, context, took: world.now() - begun)
        return response
    }

    /// Without accounts the loopback address is the only guard, and a page of another site can reach it by
    /// a name of its own that resolves to it (DNS rebinding); so the name is checked too.
    private static func isLocal(_ authority: String?) -> Bool {
        guard let authority else { return true }
        let host =
            authority.hasPrefix("[")
            ? authority.dropFirst().prefix { $0 != "]" } : authority.prefix { $0 != ":" }
        let isIPv4 =
            host.hasPrefix("127.") && host.utf8.allSatisfy { (46...57).contains($0) && $0 != 47 }
        return isIPv4 || host == "::1" || host.lowercased() == "localhost"
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
        let failure = marsadError(error, context)
        let text = failure.code.text.filled(failure.details)
        let body = ErrorBody(
            error: .init(
                code: failure.code.rawValue, messageEn: text.english, messageAr: text.arabic,
                requestId: context.requestID, details: failure.details))
        var headers = HTTPFields()
        if let allow = failure.details["allow"] { headers[.allow] = allow }
        let status = failure.status ?? text.status
        if status == 503 || failure.details["retry_after"] != nil {
            headers[.retryAfter] = failure.details["retry_after"] ?? "2"
        }
        if status == 401 { headers[.wwwAuthenticate] = "Bearer" }
        return try jsonResponse(body, status: .init(code: status), headers: headers)
    }

    private func marsadError(_ error: any Error, _ context: Context) -> MarsadError {
        if let known = error as? MarsadError { return known }
        if let http = error as? any HTTPResponseError {
            switch http.status.code {
            case 404: return MarsadError(.notFound)
            case 405: return MarsadError(.methodNotAllowed)
            case 413: return MarsadError(.payloadTooLarge)
            case 415: return MarsadError(.unsupportedMediaType)
            case 400..<500: return MarsadError(.invalidRequest)
            default: break
            }
        }
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
        // The route's template, never the path: paths are not a closed set.
        let labels = [
            "method": request.method.rawValue, "endpoint": context.endpointPath ?? "none",
            "status": "\(response.status.code)",
        ]
        registry.counter("cctv_api_requests_total", help: "HTTP requests.", labels: labels)
            .increment()
        registry.histogram(
            "cctv_api_request_duration_seconds", help: "Time to answer an HTTP request.",
            labels: labels
        ).observe(took)
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

/// A request's query, whose names were checked: an unknown one is a 400 that names it.
struct Query {
    private let values: [String: String]

    init(_ request: Request, allowing names: Set<String>) throws(MarsadError) {
        var values: [String: String] = [:]
        for (name, value) in request.uri.queryParameters {
            guard names.contains(String(name)) else {
                throw MarsadError(
                    .invalidRequest, details: ["unknown_parameter": String(name.prefix(64))])
            }
            guard values.updateValue(String(value), forKey: String(name)) == nil else {
                throw MarsadError(.invalidRequest, details: ["repeated_parameter": String(name)])
            }
        }
        self.values = values
    }

    subscript(_ name: String) -> String? { values[name] }

    func integer(_ name: String, in range: ClosedRange<Int>) throws(MarsadError) -> Int? {
        guard let text = values[name] else { return nil }
        guard let value = Int(text), range.contains(value) else {
            throw MarsadError(
                .invalidRequest,
                details: ["parameter": name, "allowed": "\(range.lowerBound)…\(range.upperBound)"])
        }
        return value
    }

    func time(_ name: String) throws(MarsadError) -> WallTime {
        guard let text = values[name], let time = WallTime(iso8601: text) else {
            throw MarsadError(
                .invalidRequest, details: ["parameter": name, "allowed": "ISO 8601 in UTC, with Z"])
        }
        return time
    }

    func cameraID() throws(MarsadError) -> CameraID {
        guard let text = values["camera_id"] else {
            throw MarsadError(
                .invalidRequest, details: ["parameter": "camera_id", "reason": "required"])
        }
        guard let id = CameraID(text) else { throw MarsadError(.cameraNotFound) }
        return id
    }
}
