// How many requests there were, and how long they took.
// SPDX-License-Identifier: Apache-2.0

import HTTPTypes
import Observability
import Primitives

/// Requests by method, route and status. All three are closed sets: the parser of HTTP/1.1 takes the
/// registered methods alone, and a route is named by its template, never by the path that was asked for.
struct RequestMetrics: Sendable {
    private struct Key: Hashable {
        var method: String
        var endpoint: String
        var status: Int
    }

    private struct Handle {
        let count: Counter
        let duration: Histogram
    }

    private let handles: MetricHandles<Key, Handle>

    init(registry: MetricsRegistry) {
        handles = MetricHandles { key in
            let labels = [
                "method": key.method, "endpoint": key.endpoint, "status": String(key.status),
            ]
            return Handle(
                count: registry.counter(
                    "cctv_api_requests_total", help: "HTTP requests.", labels: labels),
                duration: registry.histogram(
                    "cctv_api_request_duration_seconds", help: "Time to answer an HTTP request.",
                    labels: labels))
        }
    }

    /// - Parameter endpoint: the route's template; `nil` for an address where nothing is.
    func count(
        _ method: HTTPRequest.Method, _ endpoint: String?, _ status: HTTPResponse.Status,
        _ took: Duration
    ) {
        let handle = handles[
            Key(method: method.rawValue, endpoint: endpoint ?? "none", status: status.code)]
        handle.count.increment()
        handle.duration.observe(took)
    }
}
