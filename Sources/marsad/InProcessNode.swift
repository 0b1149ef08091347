// The node of the smallest installation: its calls are plain calls in this process.
// SPDX-License-Identifier: Apache-2.0

import Domain
import H26x
import Ingest
import NIOCore
import NIOPosix
import Primitives
import Recording

/// Ingest and recording behind the seam that a node in another process would stand behind.
struct InProcessNode: CameraNode {
    let ingest: IngestService
    let recording: RecordingService
    let shared: RecordingShared
    let dataFolder: String
    let readers: NIOThreadPool

    func assign(_ camera: Camera) async {
        await recording.prepare(camera)
        await ingest.assign(camera)
    }

    func unassign(_ id: CameraID) async { await ingest.unassign(id) }

    func states() async -> [CameraID: StreamState] { ingest.states() }

    func keyframe(of id: CameraID) async -> Keyframe? {
        guard let (unit, sets) = ingest.keyframe(of: id), let wallTime = unit.wallTime else {
            return nil
        }
        return Keyframe(
            sps: Array(sets.sps.readableBytesView), pps: Array(sets.pps.readableBytesView),
            avcc: Array(unit.avcc.readableBytesView), wallTime: wallTime)
    }

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
