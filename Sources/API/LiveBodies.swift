// Bodies of reservations, as the HTTP contract writes them.
// SPDX-License-Identifier: Apache-2.0

import Domain
import Live
import NIOCore
import Primitives

/// `POST /api/v1/stream/reserve`, validated.
struct ReserveRequest {
    var cameraID: CameraID
    var quality = StreamQuality.auto
    var duration: Duration?

    private static let keys = schema.keys

    init(parsing body: ByteBuffer) throws {
        let object = try JSONObject(parsing: body, allowing: Self.keys)
        guard let id = CameraID(try object.requiredText("camera_id")) else {
            throw MarsadError(.cameraNotFound)
        }
        cameraID = id
        if let text = try object.text("quality") {
            guard let known = StreamQuality(rawValue: text) else {
                let allowed = StreamQuality.allCases.map(\.rawValue).joined(separator: ", ")
                throw MarsadError(
                    .invalidRequest, details: ["key": "quality", "allowed": allowed])
            }
            quality = known
        }
        duration = try object.integer("duration_seconds", in: Bounds.reservationSeconds)
            .map { .seconds($0) }
    }
}

/// What a reservation answers: where to watch, and with what.
enum ReservationBody {
    static func json(_ reservation: StreamReservation, relays: [ICEServer]) -> ByteBuffer {
        JSONText.object { body in
            body.member("reservation_id", reservation.id)
            body.member("camera_id", reservation.cameraID.rawValue)
            body.member("source", reservation.source.rawValue)
            body.member("expires_at", reservation.expiresAt.description)
            body.member(
                "heartbeat_interval_seconds",
                Int(StreamReservations.heartbeatInterval.components.seconds))
            body.member("current_usage", reservation.usage.current)
            if let limit = reservation.usage.limit { body.member("limit", limit) }
            body.member("transport") { transport in
                transport.member("kind", "whep")
                transport.member("url", "/api/v1/live/\(reservation.cameraID)/whep")
            }
            body.member("token", reservation.token.reveal())
            body.member("room_name", "camera_\(reservation.cameraID)")
            // For `RTCPeerConnection`, as it takes them.
            body.member("ice_servers", of: relays) { server, relay in
                server.member("urls", relay.url)
                server.member("username", relay.username)
                server.member("credential", relay.credential.reveal())
            }
        }
    }
}

enum HeartbeatBody {
    static func json(_ reservation: StreamReservation, _ left: Duration) -> ByteBuffer {
        JSONText.object { body in
            body.member("reservation_id", reservation.id)
            body.member("expires_at", reservation.expiresAt.description)
            body.member("ttl_seconds", Int(left.components.seconds))
        }
    }
}

/// Which wall time a camera's RTP time stands for, and the server's own time: a page works out from both
/// how old the frame is that it shows.
struct ClockBody: Encodable {
    var rtpTime: UInt32
    var clockRate = 90_000
    var wallTime: String
    var now: String

    init(_ clock: LiveClock, now: WallTime) {
        rtpTime = clock.rtpTime
        wallTime = clock.wallTime.description
        self.now = now.description
    }
}

struct StreamStatsBody: Encodable {
    struct Line: Encodable {
        var source: String
        var nameEn: String
        var nameAr: String
        var current: Int
        var limit: Int?
        var viewers: Int
    }
    struct Total: Encodable {
        var current: Int
        var limit: Int?
        var viewers: Int
    }
    var sources: [Line]
    var total: Total
    var at: String

    /// - Parameter visibility: what is outside it is neither listed nor counted.
    init(
        _ report: SeatReport, seenBy visibility: Visibility, viewers: [Source: Int], at: WallTime
    ) {
        let seen = visibility.sources
        let visible = report.sources.filter { seen?.contains($0.source) ?? true }
        let usage = Dictionary(
            visible.map { ($0.source, $0) }, uniquingKeysWith: { first, _ in first })
        sources = Set(usage.keys).union(viewers.keys).sorted().map {
            Line(
                source: $0.rawValue, nameEn: report.limits.nameEnglish(of: $0),
                nameAr: report.limits.nameArabic(of: $0), current: usage[$0]?.current ?? 0,
                limit: usage[$0]?.limit, viewers: viewers[$0] ?? 0)
        }
        total = Total(
            current: visibility.isEverything
                ? report.total : visible.map(\.current).reduce(0, +),
            limit: visibility.isEverything ? report.limits.total : nil,
            viewers: viewers.values.reduce(0, +))
        self.at = at.description
    }
}
