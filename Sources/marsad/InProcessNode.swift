// The node of the smallest installation: its calls are plain calls in this process.
// SPDX-License-Identifier: Apache-2.0

import Domain
import H26x
import Ingest
import Live
import MP4
import NIOCore
import NIOPosix
import Primitives
import Recording
import Synchronization

/// Ingest and recording behind the seam that a node in another process would stand behind.
final class InProcessNode: CameraNode {
    let ingest: IngestService
    let recording: RecordingService
    let shared: RecordingShared
    let dataFolder: String
    let readers: NIOThreadPool
    let live: LiveService
    private let assigned = Mutex<[CameraID: Camera]>([:])

    init(
        ingest: IngestService, recording: RecordingService, shared: RecordingShared,
        dataFolder: String, readers: NIOThreadPool, live: LiveService
    ) {
        self.ingest = ingest
        self.recording = recording
        self.shared = shared
        self.dataFolder = dataFolder
        self.readers = readers
        self.live = live
    }

    /// The recorder before ends first and is indexed: where it ended is what the next one continues.
    func assign(_ camera: Camera) async {
        let known = assigned.withLock { $0.updateValue(camera, forKey: camera.id) }
        if let known {
            guard !camera.keepsStream(of: known) else { return }
            await live.closePublisher(of: camera.id)
            await ingest.unassign(camera.id)
        }
        if camera.recordingMode == .continuous { await recording.prepare(camera) }
        await ingest.assign(camera)
    }

    func unassign(_ id: CameraID) async {
        assigned.withLock { _ = $0.removeValue(forKey: id) }
        await live.closePublisher(of: id)
        await ingest.unassign(id)
    }

    func states() async -> [CameraID: StreamState] {
        let recording = shared.recordingCameras()
        var states = ingest.states()
        for id in recording { states[id]?.isRecording = true }
        return states
    }

    func state(of id: CameraID) async -> StreamState? {
        var state = ingest.state(of: id)
        if shared.isRecording(id) { state?.isRecording = true }
        return state
    }

    func keyframe(of id: CameraID) async -> Keyframe? {
        guard let (unit, sets) = ingest.keyframe(of: id), let wallTime = unit.wallTime else {
            return nil
        }
        return Keyframe(
            initSegment: Array(InitSegment.serialize(sets).readableBytesView),
            avcc: Array(unit.avcc.readableBytesView), wallTime: wallTime)
    }

    func openViewer(
        of id: CameraID, offer: String, quality: StreamQuality
    ) async throws(MarsadError) -> ViewerAnswer {
        try await live.open(id, offer: offer, quality: quality)
    }

    func patchViewer(
        _ session: String, of id: CameraID, fragment: String, ifMatch: String?
    ) async throws(MarsadError) -> ViewerPatch {
        try await live.patch(session, of: id, fragment: fragment, ifMatch: ifMatch)
    }

    func closeViewer(_ session: String) async -> Bool { await live.close(session) }

    func openPublisher(of id: CameraID, offer: String) async throws(MarsadError) -> ViewerAnswer {
        // One that was added this moment is not assigned yet.
        guard let feed = ingest.published(id) else {
            throw MarsadError(
                .cameraUnavailable, details: ["camera_id": id.rawValue, "retry_after": "2"])
        }
        return try await live.publish(
            id, offer: offer, on: feed.eventLoop,
            to: PublisherSink(
                begin: { feed.begin(payloadType: $0, clockRate: $1) },
                receive: { feed.receive($0, at: $1) }, end: { feed.end(at: $0) }))
    }

    func patchPublisher(
        _ session: String, of id: CameraID, fragment: String, ifMatch: String?
    ) async throws(MarsadError) -> ViewerPatch {
        try await live.patchPublisher(session, of: id, fragment: fragment, ifMatch: ifMatch)
    }

    func closePublisher(_ session: String, of id: CameraID) async -> Bool {
        await live.closePublisher(session, of: id)
    }

    func liveClock(of id: CameraID) async -> LiveClock? { await live.clock(of: id) }

    func viewers() async -> [CameraID: Int] { live.viewers() }

    func openSegments(of id: CameraID) async -> [Segment] { shared.unindexedSegments(of: id) }

    func bytes(path: String, offset: UInt64, count: Int) async throws(MarsadError) -> [UInt8] {
        let full = dataFolder + "/" + path
        do {
            let buffer = try await readers.runIfActive {
                try SegmentFile.read(full, offset: offset, count: count)
            }
            return Array(buffer.readableBytesView)
        } catch {
            throw MarsadError(.storageUnavailable)
        }
    }
}
