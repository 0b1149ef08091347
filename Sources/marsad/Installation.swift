// The wiring of one installation: every part made once, in the order in which they need each other.
// SPDX-License-Identifier: Apache-2.0

import API
import Database
import Domain
import Foundation
import Hummingbird
import Ingest
import Logging
import NIOCore
import NIOPosix
import Observability
import Playback
import Primitives
import Recording
import ServiceLifecycle

/// A data folder, opened: its lock, its key and its database.
struct DataFolder {
    let path: String
    let database: SQLiteEngine
    let instanceKey: [UInt8]
    let cameras: CameraStore

    /// - Parameter exclusive: whether this process is to be the folder's server.
    static func open(_ path: String, world: World, exclusive: Bool) async throws -> DataFolder {
        let path = URL(fileURLWithPath: path).standardizedFileURL.path
        do {
            try FileManager.default.createDirectory(
                atPath: path, withIntermediateDirectories: true)
        } catch {
            throw ConfigurationError(
                description: "data is \"\(path)\"; allowed: a folder that can be written")
        }
        if exclusive { try lock(path) }
        let database = try SQLiteEngine(path: path + "/marsad.sqlite")
        try await Migrator(engine: database).migrate(at: world.wallTime())
        let key = try instanceKey(path + "/instance.key", world: world)
        return DataFolder(
            path: path, database: database, instanceKey: key,
            cameras: CameraStore(database: database, instanceKey: key))
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
    let node: InProcessNode
    let catalog: RecordingCatalog
    private let decoders: NIOThreadPool

    init(configuration: Configuration, folder: DataFolder, world: World, logger: Logger) {
        self.world = world
        self.folder = folder
        self.logger = logger
        registry = MetricsRegistry()
        let spool = NIOThreadPool(numberOfThreads: 2)
        let readers = NIOThreadPool(numberOfThreads: 2)
        decoders = NIOThreadPool(numberOfThreads: 1)
        for pool in [spool, readers, decoders] { pool.start() }
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
        let networks = configuration.text("ingest.camera_networks").split(separator: ",")
            .compactMap { AddressBlock(ConfigurationKey.trimmed($0)) }
        let group = MultiThreadedEventLoopGroup(numberOfThreads: min(2, System.coreCount))
        ingest = IngestService(
            world: world, policy: NetworkPolicy(blocks: networks), group: group, resolver: readers,
            registry: registry, logger: logger
        ) { camera, loop in
            guard camera.recordingMode == .continuous else { return [] }
            let recorder = Recorder(camera: camera, shared: shared, eventLoop: loop)
            return [
                FeedSink(
                    onAccessUnit: recorder.receive, onInterruption: recorder.interrupted,
                    onEnd: recorder.end)
            ]
        }
        let node = InProcessNode(
            ingest: ingest, recording: recording, shared: shared, dataFolder: folder.path,
            readers: readers)
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
            gaps: { id, range in try await index.gaps(of: id, in: range) },
            nearest: { id, time in try await index.nearest(to: time, of: id) })
    }

    /// The HTTP server over this installation's parts.
    func application(
        host: String, port: Int, onReady: @escaping @Sendable (Int) async -> Void
    ) -> some ApplicationProtocol {
        let live = LiveHLS(node: node, catalog: catalog, world: world)
        let playback = PlaybackService(
            world: world, catalog: catalog, node: node,
            signer: LinkSigner(key: world.secureRandomBytes(32), keyID: "1"), registry: registry)
        let services = APIServices(
            world: world, cameras: folder.cameras, node: node, catalog: catalog, playback: playback,
            live: live, thumbnails: Thumbnails(node: node, catalog: catalog, pool: decoders),
            registry: registry, logger: logger, version: Self.version)
        var application = Application(
            router: Routes(services).router(),
            configuration: .init(address: .hostname(host, port: port), serverName: nil),
            onServerRunning: { channel in await onReady(channel.localAddress?.port ?? port) },
            logger: logger)
        application.addServices(self)
        return application
    }

    /// Adopts what a crash left, takes the cameras, and drains when asked to stop.
    func run() async throws {
        let report = try await SegmentRepair(dataFolder: folder.path, index: index)
            .run(at: world.wallTime())
        if report != RepairReport() {
            logger.info(
                "recordings repaired",
                metadata: [
                    "event": "repaired", "adopted": "\(report.adopted.count)",
                    "trimmed": "\(report.trimmed.count)",
                    "quarantined": "\(report.quarantined.count)",
                ])
        }
        await withTaskGroup(of: Void.self) { group in
            group.addTask { await recording.run() }
            await cancelWhenGracefulShutdown { await followCameras() }
            await ingest.stop()
            await recording.finish(patience: .seconds(5))
            await group.waitForAll()
        }
    }

    /// Takes what `marsad camera add` and its like changed in the database, within two seconds.
    private func followCameras() async {
        var assigned: [CameraID: Camera] = [:]
        while !Task.isCancelled {
            if let cameras = try? await folder.cameras.all() {
                for camera in cameras where assigned[camera.id] != camera {
                    await node.assign(camera)
                    assigned[camera.id] = camera
                }
                let present = Set(cameras.map(\.id))
                for gone in assigned.keys.filter({ !present.contains($0) }).sorted() {
                    await node.unassign(gone)
                    assigned[gone] = nil
                }
            }
            do { try await Task.sleep(for: .seconds(2)) } catch { return }
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
