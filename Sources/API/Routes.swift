// The routes of the HTTP contract that this version serves.
// SPDX-License-Identifier: Apache-2.0

package import Domain
import HTTPTypes
package import Hummingbird
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

    package init(
        world: World, cameras: CameraStore, node: any CameraNode, catalog: RecordingCatalog,
        playback: PlaybackService, live: LiveHLS, reservations: StreamReservations,
        quota: QuotaService, relays: TURNServers, thumbnails: Thumbnails,
        registry: MetricsRegistry, logger: Logger, version: String
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
    }
}

/// Registers every route.
package struct Routes: Sendable {
    private static let longestTimeline = Duration.seconds(31 * 86_400)
    let services: APIServices

    package init(_ services: APIServices) { self.services = services }

    package func router() -> Router<MarsadRequestContext> {
        let router = Router(
            context: MarsadRequestContext.self, options: .autoGenerateHeadEndpoints)
        router.middlewares.add(
            Gateway(world: services.world, registry: services.registry, logger: services.logger))
        operations(router)
        cameras(router.group("api/v1/cameras"))
        live(router.group("api/v1/live"))
        whep(router.group("api/v1/live"))
        whip(router.group("api/v1/ingest"))
        streams(router.group("api/v1/stream"))
        playback(router.group("api/v1/playback"))
        refuseOtherMethods(router)
        return router
    }

    /// A known address with a method it does not take: 405 with what it takes (RFC 9110 §15.5.6).
    private func refuseOtherMethods(_ router: Router<MarsadRequestContext>) {
        let taken = Dictionary(grouping: router.routes, by: \.path.description)
        for (path, routes) in taken.sorted(by: { $0.key < $1.key }) {
            var methods = Set(routes.map(\.method))
            if methods.contains(.get) { methods.insert(.head) }
            let allow = methods.map(\.rawValue).sorted().joined(separator: ", ")
            let others: [HTTPRequest.Method] = [
                .get, .head, .post, .put, .patch, .delete, .options,
            ]
            for method in others where !methods.contains(method) {
                router.on(RouterPath(path), method: method) { _, _ -> Response in
                    throw MarsadError(.methodNotAllowed, details: ["allow": allow])
                }
            }
        }
    }

    // MARK: Operations

    private func operations(_ router: Router<MarsadRequestContext>) {
        router.get("/") { _, _ in try Page.response("index.html") }
        router.get("page/:name") { _, context in
            try Page.response(try context.parameters.require("name"))
        }
        router.get("health") { _, _ in try jsonResponse(["status": "ok"]) }
        router.get("health/ready") { _, _ in try await ready() }
        router.get("version") { _, _ in
            try jsonResponse(["name": "marsad", "version": services.version])
        }
        router.get("metrics") { _, _ in try await metrics() }
    }

    private func ready() async throws -> Response {
        struct Dependency: Encodable {
            var name: String
            var status: String
            var latencyMs: Double
        }
        struct Ready: Encodable {
            var status: String
            var dependencies: [Dependency]
        }
        let begun = services.world.now()
        let isUp = (try? await services.cameras.all()) != nil
        let milliseconds = (services.world.now() - begun).inSeconds * 1000
        let database = Dependency(
            name: "database", status: isUp ? "ok" : "failed", latencyMs: milliseconds)
        return try jsonResponse(
            Ready(status: isUp ? "ok" : "failed", dependencies: [database]),
            status: isUp ? .ok : .serviceUnavailable)
    }

    private func metrics() async throws -> Response {
        let states = await services.node.states()
        var counts: [String: Int] = [:]
        // A lost database must not blind whoever looks for the reason: the last counts stay.
        for camera in (try? await services.cameras.all()) ?? [] {
            for status in StreamStatus.allCases {
                counts[camera.source.rawValue + "\n" + status.rawValue, default: 0] += 0
            }
            let status = states[camera.id]?.status ?? .connecting
            counts[camera.source.rawValue + "\n" + status.rawValue, default: 0] += 1
        }
        for (key, count) in counts {
            let parts = key.split(separator: "\n").map(String.init)
            services.registry.gauge(
                "cctv_ingest_streams", help: "Cameras, by the state of their stream.",
                labels: ["source": parts[0], "status": parts[1]]
            ).set(Double(count))
        }
        for (source, count) in (try? await viewersBySource()) ?? [:] {
            services.registry.gauge(
                "cctv_stream_viewers", help: "Connected live viewers.",
                labels: ["source": source.rawValue]
            ).set(Double(count))
        }
        return Response(
            status: .ok, headers: [.contentType: "text/plain; version=0.0.4; charset=utf-8"],
            body: .init(byteBuffer: ByteBuffer(string: services.registry.render())))
    }

    // MARK: Cameras

    private func cameras(_ group: RouterGroup<MarsadRequestContext>) {
        group.get { request, _ in try await listCameras(request) }
        group.get(":id") { _, context in
            let camera = try await camera(context)
            let state = await services.node.state(of: camera.id)
            return try jsonResponse(CameraBody(camera, state ?? StreamState()))
        }
        group.get(":id/snapshot.jpg") { request, context in
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

    private func live(_ group: RouterGroup<MarsadRequestContext>) {
        group.get(":id/hls/index.m3u8") { request, context in
            let camera = try await seated(request, context)
            return playlist(try await services.live.playlist(of: camera.id))
        }
        group.get(":id/hls/:segment/:name") { request, context in
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
        _ = try await services.reservations.check(try bearer(request), for: camera.id)
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

    private func playback(_ group: RouterGroup<MarsadRequestContext>) {
        group.post("prepare") { request, _ in
            var request = request
            let body = try await request.collectJSON()
            let wanted = try PrepareRequest(parsing: body)
            _ = try await camera(wanted.cameraID)
            return try jsonResponse(
                PlaybackBody(try await services.playback.prepare(wanted.cameraID, wanted.range)))
        }
        group.get("status/:session") { _, context in
            let session = try context.parameters.require("session")
            return try jsonResponse(PlaybackBody(try await services.playback.status(session)))
        }
        group.get("playlist/:name") { request, context in
            let name = try context.parameters.require("name")
            guard name.hasSuffix(".m3u8") else { throw MarsadError(.notFound) }
            return playlist(
                try await services.playback.playlist(
                    String(name.dropLast(5)), token: try token(request)))
        }
        group.get("segment/:session/:name") { request, context in
            let session = try context.parameters.require("session")
            let name = try context.parameters.require("name")
            return video(
                try await services.playback.media(session, name: name, token: try token(request)))
        }
        group.get("timeline") { request, _ in try await timeline(request) }
        group.get("thumbnail") { request, _ in try await thumbnail(request) }
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
