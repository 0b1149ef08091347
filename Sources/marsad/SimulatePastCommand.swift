// `marsad simulate past`: hours of recordings of a data folder's cameras, made within minutes.
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Domain
import Ingest
import Logging
import NIOCore
import NIOPosix
import Observability
import Primitives
import Recording
import Simulation
import Synchronization

extension Simulate {
    /// The real recorder on a clock that runs as fast as the disk takes what it writes.
    struct Past: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract:
                "Record the past hours of every camera of a data folder; no server runs on it.")

        @Option(help: "How many hours until now.") var hours = 24
        @OptionGroup var scenes: SceneOptions
        @OptionGroup var options: FolderOptions

        private static let bytesAhead = 4 << 20
        private static let framesAtOnce = 256

        func run() async throws {
            guard (1...744).contains(hours) else {
                throw ConfigurationError(description: "--hours is \(hours); allowed: 1 to 744")
            }
            let configuration = try options.configuration()
            let folder = try await DataFolder.open(
                configuration, world: .system, exclusive: true)
            let cameras = try await folder.cameras.all(.everything)
            guard !cameras.isEmpty else {
                throw ConfigurationError(description: "data: \(folder.path) has no cameras yet")
            }
            let clips = try await scenes.clips(cameras: cameras.count)
            let end = World.system.wallTime()
            let start = end + .seconds(-3600 * Int64(hours))
            let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
            let pool = NIOThreadPool(numberOfThreads: 2)
            pool.start()
            for (index, camera) in cameras.enumerated() {
                let frames = StampedFrames(
                    clip: clips[index % clips.count], camera: index + 1, start: start)
                try await record(
                    camera, frames, from: start, to: end, in: folder, configuration, group.next(),
                    pool)
                complain("\(index + 1) of \(cameras.count) cameras recorded")
            }
            try await pool.shutdownGracefully()
            try await group.shutdownGracefully()
        }

        private func record(
            _ camera: Camera, _ frames: StampedFrames, from start: WallTime, to end: WallTime,
            in folder: DataFolder, _ configuration: Configuration, _ loop: any EventLoop,
            _ pool: NIOThreadPool
        ) async throws {
            let clock = FastClock(start: start)
            let shared = RecordingShared(
                world: clock.world, dataFolder: folder.path,
                segmentDuration: .seconds(configuration.number("recording.segment_seconds")),
                pool: pool, registry: MetricsRegistry(), logger: Logger(label: "marsad"))
            let service = RecordingService(
                shared: shared, index: RecordingIndex(database: folder.database),
                syncInterval: .seconds(configuration.number("recording.sync_seconds")),
                defaultRetentionDays: configuration.number("retention.days"))
            async let indexing: Void = service.run()
            let recorder = try await loop.submit {
                NIOLoopBound(
                    Recorder(camera: camera, shared: shared, eventLoop: loop), eventLoop: loop)
            }.get()
            var frames = frames
            let sets = frames.parameterSets
            let length = end - start
            while frames.nextOffset < length {
                let batch = (0..<Self.framesAtOnce).map { _ in (frames.nextOffset, frames.next()) }
                let waiting = try await loop.submit {
                    for (offset, unit) in batch where offset < length {
                        clock.advance(to: offset)
                        recorder.value.receive(unit, sets, at: clock.now)
                    }
                    return recorder.value.queuedBytes
                }.get()
                var ahead = waiting
                while ahead > Self.bytesAhead {
                    try await Task.sleep(for: .milliseconds(1))
                    ahead = try await loop.submit { recorder.value.queuedBytes }.get()
                }
            }
            try await loop.submit { recorder.value.end() }.get()
            await service.finish(patience: .seconds(60))
            await indexing
        }
    }
}

/// Time that moves with the frames that are recorded.
private final class FastClock: Sendable {
    private let start: WallTime
    private let elapsed = Mutex(Duration.zero)

    init(start: WallTime) { self.start = start }

    var now: Instant { Instant(nanoseconds: 0) + elapsed.withLock { $0 } }

    func advance(to offset: Duration) { elapsed.withLock { $0 = max($0, offset) } }

    var world: World {
        var world = World.system
        world.now = { self.now }
        world.wallTime = { self.start + self.elapsed.withLock { $0 } }
        return world
    }
}
