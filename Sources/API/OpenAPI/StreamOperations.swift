// Reservations, live HLS and WHEP in the document of the interface.
// SPDX-License-Identifier: Apache-2.0

import Domain

extension Operation {
    static let reserve = Operation(
        "reserve_stream", .streams, "Takes a seat at a camera, and tells where to watch it",
        body: .json(ReserveRequest.schema),
        answers: [.json(ReservationBody.schema, status: 201)],
        errors: [
            .cameraNotFound, .sourceForbidden, .agencyLimitExceeded, .viewerLimitExceeded,
        ])

    static let heartbeat = Operation(
        "heartbeat_stream", .streams, "Keeps a seat; without it the seat ends",
        path: ["id": .part], answers: [.json(HeartbeatBody.schema)],
        errors: [.reservationNotFound, .cameraNotFound, .sourceForbidden])

    static let release = Operation(
        "release_stream", .streams, "Gives a seat back; what is none is given back already",
        path: ["id": .text()], answers: [.noContent], errors: [.reservationNotFound])

    static let streamStats = Operation(
        "get_stream_stats", .streams, "Seats and viewers, by source",
        notes: "Of the sources that the caller sees.", answers: [.json(StreamStatsBody.schema)])

    static let liveClock = Operation(
        "get_live_clock", .streams, "Which wall time a camera's RTP time stands for",
        path: ["id": .identifier], answers: [.json(ClockBody.schema)],
        errors: [.cameraNotFound, .sourceForbidden, .cameraUnavailable])

    static let livePlaylist = Operation(
        "get_live_playlist", .streams, "Live HLS", path: ["id": .identifier],
        answers: [.media(playlistType)], errors: [.cameraNotFound, .forbidden, .cameraUnavailable])

    static let liveSegment = Operation(
        "get_live_segment", .streams, "A part of live HLS",
        path: ["id": .identifier, "segment": .part, "name": .part],
        answers: [.media("video/mp4")], errors: [.cameraNotFound, .forbidden, .notFound])

    // MARK: WHEP and WHIP

    static let joinWHEP = negotiation(
        "join_whep", .streams, "Watches a camera by WebRTC (WHEP)",
        errors: [.cameraNotFound, .forbidden, .sessionRevoked],
        errorsAt: [409: [.cameraUnavailable]])
    static let patchWHEP = patch(
        "patch_whep", .streams, errors: [.cameraNotFound, .forbidden, .notFound])
    static let leaveWHEP = Operation(
        "leave_whep", .streams, "Ends a WHEP session", path: session, answers: [done],
        errors: [.cameraNotFound, .forbidden, .notFound])

    static let joinWHIP = negotiation(
        "join_whip", .publishing, "Publishes a camera by WebRTC (WHIP, RFC 9725)", errors: [])
    static let patchWHIP = patch(
        "patch_whip", .publishing, errors: [.notFound])
    static let leaveWHIP = Operation(
        "leave_whip", .publishing, "Ends a WHIP session", path: session, answers: [done],
        errors: [.notFound])

    /// What may be asked of an endpoint (`isSession`: of a session of it) without a token.
    static func discovery(
        _ protocolName: String, _ tag: Tag, isSession: Bool, _ method: String
    ) -> Operation {
        let place = isSession ? "session" : "endpoint"
        return Operation(
            "\(method)_\(protocolName)_\(place)", tag, "What this \(place) speaks",
            // Nothing is said here of which there are, so any will do.
            path: isSession ? ["id": .text(), "session": .text()] : ["id": .text()],
            answers: [method == "get" ? .noContent : done])
    }

    private static let playlistType = "application/vnd.apple.mpegurl"
    private static let sdpType = "application/sdp"
    private static let fragmentType = "application/trickle-ice-sdpfrag"
    private static let session: [String: Schema] = ["id": .identifier, "session": .part]
    private static let done = Answer(200, "Done")
    private static let etag = Schema.text(pattern: "^\".+\"$")

    private static func negotiation(
        _ id: String, _ tag: Tag, _ summary: String, errors: [MarsadError.Code],
        errorsAt: [Int: [MarsadError.Code]] = [:]
    ) -> Operation {
        Operation(
            id, tag, summary, path: ["id": .identifier], body: Body(type: sdpType, schema: .text()),
            answers: [
                Answer(
                    201, "The answer; Location is the session", type: sdpType,
                    headers: [
                        "Location": .text(pattern: "^/api/v1/"), "ETag": etag,
                        "Accept-Patch": .text(), "Link": .text().optional,
                    ])
            ], errors: errors + [.invalidSDP, .conflict, .unprocessable, .cameraUnavailable],
            errorsAt: errorsAt)
    }

    private static func patch(
        _ id: String, _ tag: Tag, errors: [MarsadError.Code]
    ) -> Operation {
        Operation(
            id, tag, "Adds candidates, or restarts ICE", path: session,
            headers: [Parameter("If-Match", .text(1...200))],
            body: Body(type: fragmentType, schema: .text()),
            answers: [
                Answer(
                    200, "ICE was restarted", type: fragmentType,
                    headers: ["ETag": etag]), .noContent,
            ],
            errors: errors + [
                .invalidSDP, .preconditionFailed, .preconditionRequired, .unprocessable,
            ])
    }
}

extension ReserveRequest {
    static let schema = Schema.object(
        "ReservationRequest",
        [
            "camera_id": .identifier, "quality": .choice(StreamQuality.allCases).optional,
            "duration_seconds": .integer(Bounds.reservationSeconds).optional,
        ])
}

extension ReservationBody {
    static let schema = Schema.object(
        "Reservation",
        [
            "reservation_id": .part, "camera_id": .identifier, "source": .source,
            "expires_at": .time, "heartbeat_interval_seconds": .count, "current_usage": .count,
            "limit": .count.optional,
            "transport": .object(["kind": .choice(["whep"]), "url": .text()]),
            "token": .text(), "room_name": .text(),
            "ice_servers": .list(
                .object(["urls": .text(), "username": .text(), "credential": .text()])),
        ])
}

extension HeartbeatBody {
    static let schema = Schema.object(
        "Heartbeat",
        ["reservation_id": .part, "expires_at": .time, "ttl_seconds": .count])
}

extension ClockBody {
    static let schema = Schema.object(
        "LiveClock",
        [
            "rtp_time": .integer(0...Int(UInt32.max)), "clock_rate": .count, "wall_time": .time,
            "now": .time,
        ])
}

extension StreamStatsBody {
    static let schema = Schema.object(
        "StreamStats",
        [
            "sources": .list(
                .object([
                    "source": .source, "name_en": .text(), "name_ar": .text(), "current": .count,
                    "limit": .count.optional, "viewers": .count,
                ])),
            "total": .object([
                "current": .count, "limit": .count.optional, "viewers": .count,
            ]), "at": .time,
        ])
}
