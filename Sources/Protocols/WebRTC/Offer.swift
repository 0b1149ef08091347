// A browser's or publisher's offer, and which of its codecs fits a camera.
// SPDX-License-Identifier: Apache-2.0

package import NIOCore
import RTP

/// A WebRTC offer this server could answer (WHIP RFC 9725 §4.2, WHEP likewise).
package struct Offer: Sendable {
    package let description: PeerDescription

    /// Reads and judges an offer; the direction is judged when it is answered.
    package init(parsing bytes: ByteBuffer) throws(OfferError) {
        description = try PeerDescription(parsing: bytes)
        // One of the two must send the checks (RFC 8445 §2.5).
        guard !description.isICELite else { throw .unsupported("ice-lite at both ends") }
    }

    /// Whether a viewer that offers this can be sent video of a codec.
    package func takes(_ video: VideoCodec) -> Bool {
        description.section(.video)?.codec(for: video) != nil
    }

    /// The credentials its connectivity checks are made with.
    package var ice: ICECredentials { description.ice }

    /// What the answer's `a=setup` must be (RFC 8842 §5.3): this server prefers to wait.
    package var answeredSetup: DTLSSetup {
        description.setup == .passive ? .active : .passive
    }

    /// The video section, flowing the way the endpoint needs.
    func video(flowing isRight: (MediaDirection) -> Bool) throws(OfferError) -> PeerSection {
        for section in description.sections where !isRight(section.direction) {
            throw .wrongDirection
        }
        guard let section = description.section(.video) else {
            throw .unsupported("no video section")
        }
        return section
    }
}

extension PeerSection {
    /// The offered payload type for video of this codec.
    func codec(for video: VideoCodec) -> OfferedCodec? {
        switch video {
        case .h264(let profileLevelID):
            bestH264(profileLevelID)
        case .h265(let profile, let isHighTier, let level):
            codecs.first {
                $0.encoding == "H265" && $0.clockRate == 90_000
                    && $0.takesH265(profile, isHighTier, level)
            }
        }
    }

    /// The first offered H.264, whatever its profile, that takes fragments.
    var anyH264: OfferedCodec? { bestH264(nil) }

    /// The first offered H.265.
    var anyH265: OfferedCodec? {
        codecs.first { $0.encoding == "H265" && $0.clockRate == 90_000 }
    }

    /// The offered payload type for audio of this codec.
    func codec(for audio: AudioCodec) -> OfferedCodec? {
        codecs.first { $0.encoding == audio.encoding && $0.clockRate == audio.clockRate }
    }

    /// The same profile first, then constrained baseline, under which decoders take High as well;
    /// the level is not compared, since it only bounds what the offerer would send.
    private func bestH264(_ wanted: UInt32?) -> OfferedCodec? {
        var best: (codec: OfferedCodec, rank: Int)?
        for codec in codecs where codec.encoding == "H264" && codec.clockRate == 90_000 {
            guard let rank = Self.rank(codec, wanted) else { continue }
            if best.map({ rank < $0.rank }) ?? true { best = (codec, rank) }
        }
        return best?.codec
    }

    private static func rank(_ codec: OfferedCodec, _ wanted: UInt32?) -> Int? {
        let mode = codec.parameters["packetization-mode"]
        // Without the parameter the mode is 0 (RFC 6184 §8.1), but GStreamer's webrtcbin leaves it
        // out and takes fragments all the same.
        guard mode == "1" || mode == nil else { return nil }
        let penalty = mode == nil ? 8 : 0
        guard let wanted else { return penalty }
        // What a description says without the parameter is Baseline (RFC 6184 §8.1).
        let offered = codec.profileLevelID ?? 0x42_000A
        if offered >> 16 == wanted >> 16 {
            // Of the constraint flags only set 1 changes the tools (RFC 6184 §8.1, table 5).
            return penalty + ((offered ^ wanted) & 0x4000 == 0 ? 0 : 1)
        }
        let isConstrainedBaseline = offered >> 16 == 0x42 && offered & 0x4000 != 0
        return penalty + (isConstrainedBaseline ? 2 : 3)
    }
}

extension OfferedCodec {
    /// Whether what this offers decodes H.265 of a profile, tier and level (RFC 7798 §7.1, whose defaults
    /// are main profile, main tier and level 3.1; draft-ietf-avtcore-hevc-webrtc).
    fileprivate func takesH265(_ profile: UInt8, _ isHighTier: Bool, _ level: UInt8) -> Bool {
        func number(_ name: String, _ absent: Int) -> Int? {
            parameters[name].map { Int($0) } ?? absent
        }
        guard parameters["tx-mode"].map({ $0.uppercased() == "SRST" }) ?? true,
            let offeredProfile = number("profile-id", 1), let tier = number("tier-flag", 0),
            let offeredLevel = number("level-id", 93)
        else { return false }
        // Every decoder of main 10 decodes main (H.265 §A.3.3).
        let fits = offeredProfile == Int(profile) || (offeredProfile == 2 && profile == 1)
        return fits && (tier == 1 || !isHighTier) && offeredLevel >= Int(level)
    }
}
