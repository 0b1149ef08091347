// What a viewer's session and a publisher's have in common: a transport, and the names it goes by.
// SPDX-License-Identifier: Apache-2.0

import Domain
import NIOCore
import Primitives
import RTP
import WebRTC

/// One WebRTC session on its loop. The loop carries its datagrams; what they bring about is said by
/// the subclasses.
class LiveSession {
    /// What every session begins with.
    struct Opening {
        var id: String
        var cameraID: CameraID
        var etag: String
        var answer: Answer
        var peer: PeerSession
    }

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
    /// Those that brought a check for it, used or not.
    var connections: [LiveConnection] = []

    init(_ opening: Opening) {
        id = opening.id
        cameraID = opening.cameraID
        etag = opening.etag
        answer = opening.answer
        peer = opening.peer
        remoteFragment = opening.answer.remoteICE.ufrag
    }

    // MARK: What the loop tells it

    /// Media may flow; an error ends the session.
    func connected(_ keys: KeyingMaterial, on loop: LiveLoop, at now: Instant) throws(SRTPError) {}

    /// What is sent to it takes this way now.
    func moved(to path: MediaPath) {}

    func receive(_ reports: [RTCPPacket], at now: Instant) {}

    /// A packet of the peer's media; a viewer has nothing to send.
    func receive(rtp packet: ByteBuffer, at now: Instant) {}

    /// Whether it has something to do that no datagram brings about.
    func isDue(at now: Instant) -> Bool { peer.deadline.map { $0 <= now } ?? false }

    /// Does what is due.
    func advance(to now: Instant) { peer.advance(to: now) }

    /// Adds what it counted since the last time.
    func count(into metrics: LiveMetrics) {}

    /// It is over.
    func ended(at now: Instant) {}
}
