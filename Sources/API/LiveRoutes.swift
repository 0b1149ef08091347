// Live viewing over HTTP: reservations, and WHEP by its draft, status by status.
// SPDX-License-Identifier: Apache-2.0

import Domain
import Foundation
import HTTPTypes
import Hummingbird
import Ingest
import Live
import NIOCore
import Primitives
import Quota

extension HTTPField.Name {
    static let acceptPost = HTTPField.Name("Accept-Post") ?? .eTag
    static let link = HTTPField.Name("Link") ?? .eTag
    static let acceptPatch = HTTPField.Name("Accept-Patch") ?? .eTag
}

extension Routes {
    private static let descriptionBytes = 128 * 1024
    private static let descriptionType = "application/sdp"
    private static let fragmentType = "application/trickle-ice-sdpfrag"

    // MARK: Reservations

    func streams(_ group: RouteGroup) {
        group.post("reserve", .permission(.viewCamera), .reserve) { request, context in
            try await reserve(request, context.caller)
        }
        group.post("heartbeat/:id", .permission(.viewCamera), .heartbeat) { _, context in
            try await heartbeat(try context.parameters.require("id"), context.caller)
        }
        group.delete("release/:id", .permission(.viewCamera), .release) { _, context in
            try await services.reservations.release(
                try context.parameters.require("id"), by: context.caller)
            return Response(status: .noContent)
        }
        group.get("stats", .permission(.viewCamera), .streamStats) { _, context in
            try await stats(context.caller.visibility)
        }
    }

    private func reserve(_ request: Request, _ caller: Caller) async throws -> Response {
        var request = request
        let wanted = try ReserveRequest(parsing: try await request.collectJSON())
        let camera = try await camera(wanted.cameraID, for: caller, to: .viewCamera)
        let reservation = try await services.reservations.reserve(
            camera.id, source: camera.source, quality: wanted.quality, duration: wanted.duration,
            by: caller)
        try await confirm(caller, to: .viewCamera, camera.id) {
            try await services.reservations.release(reservation.id, by: caller)
        }
        return jsonResponse(
            bytes: ReservationBody.json(reservation, relays: relays(of: reservation.id)),
            status: .created)
    }

    /// Whoever may not watch any more (a camera that moved, a group that was changed) does not go on.
    private func heartbeat(_ id: String, _ caller: Caller) async throws -> Response {
        let (reservation, left) = try await services.reservations.heartbeat(id, by: caller)
        do {
            _ = try await camera(reservation.cameraID, for: caller, to: .viewCamera)
        } catch let error as MarsadError {
            try await services.reservations.release(id, by: caller)
            throw error
        } catch {
            // The database is away: who watches goes on.
        }
        return jsonResponse(bytes: HeartbeatBody.json(reservation, left))
    }

    private func stats(_ visibility: Visibility) async throws -> Response {
        try jsonResponse(
            StreamStatsBody(
                await services.quota.report(), seenBy: visibility,
                viewers: try await viewersBySource(visibility), at: services.world.wallTime()))
    }

    /// Connected viewers; a source whose cameras nobody watches has 0.
    func viewersBySource(_ visibility: Visibility) async throws -> [Source: Int] {
        let viewers = await services.node.viewers()
        var bySource: [Source: Int] = [:]
        for camera in try await services.directory.all(visibility) {
            bySource[camera.source, default: 0] += viewers[camera.id] ?? 0
        }
        return bySource
    }

    // MARK: WHEP

    func whep(_ group: RouteGroup) {
        discovery(group, "whep", .streams)
        group.post(":id/whep", .reservation, .joinWHEP) { request, context in
            try await join(request, context)
        }
        group.get(":id/clock", .permission(.viewCamera), .liveClock) { _, context in
            let camera = try await camera(context, to: .viewCamera)
            guard let clock = await services.node.liveClock(of: camera.id) else {
                throw MarsadError(.cameraUnavailable, details: ["camera_id": camera.id.rawValue])
            }
            return try jsonResponse(ClockBody(clock, now: services.world.wallTime()))
        }
        group.patch(":id/whep/:session", .reservation, .patchWHEP) { request, context in
            let (camera, session, _) = try await session(request, context)
            return try await patch(request) { fragment, ifMatch in
                try await services.node.patchViewer(
                    session, of: camera, fragment: fragment, ifMatch: ifMatch)
            }
        }
        group.delete(":id/whep/:session", .reservation, .leaveWHEP) { request, context in
            let (_, session, reservation) = try await session(request, context)
            guard await services.node.closeViewer(session) else { throw MarsadError(.notFound) }
            await services.reservations.unbind(session, from: reservation)
            return Response(status: .ok, headers: Self.shared)
        }
    }

    private func join(_ request: Request, _ context: MarsadRequestContext) async throws -> Response
    {
        let (camera, reservation) = try await seated(request, context)
        let offer = try await self.offer(request)
        let state = await services.node.state(of: camera.id) ?? StreamState()
        guard state.status == .active else {
            throw MarsadError(
                .cameraUnavailable, status: 409,
                details: ["camera_id": camera.id.rawValue, "retry_after": "2"])
        }
        let quality = await services.reservations.quality(of: reservation)
        let answer = try await services.node.openViewer(
            of: camera.id, offer: offer, quality: quality)
        guard await services.reservations.bind(answer.sessionID, to: reservation) else {
            _ = await services.node.closeViewer(answer.sessionID)
            throw MarsadError(.tokenExpired)
        }
        return created(
            answer, at: "/api/v1/live/\(camera.id)/whep/\(answer.sessionID)",
            relays: relays(of: reservation))
    }

    // MARK: What WHEP and WHIP share

    /// The offer of a POST.
    func offer(_ request: Request) async throws -> String {
        var request = request
        guard request.isOf(Self.descriptionType) else { throw MarsadError(.unsupportedMediaType) }
        return String(buffer: try await request.collectBody(upTo: Self.descriptionBytes))
    }

    /// The answer to it.
    func created(_ answer: ViewerAnswer, at location: String, relays: [ICEServer]) -> Response {
        var headers = Self.shared
        headers[.contentType] = Self.descriptionType
        headers[.location] = location
        headers[.eTag] = "\"\(answer.etag)\""
        headers[.acceptPatch] = Self.fragmentType
        // For clients that know these protocols alone: one link a relay (RFC 9725 §4.6).
        for relay in relays {
            let link =
                "<\(relay.url)>; rel=\"ice-server\"; username=\"\(relay.username)\"; "
                + "credential=\"\(relay.credential.reveal())\"; credential-type=\"password\""
            headers.append(HTTPField(name: .link, value: link))
        }
        return Response(
            status: .created, headers: headers,
            body: .init(byteBuffer: ByteBuffer(string: answer.description)))
    }

    /// A PATCH with a fragment, given to `take` with its If-Match.
    func patch(
        _ request: Request,
        _ take: (_ fragment: String, _ ifMatch: String?) async throws -> ViewerPatch
    ) async throws -> Response {
        var request = request
        guard request.isOf(Self.fragmentType) else { throw MarsadError(.unsupportedMediaType) }
        let fragment = try await request.collectBody(upTo: Self.descriptionBytes)
        switch try await take(String(buffer: fragment), request.headers[.ifMatch]) {
        case .accepted:
            return Response(status: .noContent, headers: Self.shared)
        case .restarted(let etag, let text):
            var headers = Self.shared
            headers[.contentType] = Self.fragmentType
            headers[.eTag] = "\"\(etag)\""
            return Response(
                status: .ok, headers: headers,
                body: .init(byteBuffer: ByteBuffer(string: text)))
        }
    }

    /// The session of the path, when it was opened with the caller's reservation. Another's session is
    /// none: its address is no secret, and tells nothing.
    private func session(
        _ request: Request, _ context: MarsadRequestContext
    ) async throws -> (CameraID, session: String, reservation: String) {
        let session = try context.parameters.require("session")
        let (camera, reservation) = try await seated(request, context)
        guard await services.reservations.holds(session, by: reservation) else {
            throw MarsadError(.notFound)
        }
        return (camera.id, session, reservation)
    }

    /// The camera of the path, and the reservation for it whose token the request carries. Watching by
    /// HLS takes a seat as watching by WebRTC does.
    func seated(
        _ request: Request, _ context: MarsadRequestContext
    ) async throws -> (Camera, reservation: String) {
        let token = try request.bearer(upTo: 512)
        let holder = try await services.reservations.holder(of: token)
        let camera = try await camera(context.cameraID(), for: holder.visibility)
        return (camera, try await services.reservations.check(token, for: camera.id))
    }

    func relays(of reservation: String) -> [ICEServer] {
        services.relays.servers(for: reservation, at: services.world.wallTime())
    }

    // MARK: Sharing with other origins

    /// Players on other origins read these; without exposing them a browser hides Location (the
    /// commonest WHEP bug). Tokens are in a header, never in a cookie, so any origin may ask.
    static var shared: HTTPFields {
        var headers = HTTPFields()
        headers[.accessControlAllowOrigin] = "*"
        headers[.accessControlExposeHeaders] = "Location, ETag, Link, Retry-After, X-Request-ID"
        headers[.cacheControl] = "no-store"
        return headers
    }

    /// What may be asked of an endpoint and of its sessions without a token: OPTIONS, GET, and HEAD,
    /// which says what is spoken here (WHEP draft, discovery). Whether there is such a camera is not said
    /// to somebody who is not known.
    func discovery(_ group: RouteGroup, _ name: String, _ tag: Operation.Tag) {
        for isSession in [false, true] {
            let path = ":id/" + name + (isSession ? "/:session" : "")
            let operation = { Operation.discovery(name, tag, isSession: isSession, $0) }
            group.on(.options, path, .open, operation("options")) { _, _ in preflight() }
            group.get(path, .open, operation("get")) { _, _ in
                Response(status: .noContent, headers: Self.shared)
            }
            group.on(.head, path, .open, operation("head")) { _, _ in
                var headers = Self.shared
                headers[.contentType] = Self.descriptionType
                return Response(status: .ok, headers: headers)
            }
        }
    }

    private func preflight() -> Response {
        var headers = Self.shared
        headers[.accessControlAllowMethods] = "OPTIONS, GET, HEAD, POST, PATCH, DELETE"
        headers[.accessControlAllowHeaders] = "Authorization, Content-Type, If-Match, X-Request-ID"
        headers[.accessControlMaxAge] = "600"
        headers[.acceptPost] = Self.descriptionType
        return Response(status: .ok, headers: headers)
    }
}

extension Request {
    /// Compared without parameters and case.
    func isOf(_ type: String) -> Bool {
        let given = headers.value(.contentType) ?? ""
        if given == type { return true }
        return given.prefix { $0 != ";" }.trimmingCharacters(in: .whitespaces).lowercased() == type
    }

    /// A body that says it is JSON: a form of another site's page cannot say so without asking first.
    mutating func collectJSON() async throws -> ByteBuffer {
        guard isOf("application/json") else { throw MarsadError(.unsupportedMediaType) }
        return try await collectBody(upTo: 64 * 1024)
    }
}
