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

    init(parsing body: ByteBuffer) throws {
        let object = try JSONObject(parsing: body, allowing: Self.schema.keys)
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

struct ReservationBody: Encodable {
    struct Transport: Encodable {
        var kind = "whep"
        var url: String
    }
    var reservationId: String
    var cameraId: String
    var source: String
    var expiresAt: String
    var heartbeatIntervalSeconds: Int64
    var currentUsage: Int
    var limit: Int?
    var transport: Transport
    var token: String
    var roomName: String
    /// For `RTCPeerConnection`, as it takes them.
    struct Relay: Encodable {
        var urls: String
        var username: String
        var credential: String
    }
    var iceServers: [Relay]

    init(_ reservation: StreamReservation, relays: [ICEServer]) {
        iceServers = relays.map {
            Relay(urls: $0.url, username: $0.username, credential: $0.credential.reveal())
        }
        reservationId = reservation.id
        cameraId = reservation.cameraID.rawValue
        source = reservation.source.rawValue
        expiresAt = reservation.expiresAt.description
        heartbeatIntervalSeconds = StreamReservations.heartbeatInterval.components.seconds
        currentUsage = reservation.usage.current
        limit = reservation.usage.limit
        transport = Transport(url: "/api/v1/live/\(reservation.cameraID)/whep")
        token = reservation.token.reveal()
        roomName = "camera_\(reservation.cameraID)"
    }
}

struct HeartbeatBody: Encodable {
    var reservationId: String
    var expiresAt: String
    var ttlSeconds: Int64

    init(_ reservation: StreamReservation, _ left: Duration) {
        reservationId = reservation.id
        expiresAt = reservation.expiresAt.description
        ttlSeconds = left.components.seconds
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
