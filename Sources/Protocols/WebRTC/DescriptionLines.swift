// The attribute lines that offers and answers of ours have in common.
// SPDX-License-Identifier: Apache-2.0

import Primitives
import RTP
import SDP

/// A source that is announced: its numbers and its names (RFC 5576, RFC 8830).
struct MediaSource: Sendable {
    var ssrc: SSRC
    var rtxSSRC: SSRC?
    var cname: String
    var streamID: String
    var trackID: String

    var attributes: [SessionDescription.Attribute] {
        var lines: [SessionDescription.Attribute] = [.init("msid", "\(streamID) \(trackID)")]
        if let rtxSSRC {
            lines.append(.init("ssrc-group", "FID \(ssrc.rawValue) \(rtxSSRC.rawValue)"))
        }
        for source in [ssrc, rtxSSRC].compactMap({ $0 }) {
            lines.append(.init("ssrc", "\(source.rawValue) cname:\(cname)"))
            lines.append(.init("ssrc", "\(source.rawValue) msid:\(streamID) \(trackID)"))
        }
        return lines
    }
}

/// The transport of a section: ICE and DTLS.
struct TransportLines {
    var ice: ICECredentials
    var fingerprint: Fingerprint
    var setup: DTLSSetup
    var candidates: [Candidate]

    /// Bundled sections after the first repeat all but the candidates, as browsers do.
    func attributes(withCandidates: Bool) -> [SessionDescription.Attribute] {
        var lines: [SessionDescription.Attribute] = [
            .init("ice-ufrag", ice.ufrag), .init("ice-pwd", ice.password.reveal()),
            .init("fingerprint", fingerprint.attribute), .init("setup", setup.rawValue),
        ]
        guard withCandidates else { return lines }
        lines.append(contentsOf: candidates.map { .init("candidate", $0.text) })
        lines.append(.init("end-of-candidates"))
        return lines
    }
}
