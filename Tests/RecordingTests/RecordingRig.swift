// A recorder on a real event loop, disk and database, with a clock that only the test moves.
// SPDX-License-Identifier: Apache-2.0

import Database
import Domain
import Foundation
import H26x
import Logging
import MP4
import NIOCore
import NIOPosix
import Observability
import Primitives
import Recording
import Synchronization
import Testing

/// Time and randomness of a test.
final class ManualWorld: Sendable {
    private let elapsed = Mutex<Int64>(0)
    private let random: Mutex<SeededRandom>
    let start: WallTime

    init(start: WallTime, seed: UInt64 = 1) {
        self.start = start
        random = Mutex(SeededRandom(seed: seed))
    }

    var now: Instant { Instant(nanoseconds: elapsed.withLock { $0 }) }

    func advance(to instant: Instant) { elapsed.withLock { $0 = max($0, instant.nanoseconds) } }

    var world: World {
        World(
            now: { self.now },
            wallTime: { self.start + .nanoseconds(self.now.nanoseconds) },
            random: { self.random.withLock { $0.next() } },
            secureRandomBytes: { count in
                self.random.withLock { random in
                    (0..<count).map { _ in UInt8(truncatingIfNeeded: random.next()) }
                }
            })
    }
}

/// A folder that is removed with its owner.
final class TemporaryFolder: Sendable {
    let url: URL
    var path: String { url.path }

    init() throws {
        url = FileManager.default.temporaryDirectory
            .appendingPathComponent("marsad-recording-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true)
    }

    deinit { try? FileManager.default.removeItem(at: url) }

    func bytes(_ path: String) throws -> ByteBuffer {
        ByteBuffer(bytes: try Data(contentsOf: url.appendingPathComponent(path)))
    }

    func write(_ bytes: some Sequence<UInt8>, to path: String) throws {
        let file = url.appendingPathComponent(path)
        try FileManager.default.createDirectory(
            at: file.deletingLastPathComponent(), withIntermediateDirectories: true)
        try Data(bytes).write(to: file)
    }
}

/// Everything of one camera's recording.
final class RecordingRig {
    static let loops = MultiThreadedEventLoopGroup(numberOfThreads: 1)
    static let pool: NIOThreadPool = {
        let pool = NIOThreadPool(numberOfThreads: 2)
        pool.start()
        return pool
    }()

    let folder: TemporaryFolder
    let manual: ManualWorld
    let shared: RecordingShared
    let index: RecordingIndex
    let service: RecordingService
    let camera: Camera
    let engine: any DatabaseEngine
    private var recorder: NIOLoopBound<Recorder>
    private let loop: any EventLoop

    /// - Parameter continuing: the program before, on the same folder.
    init(
        start: WallTime, segmentDuration: Duration, lastEnd: WallTime? = nil,
        continuing: RecordingRig? = nil, seed: UInt64 = 1
    ) async throws {
        folder = try continuing?.folder ?? TemporaryFolder()
        manual = ManualWorld(start: start, seed: continuing == nil ? seed : seed + 1)
        if let continuing {
            engine = continuing.engine
        } else {
            engine = try await Self.database(in: folder)
        }
        index = RecordingIndex(database: engine)
        let shared = RecordingShared(
            world: manual.world, dataFolder: folder.path, segmentDuration: segmentDuration,
            pool: Self.pool, registry: MetricsRegistry(), logger: Logger(label: "test"))
        self.shared = shared
        service = RecordingService(
            shared: shared, index: index, syncInterval: .seconds(3600), defaultRetentionDays: 30)
        let camera = try Self.camera()
        self.camera = camera
        if let lastEnd {
            try await index.add(
                Self.segment(endingAt: lastEnd), cameraName: camera.name, damaged: false,
                at: lastEnd)
        }
        if lastEnd != nil || continuing != nil { await service.prepare(camera) }
        let loop = Self.loops.next()
        self.loop = loop
        recorder = try await loop.submit {
            NIOLoopBound(Recorder(camera: camera, shared: shared, eventLoop: loop), eventLoop: loop)
        }.get()
    }

    static func database(in folder: TemporaryFolder) async throws -> any DatabaseEngine {
        let engine = try await TestDatabase.current.open(in: folder.path)
        try await Migrator(engine: engine).migrate(at: WallTime(microseconds: 1))
        return engine
    }

    static func camera() throws -> Camera {
        Camera(
            id: try #require(CameraID("3f2504e0-4f89-41d3-9a0c-0305e82c3301")), name: "Gate",
            nameArabic: "بوابة", source: try #require(Source("METRO")),
            address: Redacted("rtsp://10.0.0.1/"), createdAt: WallTime(microseconds: 1))
    }

    /// What an earlier program recorded.
    private static func segment(endingAt end: WallTime) throws -> Segment {
        let camera = try camera()
        return Segment(
            id: "earlier", runID: "earlier", cameraID: camera.id, source: camera.source,
            sequenceNumber: 0, start: end + .seconds(-10), end: end,
            path: "recordings/earlier.mp4", initSize: 1, fragments: [], codec: "avc1.42C00A",
            width: 640, height: 480)
    }

    func feed(_ units: [TimedUnit]) async throws {
        let recorder = recorder
        let manual = manual
        try await loop.submit {
            for unit in units {
                manual.advance(to: unit.instant)
                recorder.value.receive(unit.unit, unit.sets, at: unit.instant)
            }
        }.get()
    }

    /// Runs that end each in an interruption, all before the disk has answered once.
    func feed(runs: [[TimedUnit]], interruptedBy reason: GapReason) async throws {
        let recorder = recorder
        let manual = manual
        try await loop.submit {
            for run in runs {
                for unit in run {
                    manual.advance(to: unit.instant)
                    recorder.value.receive(unit.unit, unit.sets, at: unit.instant)
                }
                recorder.value.interrupted(reason, at: manual.now)
            }
        }.get()
    }

    /// The camera's next recorder, made while this one still has bytes on their way.
    func replaceRecorder() async throws {
        let (camera, shared, loop, old) = (camera, shared, loop, recorder)
        recorder = try await loop.submit {
            old.value.end()
            return NIOLoopBound(
                Recorder(camera: camera, shared: shared, eventLoop: loop), eventLoop: loop)
        }.get()
    }

    /// Returns when everything that was fed has been answered by the disk.
    func settleDisk() async throws {
        let recorder = recorder
        while try await loop.submit({ recorder.value.queuedBytes }).get() > 0 { await Task.yield() }
    }

    func interrupt(_ reason: GapReason) async throws {
        let recorder = recorder
        let now = manual.now
        try await loop.submit { recorder.value.interrupted(reason, at: now) }.get()
    }

    func end() async throws {
        let recorder = recorder
        try await loop.submit { recorder.value.end() }.get()
    }

    /// Ends the recorder and waits until all of it is indexed.
    func finish() async throws -> [Segment] {
        let recorder = recorder
        let service = service
        async let indexing: Void = service.run()
        try await loop.submit { recorder.value.end() }.get()
        await service.finish(patience: .seconds(60))
        await indexing
        return try await index.segments(of: camera.id, in: try everything())
    }

    func gaps() async throws -> [Gap] {
        try await index.gaps(of: camera.id, in: try everything())
    }

    func everything() throws -> TimeRange {
        try #require(
            TimeRange(start: WallTime(microseconds: 0), end: manual.start + .seconds(1_000_000)))
    }
}

/// An access unit and the moment it arrives.
struct TimedUnit: Sendable {
    var unit: AccessUnit
    var sets: ParameterSets
    var instant: Instant

    /// 640x480 Baseline; `variant` makes another picture parameter set.
    static func sets(_ variant: UInt8 = 0) throws -> ParameterSets {
        let sps: [UInt8] = [0x67, 66, 0xC0, 10, 0xDA, 0x02, 0x80, 0xF6, 0x40]
        return try ParameterSets(
            sps: ByteBuffer(bytes: sps), pps: ByteBuffer(bytes: [0x68, 0xCE, 0x38, 0x80 | variant]))
    }

    /// 25 pictures a second from `start`, an IDR each `group` pictures, contents by the seed.
    static func stream(
        _ pictures: Range<Int>, group: Int, start: WallTime, sets: ParameterSets, seed: UInt64 = 9
    ) -> [TimedUnit] {
        var random = SeededRandom(seed: seed)
        return pictures.map { picture in
            let isRandomAccessPoint = picture % group == 0
            var nal: [UInt8] = [isRandomAccessPoint ? 0x65 : 0x41]
            for _ in 0..<Int.random(in: 20...200, using: &random) {
                nal.append(.random(in: 1...255, using: &random))
            }
            let at = Duration.milliseconds(picture * 40)
            let unit = AccessUnit(
                avcc: AVCC.serialize([ByteBuffer(bytes: nal)]), decodeTime: Int64(picture) * 3600,
                isRandomAccessPoint: isRandomAccessPoint, wallTime: start + at)
            return TimedUnit(unit: unit, sets: sets, instant: Instant(nanoseconds: 0) + at)
        }
    }
}

/// Scans a file in memory.
func scan(_ file: ByteBuffer) -> FileScanner.Scan {
    var scanner = FileScanner(fileLength: UInt64(file.readableBytes))
    var bytes: ByteBuffer?
    while true {
        switch scanner.next(bytes) {
        case .need(let offset, let count): bytes = file.getSlice(at: Int(offset), length: count)
        case .done(let scan): return scan
        }
    }
}

/// The samples of a file, in order, found through its own boxes.
func samples(_ file: ByteBuffer) throws -> [ByteBuffer] {
    try scan(file).fragments.flatMap { fragment in
        let bytes = try #require(
            file.getSlice(at: Int(fragment.offset), length: Int(fragment.size)))
        return try FragmentHeader.parse(bytes).samples.compactMap {
            bytes.getSlice(at: bytes.readerIndex + $0.offset, length: $0.size)
        }
    }
}
