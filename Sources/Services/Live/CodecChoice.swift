// Which codec a viewer gets of a camera: the camera's own, or one that is made of it.
// SPDX-License-Identifier: Apache-2.0

import Domain
import H26x
import Primitives
import WebRTC

extension LiveService {
    /// The camera's own codec where the offer takes it, else H.264 that is made of it; and how the
    /// answer names it.
    func codec(
        of camera: LiveCamera.Handle, for offer: Offer
    ) async throws(MarsadError) -> (Codec, VideoCodec) {
        guard let sets = try? await camera.submit({ $0.parameterSets }) else { throw .noPicture }
        let own = VideoCodec(sets.sequence)
        // Packets go out in decoding order, and players show them in it.
        let isInOrder = (sets.sequence.maxNumReorderFrames ?? 0) == 0
        switch sets.codec {
        case .h264:
            guard isInOrder else {
                throw MarsadError(.unprocessable, details: ["reason": "B_FRAMES", "use": "hls"])
            }
            return (.h264, own)
        case .h265:
            if isInOrder, offer.takes(own) { return (.h265, own) }
            try await startTranscode(of: camera, for: offer)
            return (.h264, .transcoded)
        }
    }

    private func startTranscode(
        of camera: LiveCamera.Handle, for offer: Offer
    ) async throws(MarsadError) {
        guard offer.takes(.transcoded) else {
            throw MarsadError(
                OfferError.unsupported("neither the camera's H.265 nor H.264 is offered"))
        }
        let now = shared.world.now()
        let started = try? await camera.submit { camera in
            Result { () throws(MarsadError) in try camera.startTranscode(at: now) }
        }
        guard let started else { throw .noPicture }
        try started.get()
    }
}

extension VideoCodec {
    /// How an answer names the video of these sets.
    fileprivate init(_ sequence: SequenceParameterSet) {
        switch sequence {
        case .h264(let sequence):
            self = .h264(profileLevelID: sequence.profileLevelID)
        case .h265(let sequence):
            let profile = sequence.profile
            self = .h265(
                profile: profile.indication, isHighTier: profile.isHighTier, level: profile.level)
        }
    }

    /// What is made for viewers who cannot take the camera's own: constrained baseline.
    fileprivate static let transcoded = VideoCodec.h264(profileLevelID: 0x42_E01F)
}
