// What a viewer's session and a publisher's have in common: a transport, and the names it goes by.
// SPDX-License-Identifier: Apache-2.0

import Domain
import Primitives
import WebRTC

/// One WebRTC session on its loop.
class LiveSession {
    let id: String
    let cameraID: CameraID
    /// Changes with each ICE restart; the strong validator of PATCH (RFC 9725 §4.3.1).
    var etag: String
    let answer: Answer
    let peer: PeerSession
    /// The peer's half of its ICE names; another one in a fragment asks for a restart.
    var remoteFragment: String
    /// Under which STUN messages find it.
    var fragments: [String] = []
    /// Under which its other packets find it, from its first check on.
    var address: TransportAddress?

    init(id: String, cameraID: CameraID, etag: String, answer: Answer, peer: PeerSession) {
        self.id = id
        self.cameraID = cameraID
        self.etag = etag
        self.answer = answer
        self.peer = peer
        remoteFragment = answer.remoteICE.ufrag
    }

    /// Whether it has something to do that no datagram brings about.
    func isDue(at now: Instant) -> Bool { peer.deadline.map { $0 <= now } ?? false }
}
