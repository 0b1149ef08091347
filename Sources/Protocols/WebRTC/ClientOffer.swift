// The client's half of WHEP and WHIP: an H.264 offer, and what the server made of it.
// SPDX-License-Identifier: Apache-2.0

package import NIOCore
package import RTP
import SDP

/// The offer of a load client that views or publishes one H.264 video.
package struct ClientOffer: Sendable {
    /// What a publisher announces; a viewer has none.
    package struct Source: Sendable {
        package var ssrc: SSRC
        package var rtxSSRC: SSRC
        package var cname: String

        package init(ssrc: SSRC, rtxSSRC: SSRC, cname: String) {
            self.ssrc = ssrc
            self.rtxSSRC = rtxSSRC
            self.cname = cname
        }
    }

    package var ice: ICECredentials
    package var fingerprint: Fingerprint
    package var source: Source?
    package var candidates: [Candidate]
    package var payloadType: UInt8 = 96
    package var rtxPayloadType: UInt8 = 97
    /// Constrained baseline, as browsers offer it.
    package var profileLevelID: UInt32 = 0x42_E01F

    package init(
        ice: ICECredentials, fingerprint: Fingerprint, source: Source? = nil,
        candidates: [Candidate] = []
    ) {
        self.ice = ice
        self.fingerprint = fingerprint
        self.source = source
        self.candidates = candidates
    }

    /// The offer's SDP (RFC 8829 §5.2): one bundled section, either end may be the DTLS server.
    package func serialize() -> ByteBuffer {
        let hex = String(profileLevelID & 0xFF_FFFF, radix: 16)
        let profile = String(repeating: "0", count: 6 - hex.count) + hex
        let mid = "0"
        let kinds: FeedbackKinds = [.nack, .pli, .fir, .remb]
        var attributes: [SessionDescription.Attribute] = [
            .init("mid", mid), .init(source == nil ? "recvonly" : "sendonly"), .init("rtcp-mux"),
            .init("rtcp-rsize"),
        ]
        for text in kinds.texts { attributes.append(.init("rtcp-fb", "\(payloadType) \(text)")) }
        if let source {
            let announced = MediaSource(
                ssrc: source.ssrc, rtxSSRC: source.rtxSSRC, cname: source.cname,
                streamID: source.cname, trackID: "video")
            attributes.append(contentsOf: announced.attributes)
        }
        let transport = TransportLines(
            ice: ice, fingerprint: fingerprint, setup: .actpass, candidates: candidates)
        attributes.append(contentsOf: transport.attributes(withCandidates: true))
        let media = SessionDescription.Media(
            kind: "video", port: 9, transport: "UDP/TLS/RTP/SAVPF",
            payloadTypes: [payloadType, rtxPayloadType],
            rtpmap: [
                payloadType: .init(encoding: "H264", clockRate: 90_000),
                rtxPayloadType: .init(encoding: "rtx", clockRate: 90_000),
            ],
            fmtp: [
                payloadType: [
                    "level-asymmetry-allowed": "1", "packetization-mode": "1",
                    "profile-level-id": profile,
                ],
                rtxPayloadType: ["apt": String(payloadType)],
            ],
            attributes: attributes)
        return SessionDescription(
            name: "-", control: nil,
            attributes: [.init("group", "BUNDLE \(mid)"), .init("ice-options", "trickle")],
            media: [media]
        ).serialize()
    }
}

/// A server's answer, as a client reads it.
package struct RemoteAnswer: Sendable {
    package let description: PeerDescription
    /// The video's codec; its payload types are the ones to expect.
    package let codec: OfferedCodec
    package let direction: MediaDirection
    package let ssrc: SSRC?
    package let rtxSSRC: SSRC?

    /// Reads an answer that has H.264 or H.265 video and one DTLS role decided.
    package init(parsing bytes: ByteBuffer) throws(OfferError) {
        description = try PeerDescription(parsing: bytes)
        guard let video = description.section(.video), let codec = video.anyH264 ?? video.anyH265
        else {
            throw .unsupported("no H.264 or H.265 in the answer")
        }
        guard description.setup != .actpass else { throw .malformed("setup actpass in an answer") }
        self.codec = codec
        direction = video.direction
        ssrc = video.ssrc
        rtxSSRC = video.rtxSSRC
    }

    package var payloadType: UInt8 { codec.payloadType }
    package var rtxPayloadType: UInt8? { codec.rtxPayloadType }
    package var ice: ICECredentials { description.ice }
    package var fingerprint: Fingerprint { description.fingerprint }
    package var candidates: [Candidate] { description.candidates }
    /// The client opens the handshake when the server waits.
    package var isDTLSClient: Bool { description.setup == .passive }
}
