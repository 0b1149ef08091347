// Answers: the chosen payload type, the refusals, and the text both ends agree on.
// SPDX-License-Identifier: Apache-2.0

import NIOCore
import Primitives
import RTP
import Testing
import WebRTC

@Suite struct AnswerTests {
    @Test(
        "the payload type of the camera's profile is chosen, else constrained baseline",
        arguments: [
            (UInt32(0x64_0028), UInt8(117)), (0x64_0C1F, 117), (0x42_E01E, 109), (0x42_C01E, 109),
            (0x42_0029, 107), (0x4D_0028, 109), (0x6E_0028, 109),
        ])
    func profiles(profile: UInt32, expected: UInt8) throws {
        let answer = try SDPSamples.viewing(SDPSamples.chromium, SDPSamples.video(profile))
        #expect(answer.payloadType == expected)
    }

    @Test("a viewer's answer reads back as what was agreed")
    func viewing() throws {
        let answer = try SDPSamples.viewing(SDPSamples.chromium)
        #expect(answer.rtxPayloadType == 118)
        #expect(answer.feedback == [.nack, .remb])
        #expect(answer.isDTLSServer)
        #expect(answer.remoteICE.ufrag == "EsAw")
        #expect(answer.remoteFingerprint.text == SDPSamples.digest)
        let read = try RemoteAnswer(parsing: answer.serialize())
        #expect(read.payloadType == 117)
        #expect(read.rtxPayloadType == 118)
        #expect(read.codec.profileLevelID == 0x64_0C1F)
        #expect(read.codec.feedback == [.nack, .remb])
        #expect(read.direction == .sendonly)
        #expect(read.ssrc?.rawValue == 4660)
        #expect(read.rtxSSRC?.rawValue == 4661)
        #expect(read.ice == SDPSamples.ours)
        #expect(read.isDTLSClient)
        #expect(read.candidates == SDPSamples.candidates)
        #expect(read.description.isICELite && read.description.isEndOfCandidates)
        #expect(read.description.isBundled)
    }

    @Test("the answer's lines are the ones browsers want")
    func lines() throws {
        let text = String(buffer: try SDPSamples.viewing(SDPSamples.chromium).serialize())
        let lines = text.split(separator: "\r\n").map(String.init)
        for line in [
            "a=group:BUNDLE 0", "a=ice-lite", "m=video 9 UDP/TLS/RTP/SAVPF 117 118", "a=mid:0",
            "a=sendonly", "a=rtcp-mux", "a=rtcp-rsize", "a=setup:passive",
            "a=msid:camera_7 video", "a=fmtp:118 apt=117", "a=end-of-candidates",
            "a=fmtp:117 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=640c1f",
            "a=ssrc-group:FID 4660 4661", "a=ssrc:4660 cname:marsad",
            "a=fingerprint:sha-256 \(SDPSamples.digest)",
        ] { #expect(lines.contains(line)) }
        #expect(!text.contains("transport-cc") && !text.contains("extmap"))
        #expect(lines.filter { $0.hasPrefix("a=candidate:") }.count == 3)
        #expect(text.contains(" 1 udp 2130706431 192.0.2.1 8189 typ host\r\n"))
        #expect(text.contains(" 192.0.2.1 8189 typ host tcptype passive\r\n"))
    }

    @Test("the setup of the answer fits the offer's")
    func setup() throws {
        for (offered, answered) in [("active", true), ("actpass", true), ("passive", false)] {
            let text = SDPSamples.chromium.replacing("setup:actpass", with: "setup:\(offered)")
            #expect(try SDPSamples.viewing(text).isDTLSServer == answered)
        }
    }

    @Test("sendrecv is answered, sendonly and inactive are the wrong direction")
    func directions() throws {
        let both = SDPSamples.chromium.replacing("a=recvonly\r\n", with: "a=sendrecv\r\n")
        let answer = try SDPSamples.viewing(both)
        #expect(try RemoteAnswer(parsing: answer.serialize()).direction == .sendonly)
        for direction in ["sendonly", "inactive"] {
            let text = SDPSamples.chromium.replacing("a=recvonly\r\n", with: "a=\(direction)\r\n")
            #expect(throws: OfferError.wrongDirection) { try SDPSamples.viewing(text) }
        }
    }

    @Test("audio is answered in the camera's codec, and its section idle when there is none")
    func audio() throws {
        let opus = AudioDescription(codec: .opus, ssrc: SSRC(rawValue: 99))
        let answer = try SDPSamples.viewing(SDPSamples.withAudio, audio: opus)
        #expect(answer.audio?.codec.payloadType == 111)
        let text = String(buffer: answer.serialize())
        #expect(text.contains("m=audio 9 UDP/TLS/RTP/SAVPF 111\r\n"))
        #expect(text.contains("a=rtpmap:111 opus/48000/2\r\n"))
        #expect(text.contains("a=group:BUNDLE 0 1\r\n"))
        #expect(text.contains("a=msid:camera_7 audio\r\n"))
        let law = AudioDescription(codec: .pcma, ssrc: SSRC(rawValue: 99))
        #expect(
            try SDPSamples.viewing(SDPSamples.withAudio, audio: law).audio?.codec.payloadType == 8)
        for mute in [
            try SDPSamples.viewing(SDPSamples.withAudio),
            try SDPSamples.viewing(
                SDPSamples.withAudio.replacing("111 0 8", with: "111"), audio: law),
        ] {
            #expect(mute.audio == nil)
            let text = String(buffer: mute.serialize())
            #expect(text.contains("m=audio 9 UDP/TLS/RTP/SAVPF 111\r\n"))
            #expect(text.contains("a=mid:1\r\na=inactive\r\n"))
            #expect(text.contains("a=group:BUNDLE 0 1\r\n"))
            #expect(!text.contains("a=msid:camera_7 audio"))
        }
        #expect(try SDPSamples.viewing(SDPSamples.chromium, audio: opus).audio == nil)
    }

    @Test("without H.264 that takes fragments there is no answer; H.265 goes where it is offered")
    func codecs() throws {
        let modeless = SDPSamples.chromium.replacing(
            "packetization-mode=1", with: "packetization-mode=0")
        #expect(throws: OfferError.self) { try SDPSamples.viewing(modeless) }
        let other = SDPSamples.chromium.replacing("H264", with: "VP9")
        #expect(throws: OfferError.self) { try SDPSamples.viewing(other) }
        let bare = SDPSamples.without("a=fmtp:117", in: SDPSamples.without("packet", in: other))
            .replacing("117 VP9", with: "117 H264")
        #expect(try SDPSamples.viewing(bare).payloadType == 117, "webrtcbin says no mode")
        var video = SDPSamples.video()
        video.codec = .h265(profile: 1, isHighTier: false, level: 93)
        let answer = try SDPSamples.viewing(SDPSamples.chromium, video)
        #expect(answer.payloadType == 39)
        #expect(answer.rtxPayloadType == nil)
    }

    @Test("a publisher is answered recvonly, sections in its order")
    func publishing() throws {
        let answer = try Answer.publishing(
            try SDPSamples.offer(SDPSamples.publisher), ice: SDPSamples.ours,
            fingerprint: try SDPSamples.fingerprint(), candidates: SDPSamples.candidates)
        #expect(answer.payloadType == 96)
        #expect(answer.rtxPayloadType == 97)
        #expect(answer.video.remoteSSRC?.rawValue == 21)
        #expect(answer.video.remoteRTXSSRC?.rawValue == 22)
        #expect(answer.audio?.remoteSSRC?.rawValue == 11)
        #expect(answer.isDTLSServer)
        let read = try PeerDescription(parsing: answer.serialize())
        #expect(read.sections.map(\.mid) == ["a", "v"])
        #expect(read.sections.map(\.direction) == [.recvonly, .recvonly])
        #expect(read.candidates == SDPSamples.candidates, "only the first section lists them")
        #expect(throws: OfferError.wrongDirection) {
            try Answer.publishing(
                try SDPSamples.offer(SDPSamples.chromium), ice: SDPSamples.ours,
                fingerprint: try SDPSamples.fingerprint(), candidates: [])
        }
    }

    @Test("the load client's offers are served, both ways")
    func client() throws {
        var offer = ClientOffer(ice: SDPSamples.ours, fingerprint: try SDPSamples.fingerprint())
        let answer = try SDPSamples.viewing(String(buffer: offer.serialize()))
        #expect(answer.payloadType == 96)
        #expect(answer.rtxPayloadType == 97)
        #expect(answer.feedback == [.nack, .pli, .fir, .remb])
        offer.source = .init(
            ssrc: SSRC(rawValue: 5), rtxSSRC: SSRC(rawValue: 6), cname: "publisher")
        let published = try Answer.publishing(
            try Offer(parsing: offer.serialize()), ice: SDPSamples.ours,
            fingerprint: try SDPSamples.fingerprint(), candidates: [])
        #expect(published.video.remoteSSRC?.rawValue == 5)
        #expect(throws: OfferError.self) { try RemoteAnswer(parsing: offer.serialize()) }
    }
}
