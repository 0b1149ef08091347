// Offers of real clients, shortened, and what the tests answer them with.
// SPDX-License-Identifier: Apache-2.0

import NIOCore
import Primitives
import RTP
import WebRTC

enum SDPSamples {
    static let digest = (0..<32).map { $0 < 16 ? "0\(String($0, radix: 16))" : "AB" }
        .joined(separator: ":").uppercased()

    /// Chromium's, video only, as `addTransceiver("video", {direction: "recvonly"})` makes it.
    static let chromium = """
        v=0\r
        o=- 4611732430893021034 2 IN IP4 127.0.0.1\r
        s=-\r
        t=0 0\r
        a=group:BUNDLE 0\r
        a=extmap-allow-mixed\r
        a=msid-semantic: WMS\r
        m=video 9 UDP/TLS/RTP/SAVPF 96 97 103 104 107 108 109 114 117 118 39 40\r
        c=IN IP4 0.0.0.0\r
        a=rtcp:9 IN IP4 0.0.0.0\r
        a=candidate:1387637174 1 udp 2113937151 6a12c2a6-6a4b-4cd1-8ab3-7a0fd0b1b3d5.local \
        51764 typ host generation 0 network-cost 999\r
        a=ice-ufrag:EsAw\r
        a=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r
        a=ice-options:trickle\r
        a=fingerprint:sha-256 \(digest)\r
        a=setup:actpass\r
        a=mid:0\r
        a=extmap:1 urn:ietf:params:rtp-hdrext:toffset\r
        a=extmap:4/recvonly urn:ietf:params:rtp-hdrext:sdes:mid\r
        a=recvonly\r
        a=rtcp-mux\r
        a=rtcp-rsize\r
        a=rtpmap:96 VP8/90000\r
        a=rtcp-fb:96 goog-remb\r
        a=rtpmap:97 rtx/90000\r
        a=fmtp:97 apt=96\r
        a=rtpmap:103 H264/90000\r
        a=rtcp-fb:103 goog-remb\r
        a=rtcp-fb:103 transport-cc\r
        a=rtcp-fb:103 ccm fir\r
        a=rtcp-fb:103 nack\r
        a=rtcp-fb:103 nack pli\r
        a=fmtp:103 level-asymmetry-allowed=1;packetization-mode=0;profile-level-id=42e01f\r
        a=rtpmap:104 rtx/90000\r
        a=fmtp:104 apt=103\r
        a=rtpmap:107 H264/90000\r
        a=rtcp-fb:107 goog-remb\r
        a=rtcp-fb:107 transport-cc\r
        a=rtcp-fb:107 ccm fir\r
        a=rtcp-fb:107 nack\r
        a=rtcp-fb:107 nack pli\r
        a=fmtp:107 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42001f\r
        a=rtpmap:108 rtx/90000\r
        a=fmtp:108 apt=107\r
        a=rtpmap:109 H264/90000\r
        a=rtcp-fb:109 nack\r
        a=rtcp-fb:109 nack pli\r
        a=fmtp:109 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f\r
        a=rtpmap:114 rtx/90000\r
        a=fmtp:114 apt=109\r
        a=rtpmap:117 H264/90000\r
        a=rtcp-fb:117 nack\r
        a=rtcp-fb:117 goog-remb\r
        a=fmtp:117 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=640c1f\r
        a=rtpmap:118 rtx/90000\r
        a=fmtp:118 apt=117\r
        a=rtpmap:39 H265/90000\r
        a=fmtp:39 level-id=180;profile-id=1;tier-flag=0;tx-mode=SRST\r

        """

    static let audioSection = """
        m=audio 9 UDP/TLS/RTP/SAVPF 111 0 8\r
        a=ice-ufrag:EsAw\r
        a=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r
        a=fingerprint:sha-256 \(digest)\r
        a=setup:actpass\r
        a=mid:1\r
        a=recvonly\r
        a=rtcp-mux\r
        a=rtpmap:111 opus/48000/2\r
        a=rtcp-fb:111 transport-cc\r
        a=fmtp:111 minptime=10;useinbandfec=1\r
        a=rtpmap:0 PCMU/8000\r

        """

    static let withAudio =
        chromium.replacing("BUNDLE 0", with: "BUNDLE 0 1") + audioSection

    /// A publisher's, one video and one audio section.
    static let publisher = """
        v=0\r
        o=rtc 1 0 IN IP4 127.0.0.1\r
        s=-\r
        t=0 0\r
        a=group:BUNDLE v a\r
        a=fingerprint:sha-256 \(digest)\r
        a=setup:active\r
        a=ice-ufrag:publ\r
        a=ice-pwd:publishpublishpublish123\r
        m=audio 0 UDP/TLS/RTP/SAVPF 111\r
        a=bundle-only\r
        a=mid:a\r
        a=sendonly\r
        a=rtcp-mux\r
        a=rtpmap:111 opus/48000/2\r
        a=ssrc:11 cname:p\r
        m=video 50000 UDP/TLS/RTP/SAVPF 96 97\r
        a=mid:v\r
        a=sendonly\r
        a=rtcp-mux\r
        a=rtpmap:96 H264/90000\r
        a=fmtp:96 profile-level-id=42e01f;packetization-mode=1\r
        a=rtcp-fb:* nack\r
        a=rtcp-fb:96 nack pli\r
        a=rtpmap:97 rtx/90000\r
        a=fmtp:97 apt=96\r
        a=ssrc-group:FID 21 22\r
        a=ssrc:21 cname:p\r
        a=ssrc:22 cname:p\r
        a=candidate:1 1 UDP 2130706431 192.0.2.9 50000 typ host\r
        a=end-of-candidates\r

        """

    static let ours = ICECredentials(
        ufrag: "ourUfrag", password: Redacted("ourPasswordOf24Characters"))
    static let candidates = [
        Candidate(TransportAddress(ipv4: 0xC000_0201, port: 8189)),
        Candidate(TransportAddress(ipv4: 0xC000_0201, port: 8189, transport: .tcp)),
        Candidate(TransportAddress(ipv6: (0x2001_0DB8 << 32, 1), port: 8189), preference: 9),
    ]

    static func video(_ profileLevelID: UInt32 = 0x64_0028) -> VideoDescription {
        VideoDescription(
            profileLevelID: profileLevelID, ssrc: SSRC(rawValue: 4660),
            rtxSSRC: SSRC(rawValue: 4661), cname: "marsad", streamID: "camera_7")
    }

    static func fingerprint() throws -> Fingerprint {
        guard let fingerprint = Fingerprint(parsing: "sha-256 " + digest) else {
            throw OfferError.malformed("the tests' own fingerprint")
        }
        return fingerprint
    }

    static func offer(_ text: String) throws -> Offer {
        try Offer(parsing: ByteBuffer(string: text))
    }

    static func viewing(
        _ text: String, _ video: VideoDescription = video(), audio: AudioDescription? = nil
    ) throws -> Answer {
        try Answer.viewing(
            try offer(text), video: video, audio: audio, ice: ours, fingerprint: try fingerprint(),
            candidates: candidates)
    }

    /// The text with each line that contains `part` replaced, or left out.
    static func without(_ part: String, in text: String, _ replacement: String? = nil) -> String {
        text.split(separator: "\r\n").compactMap { line in
            line.contains(part) ? replacement : String(line)
        }.joined(separator: "\r\n") + "\r\n"
    }
}
