// This server's answer to an offer: whole, or none.
// SPDX-License-Identifier: Apache-2.0

package import NIOCore
package import RTP
import SDP

/// A camera's video codec.
package enum VideoCodec: Hashable, Sendable {
    /// With the three bytes after the NAL header of its SPS, e.g. `0x640028`.
    case h264(profileLevelID: UInt32)
    /// With `general_profile_idc`, `general_tier_flag` and `general_level_idc` of its SPS.
    case h265(profile: UInt8, isHighTier: Bool, level: UInt8)
}

/// The video this server sends.
package struct VideoDescription: Sendable {
    package var codec: VideoCodec
    package var ssrc: SSRC
    package var rtxSSRC: SSRC
    package var cname: String
    /// The MediaStream's name, one for all tracks (RFC 8830).
    package var streamID: String

    package init(
        codec: VideoCodec, ssrc: SSRC, rtxSSRC: SSRC, cname: String, streamID: String
    ) {
        self.codec = codec
        self.ssrc = ssrc
        self.rtxSSRC = rtxSSRC
        self.cname = cname
        self.streamID = streamID
    }

    /// H.264 of the profile of the camera's SPS.
    package init(
        profileLevelID: UInt32, ssrc: SSRC, rtxSSRC: SSRC, cname: String, streamID: String
    ) {
        self.init(
            codec: .h264(profileLevelID: profileLevelID), ssrc: ssrc, rtxSSRC: rtxSSRC,
            cname: cname, streamID: streamID)
    }
}

/// The audio this server sends beside the video, with its names.
package struct AudioDescription: Sendable {
    package var codec: AudioCodec
    package var ssrc: SSRC

    package init(codec: AudioCodec, ssrc: SSRC) {
        self.codec = codec
        self.ssrc = ssrc
    }
}

/// An answer (RFC 8829 §5.3), with what it agreed on.
package struct Answer: Sendable {
    /// One answered section.
    package struct Section: Sendable {
        package var kind: PeerSection.Kind
        package var mid: String
        /// With the offer's payload type number, and the feedback both ends speak.
        package var codec: OfferedCodec
        package var hasReducedSizeRTCP: Bool
        /// Seen from us.
        package var direction: MediaDirection
        /// What we send.
        fileprivate var source: MediaSource?
        /// What the peer said it sends.
        package var remoteSSRC: SSRC?
        package var remoteRTXSSRC: SSRC?
    }

    package var video: Section
    /// Where sound flows.
    package var audio: Section?
    /// The audio section of an offer, where no sound flows.
    private var idle: Section?
    /// Our half of the DTLS handshake: `passive` is the server.
    package var setup: DTLSSetup
    package var remoteICE: ICECredentials
    package var remoteFingerprint: Fingerprint
    package var remoteCandidates: [Candidate]
    private var order: [PeerSection.Kind]
    private var isBundled: Bool
    private var trickles: Bool
    private var ice: ICECredentials
    private var fingerprint: Fingerprint
    private var candidates: [Candidate]

    /// The number of the video's packets.
    package var payloadType: UInt8 { video.codec.payloadType }
    /// The number of its resends, when the peer takes them apart (RFC 4588).
    package var rtxPayloadType: UInt8? { video.codec.rtxPayloadType }
    /// The video's feedback.
    package var feedback: FeedbackKinds { video.codec.feedback }
    /// The DTLS endpoint is the server.
    package var isDTLSServer: Bool { setup == .passive }

    /// The answer to a viewer (WHEP). Where the camera has no sound, or none in a codec of the offer,
    /// the audio section is answered as inactive (RFC 8829 §5.3.1) and the video goes alone. A rejected
    /// one, with port 0, would say the same; not every client can read it.
    package static func viewing(
        _ offer: Offer, video: VideoDescription, audio: AudioDescription? = nil,
        ice: ICECredentials, fingerprint: Fingerprint, candidates: [Candidate]
    ) throws(OfferError) -> Answer {
        let section = try offer.video { $0.receives }
        guard let codec = section.codec(for: video.codec) else {
            throw .unsupported("no payload type for the camera's video")
        }
        let source = MediaSource(
            ssrc: video.ssrc, rtxSSRC: codec.rtxPayloadType == nil ? nil : video.rtxSSRC,
            cname: video.cname, streamID: video.streamID, trackID: "video")
        var answer = Answer(
            offer, video: Section(section, codec, source), ice: ice, fingerprint: fingerprint,
            candidates: candidates)
        guard let wanted = offer.description.section(.audio) else { return answer }
        if let audio, let codec = wanted.codec(for: audio.codec) {
            let source = MediaSource(
                ssrc: audio.ssrc, rtxSSRC: nil, cname: video.cname, streamID: video.streamID,
                trackID: "audio")
            answer.audio = Section(wanted, codec, source)
        } else {
            guard let codec = wanted.codecs.first else {
                throw .unsupported("an audio section without a codec")
            }
            var idle = Section(wanted, codec, nil)
            idle.direction = .inactive
            answer.idle = idle
        }
        return answer
    }

    /// The answer to a publisher (WHIP): H.264, and Opus or G.711 beside it.
    package static func publishing(
        _ offer: Offer, ice: ICECredentials, fingerprint: Fingerprint, candidates: [Candidate]
    ) throws(OfferError) -> Answer {
        let section = try offer.video { $0.sends }
        guard let codec = section.anyH264 else { throw .unsupported("no H.264 is offered") }
        var answer = Answer(
            offer, video: Section(section, codec, nil), ice: ice, fingerprint: fingerprint,
            candidates: candidates)
        if let section = offer.description.section(.audio) {
            let known = AudioCodec.allCases.compactMap { section.codec(for: $0) }
            guard let codec = known.first else {
                throw .unsupported("no audio codec that can be recorded")
            }
            answer.audio = Section(section, codec, nil)
        }
        return answer
    }

    private init(
        _ offer: Offer, video: Section, ice: ICECredentials, fingerprint: Fingerprint,
        candidates: [Candidate]
    ) {
        self.video = video
        self.ice = ice
        self.fingerprint = fingerprint
        self.candidates = candidates
        setup = offer.answeredSetup
        remoteICE = offer.description.ice
        remoteFingerprint = offer.description.fingerprint
        remoteCandidates = offer.description.candidates
        order = offer.description.sections.map(\.kind)
        isBundled = offer.description.isBundled
        trickles = offer.description.trickles
    }

    /// The answer's SDP: the offer's sections in the offer's order, all candidates at once.
    package func serialize() -> ByteBuffer {
        let sections = order.compactMap { $0 == .video ? video : audio ?? idle }
        var attributes: [SessionDescription.Attribute] = []
        if isBundled {
            let mids = sections.map(\.mid).joined(separator: " ")
            attributes.append(.init("group", "BUNDLE \(mids)"))
        }
        attributes.append(.init("ice-lite"))
        if trickles { attributes.append(.init("ice-options", "trickle")) }
        if let source = video.source {
            attributes.append(.init("msid-semantic", "WMS \(source.streamID)"))
        }
        let transport = TransportLines(
            ice: ice, fingerprint: fingerprint, setup: setup, candidates: candidates)
        let media = sections.enumerated().map { index, section in
            section.described(transport.attributes(withCandidates: index == 0 || !isBundled))
        }
        return SessionDescription(name: "-", control: nil, attributes: attributes, media: media)
            .serialize()
    }

    /// The body that answers an ICE restart (RFC 9725 §4.3.3): new credentials, all candidates.
    package func restartFragment(ice: ICECredentials) -> TrickleFragment {
        let first = order.first == .audio ? audio ?? idle ?? video : video
        return TrickleFragment(
            ice: ice, isICELite: true,
            sections: [
                .init(
                    kind: first.kind.rawValue, mid: first.mid, candidates: candidates,
                    isComplete: true)
            ])
    }
}

extension Answer.Section {
    /// Parameters of an offered codec that an answer repeats (RFC 6184 §8.2.2, RFC 7587 §7.1,
    /// RFC 7798 §7.2.2).
    private static let repeated: Set<String> = [
        "profile-level-id", "packetization-mode", "level-asymmetry-allowed", "minptime",
        "useinbandfec", "stereo", "profile-id", "tier-flag", "level-id", "tx-mode",
    ]

    fileprivate init(_ section: PeerSection, _ codec: OfferedCodec, _ source: MediaSource?) {
        kind = section.kind
        mid = section.mid
        self.codec = codec
        hasReducedSizeRTCP = section.hasReducedSizeRTCP
        self.source = source
        direction = source == nil ? .recvonly : .sendonly
        remoteSSRC = section.ssrc
        remoteRTXSSRC = section.rtxSSRC
        // Audio is not resent; a lost packet of 20 ms is concealed sooner.
        if kind == .audio { self.codec.feedback = [] }
    }

    fileprivate func described(
        _ transport: [SessionDescription.Attribute]
    ) -> SessionDescription.Media {
        let encoding = codec.encoding == "OPUS" ? "opus" : codec.encoding
        var media = SessionDescription.Media(
            kind: kind.rawValue, port: 9, transport: "UDP/TLS/RTP/SAVPF",
            payloadTypes: [codec.payloadType],
            rtpmap: [
                codec.payloadType: .init(
                    encoding: encoding, clockRate: codec.clockRate, channels: codec.channels)
            ],
            fmtp: [
                codec.payloadType: codec.parameters.filter { Self.repeated.contains($0.key) }
            ],
            attributes: [.init("mid", mid), .init(direction.rawValue)])
        if let rtx = codec.rtxPayloadType {
            media.payloadTypes.append(rtx)
            media.rtpmap[rtx] = .init(encoding: "rtx", clockRate: codec.clockRate)
            media.fmtp[rtx] = ["apt": String(codec.payloadType)]
        }
        media.attributes.append(.init("rtcp-mux"))
        if hasReducedSizeRTCP { media.attributes.append(.init("rtcp-rsize")) }
        for text in codec.feedback.texts {
            media.attributes.append(.init("rtcp-fb", "\(codec.payloadType) \(text)"))
        }
        media.attributes.append(contentsOf: source?.attributes ?? [])
        media.attributes.append(contentsOf: transport)
        return media
    }
}
