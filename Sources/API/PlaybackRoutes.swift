// Playback over HTTP: what may be scrubbed through and played, and how far back.
// SPDX-License-Identifier: Apache-2.0

import Domain
import HTTPTypes
import Hummingbird
import Ingest
import Playback
import Primitives

extension Routes {
    private static let longestTimeline = Duration.seconds(31 * 86_400)
    /// A page asks for the last hours a moment after it looked at its clock, which is not ours.
    private static let reachTolerance = Duration.seconds(60)

    func playback(_ group: RouteGroup) {
        group.post("prepare", .permission(.viewPlayback), .preparePlayback) { request, context in
            try await prepare(request, context.caller)
        }
        group.get("status/:session", .permission(.viewPlayback), .playbackStatus) { _, context in
            let session = try context.parameters.require("session")
            return try jsonResponse(
                PlaybackBody(try await services.playback.status(session, by: context.caller)))
        }
        group.get("playlist/:name", .signedLink, .playbackPlaylist, isMedia: true) {
            request, context in
            let name = try context.parameters.require("name")
            guard name.hasSuffix(".m3u8") else { throw MarsadError(.notFound) }
            return playlist(
                try await services.playback.playlist(
                    String(name.dropLast(5)), token: try token(request)))
        }
        group.get("segment/:session/:name", .signedLink, .playbackSegment, isMedia: true) {
            request, context in
            let session = try context.parameters.require("session")
            let name = try context.parameters.require("name")
            return video(
                try await services.playback.media(session, name: name, token: try token(request)))
        }
        group.get("timeline", .permission(.viewPlayback), .timeline) { request, context in
            try await timeline(request, context.caller)
        }
        group.get("thumbnail", .permission(.viewPlayback), .thumbnail, isMedia: true) {
            request, context in
            try await thumbnail(request, context.caller)
        }
    }

    private func prepare(_ request: Request, _ caller: Caller) async throws -> Response {
        var request = request
        let wanted = try PrepareRequest(parsing: try await request.collectJSON())
        let (camera, earliest) = try await recorded(wanted.cameraID, caller)
        try check(wanted.range.start, earliest)
        let prepared = try await services.playback.prepare(camera.id, wanted.range, by: caller)
        try await confirm(caller, to: .viewPlayback, camera.id) {
            await services.playback.endSession(prepared.sessionID)
        }
        return try jsonResponse(PlaybackBody(prepared))
    }

    private func token(_ request: Request) throws -> String {
        guard let token = Query(request)["token"] else {
            throw MarsadError(.invalidSignature)
        }
        return token
    }

    /// What is older than the caller may play is not there for him.
    private func timeline(_ request: Request, _ caller: Caller) async throws -> Response {
        let query = Query(request)
        let (camera, earliest) = try await recorded(try query.cameraID(), caller)
        let resolution =
            query.integer("resolution_seconds") ?? 1
        guard
            let range = TimeRange(
                start: try query.time("start_time"), end: try query.time("end_time")),
            range.end - range.start <= Self.longestTimeline
        else { throw MarsadError(.invalidTimeRange) }
        let start = max(range.start, earliest ?? range.start)
        guard let seen = TimeRange(start: start, end: range.end) else {
            let nothing = Timeline(spans: [], gaps: [], range: range, resolution: .seconds(1))
            return try jsonResponse(TimelineBody(camera.id, nothing))
        }
        let timeline = Timeline(
            spans: try await services.catalog.spans(camera.id, seen),
            gaps: try await services.catalog.gaps(camera.id, seen), range: seen,
            resolution: .seconds(resolution))
        return try jsonResponse(TimelineBody(camera.id, timeline))
    }

    private func thumbnail(_ request: Request, _ caller: Caller) async throws -> Response {
        let query = Query(request)
        let (camera, earliest) = try await recorded(try query.cameraID(), caller)
        let time = try query.time("at")
        try check(time, earliest)
        let picture = try await services.thumbnails.thumbnail(
            of: camera.id, at: time, width: query.integer("width"))
        return jpeg(picture, [.frameTime: picture.wallTime.description])
    }

    // MARK: How far back

    /// A camera that the caller may play back, and the earliest moment of it; `nil` without a limit.
    private func recorded(
        _ id: CameraID, _ caller: Caller
    ) async throws -> (Camera, earliest: WallTime?) {
        let camera = try await camera(id, for: caller, to: .viewPlayback)
        guard case .hours(let hours) = caller.playbackReach(of: camera.source, camera.folderID)
        else { return (camera, nil) }
        let reach = Duration.seconds(hours * 3600) + Self.reachTolerance
        return (camera, services.world.wallTime() + (.zero - reach))
    }

    private func check(_ time: WallTime, _ earliest: WallTime?) throws(MarsadError) {
        guard let earliest, time < earliest else { return }
        throw MarsadError(
            .forbidden,
            details: [
                "reason": "older than you may play back", "earliest": earliest.description,
            ])
    }
}
