// The routes of the HTTP contract that this version serves.
// SPDX-License-Identifier: Apache-2.0

package import Domain
import HTTPTypes
import Hummingbird
package import Identity
package import Ingest
package import Layouts
package import Live
package import Logging
package import NIOCore
import NIOFoundationCompat
package import Observability
package import Playback
import Primitives
package import Quota

/// What the routes are made of.
package final class APIServices: Sendable {
    package let world: World
    package let cameras: CameraStore
    let directory: CameraDirectory
    let listing = CameraListing()
    package let administration: CameraAdministration
    let cameraImport: CameraImport
    package let probe: CameraProbe
    package let node: any CameraNode
    package let catalog: RecordingCatalog
    package let playback: PlaybackService
    package let live: LiveHLS
    package let reservations: StreamReservations
    package let quota: QuotaService
    package let limits: LimitAdministration
    package let layouts: LayoutService
    package let relays: TURNServers
    package let thumbnails: Thumbnails
    package let registry: MetricsRegistry
    package let logger: Logger
    package let version: String
    package let settings: GatewaySettings
    package let hub: UpdatesHub
    package let identity: IdentityService
    /// `nil` where no identity system has a secret to sign its events with.
    package let webhook: IAMWebhook?

    package init(
        world: World, cameras: CameraStore, administration: CameraAdministration,
        probe: CameraProbe,
        node: any CameraNode, catalog: RecordingCatalog,
        playback: PlaybackService, live: LiveHLS, reservations: StreamReservations,
        quota: QuotaService, limits: LimitAdministration,
        layouts: LayoutService, relays: TURNServers,
        thumbnails: Thumbnails,
        registry: MetricsRegistry, logger: Logger, version: String,
        settings: GatewaySettings, hub: UpdatesHub, identity: IdentityService,
        webhook: IAMWebhook?
    ) {
        self.world = world
        self.cameras = cameras
        directory = CameraDirectory(store: cameras, world: world)
        self.administration = administration
        self.probe = probe
        cameraImport = CameraImport(administration)
        self.node = node
        self.catalog = catalog
        self.playback = playback
        self.live = live
        self.reservations = reservations
        self.quota = quota
        self.limits = limits
        self.layouts = layouts
        self.relays = relays
        self.thumbnails = thumbnails
        self.registry = registry
        self.logger = logger
        self.version = version
        self.settings = settings
        self.hub = hub
        self.identity = identity
        self.webhook = webhook
    }
}

/// Registers every route.
package struct Routes: Sendable {
    /// One thing to hold on to, for the closure of each route.
    private final class Parts: Sendable {
        let services: APIServices
        let tickets: SocketTickets
        let document: Result<ByteBuffer, any Error>

        init(
            _ services: APIServices, _ tickets: SocketTickets,
            _ document: Result<ByteBuffer, any Error>
        ) {
            self.services = services
            self.tickets = tickets
            self.document = document
        }
    }

    private let parts: Parts?

    package init(_ services: APIServices) {
        parts = Parts(
            services, SocketTickets(world: services.world),
            Result { try Self.document(version: services.version) })
    }

    private init() { parts = nil }

    /// Every route of this version, for who describes them and serves none: only a handler asks for
    /// services, and without an `Admission` no handler runs.
    package static func described() -> [Route] { Routes().table().routes }

    /// The document of the interface, as text.
    package static func document(version: String, isPretty: Bool = false) throws -> ByteBuffer {
        ByteBuffer(
            data: try OpenAPIDocument(described(), version: version).value.bytes(isPretty: isPretty)
        )
    }

    /// The same requests, for who tries them by hand with Postman.
    package static func postmanCollection() throws -> ByteBuffer {
        ByteBuffer(data: try PostmanCollection(described()).value.bytes(isPretty: true))
    }

    var services: APIServices { working.services }
    var tickets: SocketTickets { working.tickets }
    /// `GET /openapi.json`, as it was made at start.
    var document: Result<ByteBuffer, any Error> { working.document }

    private var working: Parts {
        guard let parts else { preconditionFailure("routes that are described serve nobody") }
        return parts
    }

    private func table() -> RouteTable {
        let table = RouteTable()
        operations(table)
        authentication(table)
        administration(table)
        audit(table)
        cameras(table.group("api/v1/cameras"))
        cameraAdministration(table.group("api/v1/cameras"))
        cameraImport(table.group("api/v1/cameras"))
        probe(table.group("api/v1/cameras"))
        folders(table.group("api/v1/folders"))
        limits(table.group("api/v1/admin"))
        layouts(table.group("api/v1/layouts"))
        live(table.group("api/v1/live"))
        whep(table.group("api/v1/live"))
        whip(table.group("api/v1/ingest"))
        streams(table.group("api/v1/stream"))
        playback(table.group("api/v1/playback"))
        sockets(table)
        return table
    }

    /// Answers requests to every route of this version, behind what each asks of its callers.
    func responder() -> Gateway {
        let limiter = RequestLimiter(
            world: services.world, settings: services.settings, registry: services.registry)
        let identity = services.identity
        let admission = Admission(
            world: services.world, settings: services.settings,
            authenticate: { bearer, origin throws(MarsadError) in
                try await identity.authenticate(bearer.reveal(), from: origin)
            }, limiter: limiter, tickets: tickets,
            answers: IdempotentAnswers(world: services.world),
            refusals: RefusalLog(world: services.world, auditing: identity.auditing))
        let table = table()
        return Gateway(
            routes: table.responder(admission), world: services.world,
            metrics: RequestMetrics(registry: services.registry), logger: services.logger,
            settings: services.settings, limiter: limiter, negotiations: table.negotiations)
    }

    /// Ends what was opened with rights that have ended: sockets and tickets for them, live viewing and
    /// playback.
    package func revoke(_ revocation: Revocation) async {
        tickets.revoke(revocation)
        services.hub.revoke(revocation)
        await services.reservations.revoke(revocation)
        await services.playback.revoke(revocation)
    }

    // MARK: Cameras

    private func cameras(_ group: RouteGroup) {
        group.get("", .permission(.viewCamera), .listCameras) { request, context in
            try await listCameras(request, context.caller)
        }
        group.get(":id", .permission(.viewCamera), .getCamera) { _, context in
            let camera = try await camera(context)
            let state = await services.node.state(of: camera.id)
            var body = CameraBody(camera, state ?? StreamState())
            if context.caller.may(.administerStorage) {
                body.rtspUrl = CameraAddress.withoutCredentials(camera.address)
            }
            return try jsonResponse(body)
        }
        group.get(":id/snapshot.jpg", .permission(.viewCamera), .snapshot, isMedia: true) {
            request, context in
            try await snapshot(request, context)
        }
    }

    private func listCameras(_ request: Request, _ caller: Caller) async throws -> Response {
        let query = Query(request)
        let limit = query.integer("limit") ?? 100
        let offset = query.integer("offset") ?? 0
        let words = query["q"]?.lowercased()
        if let text = query["source"], Source(text) == nil {
            throw MarsadError(.invalidRequest, details: ["parameter": "source"])
        }
        let page = try await services.listing.page(
            of: services.directory.snapshot(), services.node, at: services.world.now())
        let (source, status) = (query["source"], query["status"])
        let found = page.entries.filter { entry in
            caller.visibility.allows(entry.camera)
                && (source.map { $0 == entry.camera.source.rawValue } ?? true)
                && (status.map { $0 == entry.status } ?? true)
                && (words.map(entry.words.contains) ?? true)
        }
        return jsonResponse(
            bytes: CameraListing.body(
                found.dropFirst(offset).prefix(limit), total: found.count,
                at: page.snapshot.readAt.description))
    }

    private func snapshot(_ request: Request, _ context: MarsadRequestContext) async throws
        -> Response
    {
        let width = Query(request).integer("width")
        let camera = try await camera(context, to: .viewCamera)
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

    func jpeg(_ picture: Thumbnail, _ headers: HTTPFields) -> Response {
        var headers = headers
        headers[.contentType] = "image/jpeg"
        headers[.cacheControl] = "no-store"
        return Response(status: .ok, headers: headers, body: .init(byteBuffer: picture.jpeg))
    }

    /// The camera of the path, where the caller may know of it.
    private func camera(_ context: MarsadRequestContext) async throws -> Camera {
        try await camera(context.cameraID(), for: context.caller.visibility)
    }

    /// The same, where he may do this with it as well.
    func camera(
        _ context: MarsadRequestContext, to action: Permission.Action
    ) async throws -> Camera {
        try await camera(context.cameraID(), for: context.caller, to: action)
    }

    func camera(_ id: CameraID, for visibility: Visibility) async throws -> Camera {
        guard let camera = try await services.directory.camera(id, visibility) else {
            throw MarsadError(.cameraNotFound)
        }
        return camera
    }

    func camera(
        _ id: CameraID, for caller: Caller, to action: Permission.Action
    ) async throws -> Camera {
        let camera = try await camera(id, for: caller.visibility)
        guard caller.may(action, on: camera) else {
            throw MarsadError(
                .sourceForbidden,
                details: [
                    "camera_id": id.rawValue, "source": camera.source.rawValue,
                    "permission": action.rawValue,
                ])
        }
        return camera
    }

    // MARK: Live

    private func live(_ group: RouteGroup) {
        group.get(":id/hls/index.m3u8", .reservation, .livePlaylist, isMedia: true) {
            request, context in
            let (camera, _) = try await seated(request, context)
            return playlist(try await services.live.playlist(of: camera.id))
        }
        group.get(":id/hls/:segment/:name", .reservation, .liveSegment, isMedia: true) {
            request, context in
            let (camera, _) = try await seated(request, context)
            let segment = try context.parameters.require("segment")
            let name = try context.parameters.require("name")
            return video(
                try await services.live.media(of: camera.id, segmentID: segment, name: name))
        }
    }

    func playlist(_ text: String) -> Response {
        Response(
            status: .ok,
            headers: [.contentType: "application/vnd.apple.mpegurl", .cacheControl: "no-store"],
            body: .init(byteBuffer: ByteBuffer(string: text)))
    }

    func video(_ bytes: ByteBuffer) -> Response {
        Response(
            status: .ok,
            headers: [.contentType: "video/mp4", .cacheControl: "private, max-age=600"],
            body: .init(byteBuffer: bytes))
    }
}

extension MarsadRequestContext {
    /// The camera of the path; what is no camera's id is none.
    func cameraID() throws(MarsadError) -> CameraID {
        guard let id = parameters.get("id").flatMap({ CameraID($0) }) else {
            throw MarsadError(.cameraNotFound)
        }
        return id
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
