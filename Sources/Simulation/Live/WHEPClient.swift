// The HTTP half of live viewing: reservations and WHEP sessions of a Marsad server.
// SPDX-License-Identifier: Apache-2.0

import Foundation
package import NIOCore
import NIOHTTP1
package import Primitives

/// Why the server did not let a viewer in.
package enum WHEPFailure: Error, Hashable, Sendable {
    /// The step, and the status it was answered with.
    case refused(step: String, status: Int)
    case unreadable(step: String)
    case noCameras
}

/// Speaks the API as the page does, for any number of viewers.
package struct WHEPClient: Sendable {
    package struct Reservation: Sendable {
        package var id: String
        package var token: String
        package var heartbeatInterval: Duration
        package var path: String
    }

    package struct Session: Sendable {
        package var path: String
        package var answer: ByteBuffer
        /// When the first offer was posted.
        package var startedAt: Instant
        /// How often the server asked to come again later.
        package var retries: Int
    }

    private let pool: HTTPPool
    private static let maximumRetries = 20

    package init(pool: HTTPPool) { self.pool = pool }

    /// The cameras that are online, in the server's order.
    package func onlineCameras() async throws -> [String] {
        struct List: Decodable {
            struct Camera: Decodable {
                var id: String
                var status: String
            }
            var cameras: [Camera]
        }
        let response = try await pool.send(.init(.GET, "/api/v1/cameras?limit=500"))
        try Self.expect([200], response, "cameras")
        let list: List = try Self.read(response, "cameras")
        let online = list.cameras.filter { $0.status == "ONLINE" }.map(\.id)
        guard !online.isEmpty else { throw WHEPFailure.noCameras }
        return online
    }

    /// Asks for a place to watch the camera.
    package func reserve(camera: String) async throws -> Reservation {
        struct Body: Decodable {
            struct Transport: Decodable { var url: String? }
            var reservation_id: String
            var token: String
            var heartbeat_interval_seconds: Double?
            var transport: Transport?
        }
        var request = HTTPPool.Request(.POST, "/api/v1/stream/reserve")
        request.headers = [("Content-Type", "application/json")]
        request.body = ByteBuffer(
            bytes: try JSONSerialization.data(withJSONObject: ["camera_id": camera]))
        let (response, _, _) = try await persistently(request)
        try Self.expect([200, 201], response, "reserve")
        let body: Body = try Self.read(response, "reserve")
        let interval = min(max(body.heartbeat_interval_seconds ?? 30, 1), 3600)
        return Reservation(
            id: body.reservation_id, token: body.token,
            heartbeatInterval: .milliseconds(Int64(interval * 1000)),
            path: Self.path(body.transport?.url ?? "/api/v1/live/\(camera)/whep"))
    }

    /// Posts the offer; comes again as often as the server asks for it.
    package func view(_ reservation: Reservation, offer: ByteBuffer) async throws -> Session {
        var request = HTTPPool.Request(.POST, reservation.path)
        request.headers = [
            ("Content-Type", "application/sdp"), ("Accept", "application/sdp"),
            ("Authorization", "Bearer \(reservation.token)"),
        ]
        request.body = offer
        let (response, startedAt, retries) = try await persistently(request)
        try Self.expect([201], response, "whep")
        guard let location = response.headers.first(name: "Location") else {
            throw WHEPFailure.unreadable(step: "whep location")
        }
        return Session(
            path: Self.path(location), answer: response.body, startedAt: startedAt,
            retries: retries)
    }

    /// Ends the session.
    package func leave(_ session: Session, _ reservation: Reservation) async throws {
        var request = HTTPPool.Request(.DELETE, session.path)
        request.headers = [("Authorization", "Bearer \(reservation.token)")]
        try Self.expect([200, 204, 404], try await pool.send(request), "leave")
    }

    package func release(_ reservation: Reservation) async throws {
        let path = "/api/v1/stream/release/\(reservation.id)"
        try Self.expect([200, 204], try await pool.send(.init(.DELETE, path)), "release")
    }

    package func heartbeat(_ reservation: Reservation) async throws {
        let path = "/api/v1/stream/heartbeat/\(reservation.id)"
        try Self.expect([200, 204], try await pool.send(.init(.POST, path)), "heartbeat")
    }

    /// Sends the request until the answer is not 503 with a time to come again.
    private func persistently(
        _ request: HTTPPool.Request
    ) async throws -> (HTTPPool.Response, startedAt: Instant, retries: Int) {
        var startedAt: Instant?
        var retries = 0
        while true {
            let response = try await pool.send(request)
            let first = startedAt ?? response.sentAt
            startedAt = first
            guard response.status == 503, retries < Self.maximumRetries,
                let text = response.headers.first(name: "Retry-After"),
                let seconds = Double(text), (0...60).contains(seconds)
            else { return (response, first, retries) }
            retries += 1
            try await Task.sleep(for: .seconds(max(seconds, 0.05)))
        }
    }

    private static func expect(
        _ statuses: Set<Int>, _ response: HTTPPool.Response, _ step: String
    ) throws {
        guard statuses.contains(response.status) else {
            throw WHEPFailure.refused(step: step, status: response.status)
        }
    }

    private static func read<Value: Decodable>(
        _ response: HTTPPool.Response, _ step: String
    ) throws -> Value {
        do {
            return try JSONDecoder().decode(
                Value.self, from: Data(response.body.readableBytesView))
        } catch {
            throw WHEPFailure.unreadable(step: step)
        }
    }

    /// The path of a URL that may be absolute.
    private static func path(_ url: String) -> String {
        guard let scheme = url.range(of: "://") else { return url }
        let rest = url[scheme.upperBound...]
        return rest.firstIndex(of: "/").map { String(rest[$0...]) } ?? "/"
    }
}
