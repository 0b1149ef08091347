// The narrow seam between the API and the process that owns a camera.
// SPDX-License-Identifier: Apache-2.0

package import Primitives

/// The newest keyframe of a camera.
package struct Keyframe: Sendable {
    /// The MP4 header of its stream, which names the codec and holds the parameter sets.
    package var initSegment: [UInt8]
    /// One access unit, in the AVCC form.
    package var avcc: [UInt8]
    package var wallTime: WallTime

    package init(initSegment: [UInt8], avcc: [UInt8], wallTime: WallTime) {
        self.initSegment = initSegment
        self.avcc = avcc
        self.wallTime = wallTime
    }
}

/// A node's answer to a viewer, or to a publisher.
package struct ViewerAnswer: Sendable {
    /// 128 random bits, in hexadecimal.
    package var sessionID: String
    /// The strong validator of the session's ICE state (RFC 9725 §4.3.1), without quotes.
    package var etag: String
    /// SDP.
    package var description: String

    package init(sessionID: String, etag: String, description: String) {
        self.sessionID = sessionID
        self.etag = etag
        self.description = description
    }
}

/// Which wall time an RTP time of a camera's viewers stands for; the same for all of them.
package struct LiveClock: Sendable {
    /// In 90 kHz ticks.
    package var rtpTime: UInt32
    /// When that frame came from the camera.
    package var wallTime: WallTime

    package init(rtpTime: UInt32, wallTime: WallTime) {
        self.rtpTime = rtpTime
        self.wallTime = wallTime
    }
}

/// What became of the SDP fragment of a viewer or a publisher.
package enum ViewerPatch: Sendable {
    case accepted
    case restarted(etag: String, fragment: String)
}

/// A node owns cameras: their ingest and their recording (architecture, Nodes). The API calls its only
/// node directly today; a node in another process implements the same calls over a socket.
package protocol CameraNode: Sendable {
    /// Takes a camera, or its new definition. Idempotent.
    func assign(_ camera: Camera) async
    /// Gives a camera up; its recording is closed.
    func unassign(_ id: CameraID) async
    func states() async -> [CameraID: StreamState]
    /// One camera's; `nil` for one that is not assigned.
    func state(of id: CameraID) async -> StreamState?
    /// The last keyframe, also while the camera is down; `nil` before the first.
    func keyframe(of id: CameraID) async -> Keyframe?
    /// The segments still being written, newest last; each with the fragments that are in its file.
    func openSegments(of id: CameraID) async -> [Segment]
    /// Answers a viewer's WebRTC offer. The viewer's packets go to the node's own port.
    func openViewer(
        of id: CameraID, offer: String, quality: StreamQuality
    ) async throws(MarsadError) -> ViewerAnswer
    /// Takes trickled candidates or an ICE restart of a session.
    func patchViewer(
        _ session: String, of id: CameraID, fragment: String, ifMatch: String?
    ) async throws(MarsadError) -> ViewerPatch
    /// Ends a session at once (the viewer left, or may no longer watch); false where there is none.
    func closeViewer(_ session: String) async -> Bool
    /// Answers the WebRTC offer of a camera that publishes; one publisher at a time has the camera.
    func openPublisher(of id: CameraID, offer: String) async throws(MarsadError) -> ViewerAnswer
    /// As `patchViewer`, for a publisher's session.
    func patchPublisher(
        _ session: String, of id: CameraID, fragment: String, ifMatch: String?
    ) async throws(MarsadError) -> ViewerPatch
    /// Ends a publisher's session; false where the camera has none of that name.
    func closePublisher(_ session: String, of id: CameraID) async -> Bool
    /// The newest pair of RTP and wall time of a camera's live stream.
    func liveClock(of id: CameraID) async -> LiveClock?
    /// Connected viewers by camera.
    func viewers() async -> [CameraID: Int]
    /// Bytes of a recording file that this node holds.
    func bytes(path: String, offset: UInt64, count: Int) async throws(MarsadError) -> [UInt8]
}
