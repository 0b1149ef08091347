// Publishers: their offers in, answers out, and one of them a camera.
// SPDX-License-Identifier: Apache-2.0

package import Domain
package import NIOCore
import Primitives
import RTP
import WebRTC

extension LiveService {
    /// Answers a publisher's offer (WHIP POST).
    ///
    /// - Parameters:
    ///   - eventLoop: the camera's. The session is opened there, so that its packets need no other.
    ///   - sink: what takes the packets.
    package func publish(
        _ cameraID: CameraID, offer text: String, on eventLoop: any EventLoop,
        to sink: PublisherSink
    ) async throws(MarsadError) -> ViewerAnswer {
        let offer = try Self.reading { () throws(OfferError) in
            try Offer(parsing: ByteBuffer(string: text))
        }
        let loop = loops.first { $0.eventLoop === eventLoop } ?? loops[0]
        let world = shared.world
        let local = LiveShared.credentials(loop: loop.index, random: world.secureRandom)
        let answer = try Self.reading { () throws(OfferError) in
            try Answer.publishing(
                offer, ice: local, fingerprint: identity.fingerprint, candidates: candidates)
        }
        try await replaceSilentPublisher(of: cameraID)
        let source = SSRC(rawValue: UInt32(truncatingIfNeeded: world.random()))
        let place = LiveShared.Place(loop: loop, cameraID: cameraID, role: .publisher)
        return try await begin(answer, local, place) { opening, _, now in
            PublisherSession(opening, ownSource: source, sink: sink, at: now)
        }
    }

    /// An encoder that lost power comes back sooner than its old session is found dead: a session
    /// that sends nothing stands in nobody's way.
    private func replaceSilentPublisher(of cameraID: CameraID) async throws(MarsadError) {
        guard let old = shared.publisher(of: cameraID), let place = shared.place(old) else {
            return
        }
        let world = shared.world
        let isGone = try? await place.loop.submit { loop in
            guard let session = loop.session(old) as? PublisherSession,
                session.isSilent(at: world.now())
            else { return loop.session(old) == nil }
            return loop.close(old)
        }
        guard isGone ?? true else { throw .hasPublisher(cameraID) }
    }

    /// Trickled candidates, or an ICE restart (WHIP PATCH; RFC 9725 §4.3).
    package func patchPublisher(
        _ id: String, of cameraID: CameraID, fragment text: String, ifMatch: String?
    ) async throws(MarsadError) -> ViewerPatch {
        try await patch(id, of: cameraID, as: .publisher, fragment: text, ifMatch: ifMatch)
    }

    /// Ends a publisher's session; false where the camera has none of that name.
    package func closePublisher(_ id: String, of cameraID: CameraID) async -> Bool {
        guard let place = shared.place(id), place.cameraID == cameraID,
            place.role == .publisher
        else { return false }
        return (try? await place.loop.submit { $0.close(id) }) ?? false
    }

    /// Ends whatever publishes a camera: it is given up, or may be published with its old token no more.
    package func closePublisher(of cameraID: CameraID) async {
        guard let id = shared.publisher(of: cameraID) else { return }
        _ = await closePublisher(id, of: cameraID)
    }
}
