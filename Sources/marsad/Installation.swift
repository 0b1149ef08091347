// The wiring of one installation: every part made once, in the order in which they need each other.
// SPDX-License-Identifier: Apache-2.0

import API
import Database
import Domain
import Foundation
import Identity
import Ingest
import Layouts
import Live
import Logging
import NIOCore
import NIOPosix
import Observability
import Playback
import Primitives
import Quota
import Recording
import ServiceLifecycle

/// A data folder, opened: its lock, its key and its database.
struct DataFolder {
    let path: String
    let database: any DatabaseEngine
    let instanceKey: [UInt8]
    let cameras: CameraStore

    /// - Parameter exclusive: whether this process is to be the folder's server.
    static func open(
        _ configuration: Configuration, world: World, exclusive: Bool
    ) async throws -> DataFolder {
        let path = URL(fileURLWithPath: configuration.text("data")).standardizedFileURL.path
        do {
            try FileManager.default.createDirectory(
                atPath: path, withIntermediateDirectories: true,
                attributes: [.posixPermissions: 0o700])
        } catch {
            throw ConfigurationError(
                description: "data is \"\(path)\"; allowed: a folder that can be written")
        }
        if exclusive { try lock(path) }
        FileModes.close(path, database: path + "/marsad.sqlite")
        let database: any DatabaseEngine
        do {
            database = try await ConfiguredDatabase.open(configuration, in: path, world: world)
        } catch DatabaseError.full where SpaceReserve(dataFolder: path).release() {
            database = try await ConfiguredDatabase.open(configuration, in: path, world: world)
        }
        let key = try instanceKey(path + "/instance.key", world: world)
        return DataFolder(
            path: path, database: database, instanceKey: key,
            cameras: CameraStore(database: database, instanceKey: key))
    }

    /// For commands that only read: a wrong folder is told, and nothing is made in it.
    static func openExisting(
        _ configuration: Configuration, world: World
    ) async throws -> DataFolder {
        let path = configuration.text("data")
        guard FileManager.default.fileExists(atPath: path + "/instance.key") else {
            throw ConfigurationError(
                description: "data is \"\(path)\"; allowed: the folder of an installation")
        }
        return try await open(configuration, world: world, exclusive: false)
    }

    /// Changes of its cameras and their groups, told to the audit log.
    func administration(world: World, audit: AuditLog) -> CameraAdministration {
        CameraAdministration(
            cameras: cameras, folders: FolderStore(database: database), world: world
        ) { event, statements throws(DatabaseError) in
            try await audit.commit(event, with: statements)
        }
    }

    /// Layouts of its people, whose changes are told to the audit log.
    func layouts(world: World, audit: AuditLog) -> LayoutService {
        let cameras = cameras
        return LayoutService(store: LayoutStore(database: database), world: world) { visibility in
            try await cameras.identifiers(visibility)
        } commit: { event, statements throws(DatabaseError) in
            try await audit.commit(event, with: statements)
        }
    }

    /// Held until the process ends; the descriptor is meant to stay open.
    private static func lock(_ path: String) throws {
        let descriptor = Glibc.open(path + "/marsad.lock", O_CREAT | O_RDWR | O_CLOEXEC, 0o600)
        guard descriptor >= 0, flock(descriptor, LOCK_EX | LOCK_NB) == 0 else {
            throw ConfigurationError(description: "data: another Marsad is using \(path)")
        }
    }

    private static func instanceKey(_ path: String, world: World) throws -> [UInt8] {
        if let data = FileManager.default.contents(atPath: path) {
            guard data.count == 32 else {
                throw ConfigurationError(description: "\(path): not an instance key of 32 bytes")
            }
            return Array(data)
        }
        let key = world.secureRandomBytes(32)
        let descriptor = Glibc.open(path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0o600)
        guard descriptor >= 0, Glibc.write(descriptor, key, key.count) == key.count,
            fsync(descriptor) == 0
        else { throw ConfigurationError(description: "\(path): cannot be written") }
        Glibc.close(descriptor)
        return key
    }
}

/// The server: its parts, and their life from start to drain.
struct Installation: Service {
    static let version = "0.1.0"

    let world: World
    let folder: DataFolder
    let logger: Logger
    let registry: MetricsRegistry
    let shared: RecordingShared
    let recording: RecordingService
    let index: RecordingIndex
    let ingest: IngestService
    let probe: CameraProbe
    let node: InProcessNode
    let catalog: RecordingCatalog
    let live: LiveService
    let reservations: StreamReservations
    let seats: SeatCounting
    let relays: TURNServers
    let playback: PlaybackService
    let hub: UpdatesHub
    let people: IdentityWiring
    /// `nil` without TLS.
    let certificate: ServerCertificate?
    private let decoders: NIOThreadPool
    /// Told of cameras that were changed or removed: who may watch them is asked anew.
    private var camerasChanged: @Sendable (Set<CameraID>) async -> Void = { _ in }
    /// Asks anew what people may, whose rights another process may have changed.
    private var followRights: @Sendable () async -> Void = {}

    init(
        configuration: Configuration, folder: DataFolder, world: World, logger: Logger
    ) async throws {
        self.world = world
        self.folder = folder
        self.logger = logger
        registry = MetricsRegistry()
        certificate = try Self.certificate(configuration, world, registry, logger)
        people = try IdentityWiring(
            folder: folder, configuration: configuration, world: world, registry: registry,
            logger: logger)
        let spool = NIOThreadPool(numberOfThreads: 2)
        let readers = NIOThreadPool(numberOfThreads: 2)
        decoders = NIOThreadPool(numberOfThreads: 1)
        // Of its own: a dead name server holds its threads for tens of seconds.
        let resolver = NIOThreadPool(numberOfThreads: 4)
        // For names that somebody tries: a dead name server must not hold up the cameras.
        let lookUps = NIOThreadPool(numberOfThreads: 2)
        for pool in [spool, readers, decoders, resolver, lookUps] { pool.start() }
        hub = UpdatesHub(
            world: world, registry: registry,
            eventLoops: Array(ConnectionLoops.shared.makeIterator()),
            isRevoked: people.identity.revocations.isRevoked)
        let segmentDuration = Duration.seconds(configuration.number("recording.segment_seconds"))
        let shared = RecordingShared(
            world: world, dataFolder: folder.path, segmentDuration: segmentDuration, pool: spool,
            registry: registry, logger: logger)
        self.shared = shared
        let index = RecordingIndex(database: folder.database)
        self.index = index
        recording = RecordingService(
            shared: shared, index: index,
            syncInterval: .seconds(configuration.number("recording.sync_seconds")),
            defaultRetentionDays: configuration.number("retention.days"))
        let networks = configuration.networks("ingest.camera_networks")
        let group = MultiThreadedEventLoopGroup(numberOfThreads: min(2, System.coreCount))
        let eventLoops = Array(group.makeIterator())
        let publicAddresses = ConfigurationKey.list(configuration.text("webrtc.public_addresses"))
        let live = try await LiveService(
            world: world, registry: registry, eventLoops: eventLoops,
            port: configuration.number("webrtc.port"),
            hasTCP: configuration.text("webrtc.tcp") == "on",
            addresses: publicAddresses.isEmpty ? Self.ownAddresses() : publicAddresses,
            maxTranscodes: configuration.number("live.transcodes"))
        self.live = live
        if let failure = live.tcpFailure {
            logger.warning(
                "viewers cannot use TCP: the port is taken",
                metadata: ["port": "\(live.port)", "error": "\(failure)"])
        }
        relays = TURNServers(
            urls: ConfigurationKey.list(configuration.text("webrtc.turn_urls")),
            secret: Redacted(configuration.text("webrtc.turn_secret")),
            lifetime: .seconds(configuration.number("webrtc.turn_seconds")))
        let seats = try await SeatCounting(
            configuration: configuration, database: folder.database, world: world,
            registry: registry, logger: logger,
            // Beside the requests that wait for it, and on no camera's thread.
            eventLoop: ConnectionLoops.shared.next())
        self.seats = seats
        let auditing = people.audit.auditing
        let reservations = StreamReservations(
            world: world, seats: seats.quota.gate, auditing: auditing
        ) { _ = await live.close($0) }
        self.reservations = reservations
        await seats.quota.setPreemptionHandler { await reservations.preempt($0) }
        ingest = IngestService(
            world: world, policy: NetworkPolicy(blocks: networks), group: group, resolver: resolver,
            registry: registry, logger: logger
        ) {
            camera, loop in
            let viewers = live.makeCamera(camera.id, on: loop)
            var sinks = [
                FeedSink(
                    onAccessUnit: viewers.receive, onInterruption: viewers.interrupted,
                    onEnd: viewers.end)
            ]
            sinks[0].onAudio = viewers.receive
            if camera.recordingMode == .continuous {
                let recorder = Recorder(camera: camera, shared: shared, eventLoop: loop)
                sinks.append(
                    FeedSink(
                        onAccessUnit: recorder.receive, onInterruption: recorder.interrupted,
                        onEnd: recorder.end))
            }
            return sinks
        } makeSubSink: {
            camera, loop, want in
            let viewers = live.makeSubCamera(camera.id, on: loop, want: want)
            return FeedSink(
                onAccessUnit: viewers.receive, onInterruption: viewers.interrupted,
                onEnd: viewers.end)
        }
        probe = CameraProbe(
            world: world, policy: NetworkPolicy(blocks: networks), group: group,
            resolver: lookUps)
        let node = InProcessNode(
            ingest: ingest, recording: recording, shared: shared, dataFolder: folder.path,
            readers: readers, live: live)
        self.node = node
        catalog = RecordingCatalog(
            segments: { id, range in
                // Open ones first: one that is indexed in between is then seen twice, not never.
                let open = await node.openSegments(of: id).filter {
                    $0.range?.overlaps(range) ?? false
                }
                let indexed = try await index.segments(of: id, in: range)
                let known = Set(indexed.map(\.id))
                return indexed + open.filter { !known.contains($0.id) }
            },
            spans: { id, range in
                let open = await node.openSegments(of: id).filter {
                    !$0.fragments.isEmpty && ($0.range?.overlaps(range) ?? false)
                }
                let indexed = try await index.spans(of: id, in: range)
                let known = Set(indexed.map(\.start))
                return indexed + open.filter { !known.contains($0.start) }.map(\.span)
            },
            segment: { id, segmentID in
                let open = await node.openSegments(of: id).first { $0.id == segmentID }
                return try await index.segment(segmentID, of: id) ?? open
            },
            gaps: { id, range in try await index.gaps(of: id, in: range) },
            nearest: { id, time in try await index.nearest(to: time, of: id) })
        playback = PlaybackService(
            world: world, catalog: catalog, node: node,
            signer: LinkSigner(key: world.secureRandomBytes(32), keyID: "1"), auditing: auditing,
            registry: registry)
    }

    /// This installation and the HTTP server over its parts, in the order in which they are started.
    func services(
        host: String, port: Int, settings: GatewaySettings,
        onReady: @escaping @Sendable (Int) async -> Void
    ) -> [any Service] {
        let hls = LiveHLS(node: node, catalog: catalog, world: world)
        let services = APIServices(
            world: world, cameras: folder.cameras,
            administration: folder.administration(world: world, audit: people.audit),
            probe: probe, node: node,
            catalog: catalog, playback: playback, live: hls, reservations: reservations,
            quota: seats.quota,
            limits: seats.administration(world: world, audit: people.audit),
            layouts: folder.layouts(world: world, audit: people.audit), relays: relays,
            thumbnails: Thumbnails(node: node, catalog: catalog, pool: decoders),
            registry: registry, logger: logger, version: Self.version, settings: settings, hub: hub,
            identity: people.identity, webhook: people.webhook)
        let routes = Routes(services)
        people.identity.revocations.onRevocation { await routes.revoke($0) }
        people.identity.onRightsChange { await routes.reviewRights(of: $0) }
        var service = self
        service.camerasChanged = { await routes.reviewRights(on: $0) }
        service.followRights = { await routes.followRights() }
        let server = routes.server(
            host: host, port: port, certificate: certificate, onReady: onReady)
        return [service, server]
    }

    /// Takes the cameras, adopts what a crash left beside them, and drains when asked to stop.
    func run() async throws {
        await withTaskGroup(of: Void.self) { group in
            group.addTask { await recording.run() }
            group.addTask { await cancelWhenGracefulShutdown { await repair() } }
            group.addTask { await cancelWhenGracefulShutdown { await seats.run() } }
            group.addTask { await cancelWhenGracefulShutdown { await updates() } }
            group.addTask { await cancelWhenGracefulShutdown { await watchRights() } }
            group.addTask { await cancelWhenGracefulShutdown { await followCertificate() } }
            group.addTask { await cancelWhenGracefulShutdown { await followSignals() } }
            group.addTask {
                await cancelWhenGracefulShutdown { await FreedMemory.returnRegularly() }
            }
            let expiry = Task { await expireReservations() }
            defer { expiry.cancel() }
            let identity = Task { await people.follow() }
            await cancelWhenGracefulShutdown { await followCameras() }
            await live.stop()
            await seats.stop()
            await ingest.stop()
            await recording.finish(patience: .seconds(5))
            await group.waitForAll()
            identity.cancel()
            await people.stop()
        }
    }

    private func updates() async {
        await UpdatesFeed(
            hub: hub, node: node, cameras: folder.cameras, quota: seats.quota
        ).run()
    }

    private func watchRights() async {
        while !Task.isCancelled {
            await followRights()
            do { try await Task.sleep(for: .seconds(5)) } catch { return }
        }
    }

    private func expireReservations() async {
        while !Task.isCancelled {
            await reservations.expire()
            do { try await Task.sleep(for: .seconds(1)) } catch { return }
        }
    }

    /// The addresses of this machine, the loopback ones last: a browser on it reaches any of them.
    private static func ownAddresses() -> [String] {
        let hosts = ((try? System.enumerateDevices()) ?? []).compactMap(\.address?.ipAddress)
            .filter { !$0.contains("%") && !$0.hasPrefix("fe80:") }
        let isLoopback = { (host: String) in host == "::1" || host.hasPrefix("127.") }
        return hosts.filter { !isLoopback($0) }.sorted { !$0.contains(":") && $1.contains(":") }
            + hosts.filter(isLoopback)
    }

    /// On a thread of its own: neither the recorders' writes nor the viewers' reads wait for it.
    private func repair() async {
        let pool = NIOThreadPool(numberOfThreads: 1)
        pool.start()
        let repair = SegmentRepair(
            dataFolder: folder.path, index: index, shared: shared, pool: pool)
        if let report = try? await repair.run(at: world.wallTime()) { tell(report) }
        try? await pool.shutdownGracefully()
    }

    private func tell(_ report: RepairReport) {
        for (path, reason) in report.failed.sorted(by: { $0.key < $1.key }).prefix(100) {
            logger.error(
                "a recording could not be repaired",
                metadata: ["event": "repair_failed", "path": "\(path)", "error": "\(reason)"])
        }
        guard report != RepairReport() else { return }
        logger.info(
            "recordings repaired",
            metadata: [
                "event": "repaired", "adopted": "\(report.adopted.count)",
                "trimmed": "\(report.trimmed.count)", "damaged": "\(report.damaged.count)",
                "quarantined": "\(report.quarantined.count)", "failed": "\(report.failed.count)",
            ])
    }

    /// Takes what `marsad camera add` and its like changed in the database, within two seconds.
    private func followCameras() async {
        var assigned: [CameraID: Camera] = [:]
        while !Task.isCancelled {
            if let cameras = try? await folder.cameras.all(.everything) {
                let changed = cameras.filter { assigned[$0.id] != $0 }
                // Another process changed them: who is asked anew must not hear what was before.
                if cameras.count != assigned.count || !changed.isEmpty {
                    folder.cameras.changes.note()
                }
                // Before the streams: a new connection takes seconds, a right that is gone ends at once.
                let known = changed.map(\.id).filter { assigned[$0] != nil }
                if !known.isEmpty { await camerasChanged(Set(known)) }
                await assign(changed)
                for camera in changed { assigned[camera.id] = camera }
                let present = Set(cameras.map(\.id))
                for gone in assigned.keys.filter({ !present.contains($0) }).sorted() {
                    await node.unassign(gone)
                    await camerasChanged([gone])
                    await playback.endSessions(of: gone)
                    assigned[gone] = nil
                }
            }
            do { try await Task.sleep(for: .seconds(2)) } catch { return }
        }
    }
}

extension Installation {
    /// A few at a time: after a crash each has a file to be read first.
    private func assign(_ cameras: [Camera]) async {
        await withTaskGroup(of: Void.self) { group in
            for (index, camera) in cameras.enumerated() {
                if index >= 8 { await group.next() }
                group.addTask { await node.assign(camera) }
            }
        }
    }
}

/// Runs an operation that ends by itself when the program is asked to stop.
private func cancelWhenGracefulShutdown(_ operation: @escaping @Sendable () async -> Void) async {
    await withTaskGroup(of: Void.self) { group in
        group.addTask { await operation() }
        group.addTask { try? await gracefulShutdown() }
        await group.next()
        group.cancelAll()
    }
}
