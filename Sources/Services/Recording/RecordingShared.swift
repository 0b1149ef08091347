// What the recorders of a process share, and the seam between their event loops and the index.
// SPDX-License-Identifier: Apache-2.0

package import Domain
package import Logging
package import NIOPosix
package import Observability
package import Primitives
import Synchronization

/// A time without a recording that lasts: since when, and why.
package struct Outage: Hashable, Sendable {
    package var since: WallTime
    package var reason: GapReason

    package init(since: WallTime, reason: GapReason) {
        self.since = since
        self.reason = reason
    }
}

/// Read and fed from every event loop.
package final class RecordingShared: Sendable {
    /// What recorders have to tell the index; delivered in order.
    package enum Entry: Sendable {
        case segment(Segment, Camera, damaged: Bool)
        /// It lasts; told again with an earlier start when more turns out to be lost.
        case outage(CameraID, Outage)
        /// The recording went on.
        case outageOver(CameraID, Outage, at: WallTime)
    }

    private struct State: Sendable {
        /// By camera and recorder: a camera that changes hands has two for a moment.
        var open: [CameraID: [Int: [Segment]]] = [:]
        /// Closed, and not yet in the database.
        var closed: [CameraID: [Segment]] = [:]
        var outages: [CameraID: Outage] = [:]
        /// The recorder that is recording the camera now.
        var recording: [CameraID: Int] = [:]
        var queuedEntries = 0
        var nextKey = 0
        var isGivenUp = false
    }

    let world: World
    let dataFolder: String
    let segmentDuration: Duration
    let pool: NIOThreadPool
    let logger: Logger
    let metrics: RecordingMetrics
    let entries: AsyncStream<Entry>
    let claims = PathClaims()
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
        // Bounded by `record`: while the database is lost, files are left to the next repair.
        (entries, continuation) = AsyncStream.makeStream()
    }

    func record(_ entry: Entry) {
        let isTaken = state.withLock { state in
            guard state.queuedEntries < Limits.queuedEntries else { return false }
            state.queuedEntries += 1
            return true
        }
        guard isTaken else { return putAside(entry) }
        // After `finish` nobody reads any more.
        if case .terminated = continuation.yield(entry) {
            state.withLock { $0.queuedEntries -= 1 }
            putAside(entry)
        }
    }

    /// The entry is written, or will not be by this program.
    func settled(_ entry: Entry) {
        state.withLock { $0.queuedEntries -= 1 }
        if case .segment(let segment, _, _) = entry { forget(segment) }
    }

    /// Without its row a file is what a crash leaves: the next start adopts it.
    private func putAside(_ entry: Entry) {
        logger.error("an index entry is put aside", metadata: ["event": "index_put_aside"])
        if case .segment(let segment, _, _) = entry { forget(segment) }
    }

    private func forget(_ segment: Segment) {
        state.withLock { $0.closed[segment.cameraID]?.removeAll { $0.id == segment.id } }
        claims.release(segment.path)
    }

    func finishEntries() { continuation.finish() }

    /// No time is left to wait for the database.
    func giveUp() { state.withLock { $0.isGivenUp = true } }

    var isGivenUp: Bool { state.withLock { $0.isGivenUp } }

    // MARK: Recorders

    func makeKey() -> Int {
        state.withLock { state in
            state.nextKey += 1
            return state.nextKey
        }
    }

    func publishOpen(_ segments: [Segment], of id: CameraID, by key: Int) {
        state.withLock { $0.open[id, default: [:]][key] = segments.isEmpty ? nil : segments }
    }

    /// Moves a segment from the open ones to the closed ones in one step: no reader sees it twice.
    func close(
        _ segment: Segment, _ camera: Camera, damaged: Bool, leaving open: [Segment], by key: Int
    ) {
        state.withLock { state in
            state.open[camera.id, default: [:]][key] = open.isEmpty ? nil : open
            state.closed[camera.id, default: []].append(segment)
        }
        record(.segment(segment, camera, damaged: damaged))
    }

    func publishRecording(_ isRecording: Bool, of id: CameraID, by key: Int) {
        state.withLock { state in
            if isRecording {
                state.recording[id] = key
            } else if state.recording[id] == key {
                state.recording[id] = nil
            }
        }
    }

    /// The cameras whose pictures reach the disk now.
    package func recordingCameras() -> Set<CameraID> { state.withLock { Set($0.recording.keys) } }

    package func isRecording(_ id: CameraID) -> Bool {
        state.withLock { $0.recording[id] != nil }
    }

    // MARK: What is not indexed yet

    /// Segments that the database does not know yet: those being written, and those closed just now.
    package func unindexedSegments(of id: CameraID) -> [Segment] {
        state.withLock { state in
            let open = (state.open[id] ?? [:]).sorted { $0.key < $1.key }.flatMap(\.value)
            return (state.closed[id] ?? []) + open
        }
    }

    /// Whether no file is being written or waits for its row.
    package var isSettled: Bool {
        state.withLock {
            $0.open.values.allSatisfy(\.isEmpty) && $0.closed.values.allSatisfy(\.isEmpty)
                && $0.queuedEntries == 0
        }
    }

    /// The same of one camera.
    func isSettled(_ id: CameraID) -> Bool {
        state.withLock { ($0.open[id] ?? [:]).isEmpty && ($0.closed[id] ?? []).isEmpty }
    }

    /// What the camera's next recorder begins with.
    func setOutage(_ outage: Outage?, of id: CameraID) {
        state.withLock { $0.outages[id] = outage }
    }

    func takeOutage(of id: CameraID) -> Outage? {
        state.withLock { $0.outages.removeValue(forKey: id) }
    }
}
