// What the recorders of a process share, and the seam between their event loops and the index.
// SPDX-License-Identifier: Apache-2.0

package import Domain
package import Logging
package import NIOPosix
package import Observability
import Primitives
import Synchronization

/// Read and fed from every event loop.
package final class RecordingShared: Sendable {
    /// What recorders have to tell the index; delivered in order.
    package enum Entry: Sendable {
        case segment(Segment, Camera, damaged: Bool)
        case gap(CameraID, Gap)
    }

    private struct State: Sendable {
        var open: [CameraID: [Segment]] = [:]
        /// Closed, and not yet in the database.
        var closed: [CameraID: [Segment]] = [:]
        var lastEnds: [CameraID: WallTime] = [:]
    }

    let world: World
    let dataFolder: String
    let segmentDuration: Duration
    let pool: NIOThreadPool
    let logger: Logger
    let metrics: RecordingMetrics
    let entries: AsyncStream<Entry>
    private let continuation: AsyncStream<Entry>.Continuation
    private let state = Mutex(State())

    package init(
        world: World, dataFolder: String, segmentDuration: Duration, pool: NIOThreadPool,
        registry: MetricsRegistry, logger: Logger
    ) {
        self.world = world
        self.dataFolder = dataFolder
        self.segmentDuration = max(segmentDuration, .seconds(2))
        self.pool = pool
        self.logger = logger
        metrics = RecordingMetrics(registry: registry)
        // One entry a camera in five minutes: the queue is bounded by the cameras, not by a number here.
        (entries, continuation) = AsyncStream.makeStream()
    }

    func record(_ entry: Entry) {
        if case .segment(let segment, let camera, _) = entry {
            state.withLock { $0.closed[camera.id, default: []].append(segment) }
        }
        continuation.yield(entry)
    }

    func finishEntries() { continuation.finish() }

    func publishOpen(_ segments: [Segment], of id: CameraID) {
        state.withLock { $0.open[id] = segments }
    }

    /// The database has it now.
    func indexed(_ segment: Segment) {
        state.withLock { $0.closed[segment.cameraID]?.removeAll { $0.id == segment.id } }
    }

    /// Segments that the database does not know yet: those being written, and those closed just now.
    package func unindexedSegments(of id: CameraID) -> [Segment] {
        state.withLock { ($0.closed[id] ?? []) + ($0.open[id] ?? []) }
    }

    /// Whether a file is still being written or waits for its row.
    package var isSettled: Bool {
        state.withLock {
            $0.open.values.allSatisfy(\.isEmpty) && $0.closed.values.allSatisfy(\.isEmpty)
        }
    }

    func lastEnd(of id: CameraID) -> WallTime? { state.withLock { $0.lastEnds[id] } }

    func setLastEnd(_ end: WallTime, of id: CameraID) {
        state.withLock { $0.lastEnds[id] = end }
    }

    func isTaken(_ path: String) -> Bool { SegmentFile.exists(dataFolder + "/" + path) }
}
