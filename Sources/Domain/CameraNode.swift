// The narrow seam between the API and the process that owns a camera.
// SPDX-License-Identifier: Apache-2.0

package import Primitives

/// The newest keyframe of a camera: parameter sets and one access unit, in the AVCC form.
package struct Keyframe: Sendable {
    package var sps: [UInt8]
    package var pps: [UInt8]
    package var avcc: [UInt8]
    package var wallTime: WallTime

    package init(sps: [UInt8], pps: [UInt8], avcc: [UInt8], wallTime: WallTime) {
        self.sps = sps
        self.pps = pps
        self.avcc = avcc
        self.wallTime = wallTime
    }
}

/// A node owns cameras: their ingest and their recording (architecture, Nodes). The API calls its only
/// node directly today; a node in another process implements the same calls over a socket.
package protocol CameraNode: Sendable {
    /// Takes a camera, or its new definition. Idempotent.
    func assign(_ camera: Camera) async
    /// Gives a camera up; its recording is closed.
    func unassign(_ id: CameraID) async
    func states() async -> [CameraID: StreamState]
    /// The last keyframe, also while the camera is down; `nil` before the first.
    func keyframe(of id: CameraID) async -> Keyframe?
    /// The segments still being written, newest last; each with the fragments that are in its file.
    func openSegments(of id: CameraID) async -> [Segment]
    /// Bytes of a recording file that this node holds.
    func bytes(path: String, offset: UInt64, count: Int) async throws(MarsadError) -> [UInt8]
}
