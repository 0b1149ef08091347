// What a WebRTC peer says of itself in SDP, offer or answer alike.
// SPDX-License-Identifier: Apache-2.0

package import RTP

/// Why an offer, answer or trickle fragment is refused.
package enum OfferError: Error, Equatable, Sendable {
    /// No SDP, or SDP without what WebRTC requires; HTTP 400.
    case malformed(String)
    /// Sound, but nothing this server can serve whole; HTTP 422.
    case unsupported(String)
    /// A viewer that only sends, or a publisher that only receives; HTTP 400.
    case wrongDirection
}

extension OfferError: CustomStringConvertible {
    package var description: String {
        switch self {
        case .malformed(let what): "invalid SDP: \(what)"
        case .unsupported(let what): "unsupported SDP: \(what)"
        case .wrongDirection: "the media direction does not fit this endpoint"
        }
    }
}

/// Which way media flows, seen from who writes the line (RFC 8866 §6.7).
package enum MediaDirection: String, Sendable {
    case sendrecv
    case sendonly
    case recvonly
    case inactive

    /// Whether the writer may receive.
    package var receives: Bool { self == .sendrecv || self == .recvonly }
    /// Whether the writer may send.
    package var sends: Bool { self == .sendrecv || self == .sendonly }
}

/// Who opens the DTLS handshake (RFC 8842 §5.2).
package enum DTLSSetup: String, Sendable {
    case actpass
    /// The writer is the DTLS client.
    case active
    /// The writer is the DTLS server.
    case passive
}

/// The kinds of RTCP feedback spoken here (`a=rtcp-fb`, RFC 4585 §4.2).
package struct FeedbackKinds: OptionSet, Hashable, Sendable {
    package let rawValue: UInt8

    package init(rawValue: UInt8) { self.rawValue = rawValue }

    package static let nack = FeedbackKinds(rawValue: 1)
    package static let pli = FeedbackKinds(rawValue: 2)
    package static let fir = FeedbackKinds(rawValue: 4)
    package static let remb = FeedbackKinds(rawValue: 8)

    static let names: [(kind: FeedbackKinds, text: String)] = [
        (.nack, "nack"), (.pli, "nack pli"), (.fir, "ccm fir"), (.remb, "goog-remb"),
    ]

    /// What follows `a=rtcp-fb:<type> `, one for each kind.
    var texts: [String] { Self.names.filter { contains($0.kind) }.map(\.text) }
}

/// One payload type of a section, with all that is said about it.
package struct OfferedCodec: Equatable, Sendable {
    package var payloadType: UInt8
    /// Upper case, e.g. `H264`.
    package var encoding: String
    package var clockRate: Int
    package var channels: Int
    /// Names are lower case.
    package var parameters: [String: String]
    package var feedback: FeedbackKinds
    /// The payload type of its resends (RFC 4588 §8.1).
    package var rtxPayloadType: UInt8?

    /// The three bytes of `profile-level-id` as one number (RFC 6184 §8.1).
    package var profileLevelID: UInt32? {
        guard let text = parameters["profile-level-id"], text.utf8.count == 6 else { return nil }
        return UInt32(text, radix: 16)
    }
}

/// One section of a peer's description.
package struct PeerSection: Sendable {
    /// The media served here.
    package enum Kind: String, Sendable {
        case video
        case audio
    }

    package var kind: Kind
    package var mid: String
    package var direction: MediaDirection
    /// In the peer's order of preference, without `rtx`.
    package var codecs: [OfferedCodec]
    package var hasReducedSizeRTCP: Bool
    /// Header extensions by their id (RFC 8285 §5); none is answered, since each costs every
    /// packet of every viewer its bytes.
    package var extensions: [UInt16: String]
    /// The source of the media, and of its resends (RFC 5576 §4).
    package var ssrc: SSRC?
    package var rtxSSRC: SSRC?
}

/// A peer's description: one transport for at most one video and one audio section.
package struct PeerDescription: Sendable {
    package var sections: [PeerSection]
    package var isBundled: Bool
    package var isICELite: Bool
    package var trickles: Bool
    package var ice: ICECredentials
    /// The first of the peer's fingerprints that can be checked.
    package var fingerprint: Fingerprint
    package var setup: DTLSSetup
    /// The usable ones; all others are passed over.
    package var candidates: [Candidate]
    package var isEndOfCandidates: Bool

    /// The section of a kind.
    package func section(_ kind: PeerSection.Kind) -> PeerSection? {
        sections.first { $0.kind == kind }
    }
}
