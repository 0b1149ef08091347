// The routes of the HTTP contract that this version serves.
// SPDX-License-Identifier: Apache-2.0

package import Domain
import HTTPTypes
import Hummingbird
package import Ingest
package import Live
package import Logging
import NIOCore
package import Observability
package import Playback
import Primitives
package import Quota

/// What the routes are made of.
package struct APIServices: Sendable {
    package var world: World
    package var cameras: CameraStore
    package var node: any CameraNode
    package var catalog: RecordingCatalog
    package var playback: PlaybackService
    package var live: LiveHLS
    package var reservations: StreamReservations
    package var quota: QuotaService
    package var relays: TURNServers
    package var thumbnails: Thumbnails
    package var registry: MetricsRegistry
    package var logger: Logger
    package var version: String
    package var settings: GatewaySettings
    package var hub: UpdatesHub
    /// Tells who a bearer is; `nil` while the only caller is this machine itself.
    package var authenticate: Authenticator?

    package init(
        world: World, cameras: CameraStore, node: any CameraNode, catalog: RecordingCatalog,
        playback: PlaybackService, live: LiveHLS, reservations: StreamReservations,
        quota: QuotaService, relays: TURNServers, thumbnails: Thumbnails,
        registry: MetricsRegistry, logger: Logger, version: String,
        settings: GatewaySettings, hub: UpdatesHub, authenticate: Authenticator?
    ) {
        self.world = world
        self.cameras = cameras
        self.node = node
        self.catalog = catalog
        self.playback = playback
        self.live = live
        self.reservations = reservations
        self.quota = quota
        self.relays = relays
        self.thumbnails = thumbnails
        self.registry = registry
        self.logger = logger
        self.version = version
        self.settings = settings
        self.hub = hub
        self.authenticate = authenticate
    }
}

/// Registers every route.
package struct Routes: Sendable {
    private static let longestTimeline = Duration.seconds(31 * 86_400)
    let services: APIServices
    let tickets: SocketTickets

    package init(_ services: APIServices) {
        self.services = services
        tickets = SocketTickets(world: services.world)
    }

    /// Every route of this version, with what it asks of its callers.
    package func table() -> RouteTable {
        let limiter = RequestLimiter(
            world: services.world, settings: services.settings, registry: services.registry)
        let table = RouteTable(
            Admission(
                world: services.world, settings: services.settings,
                authenticate: services.authenticate, limiter: limiter, tickets: tickets,
                answers: IdempotentAnswers(world: services.world)))
        table.router.middlewares.add(
            Gateway(
                world: services.world, registry: services.registry, logger: services.logger,
                settings: services.settings, limiter: limiter))
        operations(table)
        cameras(table.group("api/v1/cameras"))
        live(table.group("api/v1/live"))
        whep(table.group("api/v1/live"))
        whip(table.group("api/v1/ingest"))
        streams(table.group("api/v1/stream"))
        playback(table.group("api/v1/playback"))
        sockets(table)
        table.refuseOtherMethods()
        return table
    }

    /// Ends what was opened with rights that have ended: sockets, and tickets for them.
    package func revoke(_ revocation: Revocation) {
        tickets.revoke(revocation)
        services.hub.revoke(revocation)
    }

    // MARK: Cameras

    private func cameras(_ group: RouteGroup) {
        group.get("", .permission(.viewCamera)) { request, _ in try await listCameras(request) }
        group.get(":id", .permission(.viewCamera)) { _, context in
            let camera = try await camera(context)
            let state = await services.node.state(of: camera.id)
            return try jsonResponse(CameraBody(camera, state ?? StreamState()))
        }
        group.get(":id/snapshot.jpg", .permission(.viewCamera), isMedia: true) { request, context in
            try await snapshot(request, context)
        }
    }

    private func listCameras(_ request: Request) async throws -> Response {
        let query = try Query(request, allowing: ["source", "status", "q", "limit", "offset"])
        let limit = try query.integer("limit", in: 1...500) ?? 100
        let offset = try query.integer("offset", in: 0...1_000_000) ?? 0
        let states = await services.node.states()
        let words = query["q"]?.lowercased()
        let all = try await services.cameras.all().map {
            CameraBody($0, states[$0.id] ?? StreamState())
        }.filter { camera in
            (query["source"].map { $0 == camera.source } ?? true)
                && (query["status"].map { $0 == camera.status } ?? true)
                && (words.map {
                    camera.name.lowercased().contains($0) || camera.nameAr.contains($0)
                } ?? true)
        }
        return try jsonResponse(
            CameraListBody(
                cameras: Array(all.dropFirst(offset).prefix(limit)), total: all.count,
                lastUpdated: services.world.wallTime().description))
    }

    private func snapshot(_ request: Request, _ context: MarsadRequestContext) async throws
        -> Response
    {
        let query = try Query(request, allowing: ["width"])
        let width = try query.integer("width", in: 16...3840)
        let camera = try await camera(context)
        guard
            let picture = try await services.thumbnails.snapshot(
                of: camera.id, width: width, at: services.world.wallTime())
        else {
            throw MarsadError(.cameraUnavailable, details: ["camera_id": camera.id.rawValue])
        }
        let state = await services.node.state(of: camera.id) ?? StreamState()
        var headers = HTTPFields()
        headers[.frameTime] = picture.wallTime.description
        headers[.cameraStatus] = CameraBody.status(state)
        return jpeg(picture, headers)
    }

    private func jpeg(_ picture: Thumbnail, _ headers: HTTPFields) -> Response {
        var headers = headers
        headers[.contentType] = "image/jpeg"
        headers[.cacheControl] = "no-store"
        return Response(status: .ok, headers: headers, body: .init(byteBuffer: picture.jpeg))
    }

    func camera(_ context: MarsadRequestContext) async throws -> Camera {
        guard let id = context.parameters.get("id").flatMap({ CameraID($0) }) else {
            throw MarsadError(.cameraNotFound)
        }
        return try await camera(id)
    }

    func camera(_ id: CameraID) async throws -> Camera {
        guard let camera = try await services.cameras.camera(id) else {
            throw MarsadError(.cameraNotFound)
        }
        return camera
    }

    // MARK: Live

    private func live(_ group: RouteGroup) {
        group.get(":id/hls/index.m3u8", .reservation, isMedia: true) { request, context in
            let camera = try await seated(request, context)
            return playlist(try await services.live.playlist(of: camera.id))
        }
        group.get(":id/hls/:segment/:name", .reservation, isMedia: true) { request, context in
            let camera = try await seated(request, context)
            let segment = try context.parameters.require("segment")
            let name = try context.parameters.require("name")
            return video(
                try await services.live.media(of: camera.id, segmentID: segment, name: name))
        }
    }

    /// Watching by HLS takes a seat as watching by WebRTC does.
    private func seated(
        _ request: Request, _ context: MarsadRequestContext
    ) async throws -> Camera {
        let camera = try await camera(context)
        _ = try await reservation(request, for: camera.id)
        return camera
    }

    private func playlist(_ text: String) -> Response {
        Response(
            status: .ok,
            headers: [.contentType: "application/vnd.apple.mpegurl", .cacheControl: "no-store"],
            body: .init(byteBuffer: ByteBuffer(string: text)))
    }

    private func video(_ bytes: ByteBuffer) -> Response {
        Response(
            status: .ok,
            headers: [.contentType: "video/mp4", .cacheControl: "private, max-age=600"],
            body: .init(byteBuffer: bytes))
    }

    // MARK: Playback

    private func playback(_ group: RouteGroup) {
        group.post("prepare", .permission(.viewPlayback)) { request, _ in
            var request = request
            let body = try await request.collectJSON()
            let wanted = try PrepareRequest(parsing: body)
            _ = try await camera(wanted.cameraID)
            return try jsonResponse(
                PlaybackBody(try await services.playback.prepare(wanted.cameraID, wanted.range)))
        }
        group.get("status/:session", .permission(.viewPlayback)) { _, context in
            let session = try context.parameters.require("session")
            return try jsonResponse(PlaybackBody(try await services.playback.status(session)))
        }
        group.get("playlist/:name", .signedLink, isMedia: true) { request, context in
            let name = try context.parameters.require("name")
            guard name.hasSuffix(".m3u8") else { throw MarsadError(.notFound) }
            return playlist(
                try await services.playback.playlist(
                    String(name.dropLast(5)), token: try token(request)))
        }
        group.get("segment/:session/:name", .signedLink, isMedia: true) { request, context in
            let session = try context.parameters.require("session")
            let name = try context.parameters.require("name")
            return video(
                try await services.playback.media(session, name: name, token: try token(request)))
        }
        group.get("timeline", .permission(.viewPlayback)) { request, _ in
            try await timeline(request)
        }
        group.get("thumbnail", .permission(.viewPlayback), isMedia: true) { request, _ in
            try await thumbnail(request)
        }
    }

    private func token(_ request: Request) throws -> String {
        guard let token = try Query(request, allowing: ["token"])["token"] else {
            throw MarsadError(.invalidSignature)
        }
        return token
    }

    private func timeline(_ request: Request) async throws -> Response {
        let query = try Query(
            request, allowing: ["camera_id", "start_time", "end_time", "resolution_seconds"])
        let camera = try await camera(try query.cameraID())
        let resolution = try query.integer("resolution_seconds", in: 1...86_400) ?? 1
        guard
            let range = TimeRange(
                start: try query.time("start_time"), end: try query.time("end_time")),
            range.end - range.start <= Self.longestTimeline
        else { throw MarsadError(.invalidTimeRange) }
        let timeline = Timeline(
            spans: try await services.catalog.spans(camera.id, range),
            gaps: try await services.catalog.gaps(camera.id, range), range: range,
            resolution: .seconds(resolution))
        return try jsonResponse(TimelineBody(camera.id, timeline))
    }

    private func thumbnail(_ request: Request) async throws -> Response {
        let query = try Query(request, allowing: ["camera_id", "at", "width"])
        let camera = try await camera(try query.cameraID())
        let picture = try await services.thumbnails.thumbnail(
            of: camera.id, at: try query.time("at"),
            width: try query.integer("width", in: 16...3840))
        return jpeg(picture, [.frameTime: picture.wallTime.description])
    }
}

extension Request {
    /// The whole body, or PAYLOAD_TOO_LARGE.
    mutating func collectBody(upTo limit: Int) async throws -> ByteBuffer {
        do {
            return try await body.collect(upTo: limit)
        } catch is NIOTooManyBytesError {
            throw MarsadError(.payloadTooLarge)
        }
    }
}
