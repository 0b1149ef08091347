// Playback in the document of the interface.
// SPDX-License-Identifier: Apache-2.0

import Domain

extension Operation {
    static let preparePlayback = Operation(
        "prepare_playback", .playback, "Opens a playback session",
        body: .json(PrepareRequest.schema), answers: [.json(PlaybackBody.schema)],
        errors: recorded + [.recordingNotFound, .sessionRevoked])

    static let playbackStatus = Operation(
        "get_playback_status", .playback, "A playback session, with a fresh link",
        path: ["session": .part], answers: [.json(PlaybackBody.schema)],
        errors: [.notFound, .linkExpired])

    static let playbackPlaylist = Operation(
        "get_playback_playlist", .playback, "The playlist of a session; its name is {session}.m3u8",
        path: ["name": .part], query: [token], answers: [.media("application/vnd.apple.mpegurl")],
        errors: [.notFound, .recordingNotFound])

    static let playbackSegment = Operation(
        "get_playback_segment", .playback, "A part of a session's video",
        path: ["session": .part, "name": .part], query: [token], answers: [.media("video/mp4")],
        errors: [.notFound, .recordingNotFound])

    static let timeline = Operation(
        "get_timeline", .playback, "What of a camera was recorded, for a scrub bar",
        query: [
            .camera, .required("start_time", .time), .required("end_time", .time),
            Parameter("resolution_seconds", .integer(Bounds.timelineResolutionSeconds)),
        ], answers: [.json(TimelineBody.schema)], errors: recorded)

    static let thumbnail = Operation(
        "get_thumbnail", .playback, "The nearest keyframe of a recording",
        query: [.camera, .required("at", .time), .width],
        answers: [.media("image/jpeg", headers: ["X-Frame-Time": .time])],
        errors: recorded + [.recordingNotFound, .linkExpired])

    private static let recorded: [MarsadError.Code] = [
        .cameraNotFound, .sourceForbidden, .invalidTimeRange,
    ]
    /// A link without one is refused as any other that is not signed.
    private static let token = Parameter("token", .text())
}

extension PrepareRequest {
    static let schema = Schema.object(
        "PlaybackRequest",
        [
            "camera_id": .identifier, "start_time": .time, "end_time": .time,
            "format": .choice(["HLS"]).optional, "segment_type": .choice(["CMAF"]).optional,
        ])
}

extension PlaybackBody {
    static let schema = Schema.object(
        "Playback",
        [
            "session_id": .part, "job_id": .part,
            "status": .choice(["READY", "PROCESSING", "FAILED"]), "progress": .integer(0...100),
            "origin": .choice(["LOCAL", "MILESTONE"]), "playlist_url": .text(),
            "expires_at": .time, "gaps": .list(GapBody.schema), "estimated_seconds": .count,
        ])
}

extension GapBody {
    static let schema = Schema.object(
        "Gap", ["start_time": .time, "end_time": .time, "reason": .choice(GapReason.allCases)])
}

extension TimelineBody {
    static let schema = Schema.object(
        "Timeline",
        [
            "camera_id": .identifier,
            "coverage": .list(.object(["start_time": .time, "end_time": .time])),
            "gaps": .list(GapBody.schema),
        ])
}
