// Offers: what is read from them, and what each defect is called.
// SPDX-License-Identifier: Apache-2.0

import NIOCore
import Primitives
import RTP
import Testing
import WebRTC

@Suite struct OfferTests {
    @Test("a browser's offer is read with codecs, resends, feedback and transport")
    func browser() throws {
        let offer = try SDPSamples.offer(SDPSamples.chromium)
        let description = offer.description
        #expect(description.isBundled && description.trickles && !description.isICELite)
        #expect(offer.ice.ufrag == "EsAw")
        #expect(offer.ice.password.reveal() == "P2uYro0UCOQ4zxjKXaWCBui1")
        #expect(description.fingerprint.text == SDPSamples.digest)
        #expect(description.setup == .actpass)
        #expect(offer.answeredSetup == .passive)
        #expect(description.candidates.isEmpty, "an mDNS name is passed over")
        let video = try #require(description.section(.video))
        #expect(video.mid == "0")
        #expect(video.direction == .recvonly)
        #expect(video.hasReducedSizeRTCP)
        #expect(video.codecs.map(\.payloadType) == [96, 103, 107, 109, 117, 39])
        #expect(video.codecs.map(\.rtxPayloadType) == [97, 104, 108, 114, 118, nil])
        #expect(video.codecs[2].feedback == [.nack, .pli, .fir, .remb])
        #expect(video.codecs[2].profileLevelID == 0x42_001F)
        #expect(video.extensions[4] == "urn:ietf:params:rtp-hdrext:sdes:mid")
        #expect(!"\(offer)".contains("P2uYro0U"), "the password must not print")
    }

    @Test("a publisher's offer has its transport before the sections and its sources named")
    func publisher() throws {
        let offer = try SDPSamples.offer(SDPSamples.publisher)
        #expect(offer.description.setup == .active)
        #expect(offer.description.isEndOfCandidates)
        #expect(offer.description.candidates.map(\.address.description) == ["192.0.2.9:50000"])
        let video = try #require(offer.description.section(.video))
        #expect(video.ssrc?.rawValue == 21)
        #expect(video.rtxSSRC?.rawValue == 22)
        #expect(video.codecs.first?.feedback == [.nack, .pli])
        #expect(offer.description.section(.audio)?.codecs.first?.channels == 2)
    }

    @Test("what is no offer is malformed: HTTP 400")
    func malformed() throws {
        let text = SDPSamples.chromium
        for broken in [
            "", "v=0\r\n", "<html></html>", "{\"sdp\":\"v=0\"}", String(text.dropFirst(5)),
            text + "garbage\r\n", SDPSamples.without("a=ice-ufrag", in: text),
            SDPSamples.without("a=ice-pwd", in: text, "a=ice-pwd:short"),
            SDPSamples.without("a=ice-ufrag", in: text, "a=ice-ufrag:a b c d"),
            SDPSamples.without("a=fingerprint", in: text),
            SDPSamples.without("a=setup", in: text), SDPSamples.without("a=mid", in: text),
            SDPSamples.without("a=mid", in: text, "a=mid:a/b"),
            SDPSamples.withAudio.replacing("a=mid:1", with: "a=mid:0"),
            text + String(repeating: "a=x\r\n", count: 20_000),
        ] {
            #expect {
                _ = try SDPSamples.offer(broken)
            } throws: { error in
                if case .malformed? = error as? OfferError { true } else { false }
            }
        }
        var bytes = ByteBuffer(string: text)
        bytes.writeBytes([0x61, 0x3D, 0xFF, 0xFE])
        #expect(throws: OfferError.self) { try Offer(parsing: bytes) }
    }

    @Test("a sound offer that cannot be served whole is unsupported: HTTP 422")
    func unsupported() throws {
        let text = SDPSamples.chromium
        let data = SDPSamples.audioSection.replacing(
            "m=audio 9 UDP/TLS/RTP/SAVPF 111 0 8",
            with: "m=application 9 UDP/DTLS/SCTP webrtc-datachannel")
        for sound in [
            SDPSamples.without("a=rtcp-mux", in: text),
            SDPSamples.without("a=setup", in: text, "a=setup:holdconn"),
            SDPSamples.without("a=fingerprint", in: text, "a=fingerprint:sha-1 AB:CD"),
            text.replacing("UDP/TLS/RTP/SAVPF", with: "RTP/AVP"),
            text.replacing("m=video 9", with: "m=video 0"),
            text.replacing("s=-", with: "s=-\r\na=ice-lite"),
            text.replacing("BUNDLE 0", with: "BUNDLE 0 1") + data, text + SDPSamples.audioSection,
            SDPSamples.withAudio.replacing("m=audio", with: "m=video"),
            SDPSamples.withAudio + SDPSamples.audioSection,
        ] {
            #expect {
                _ = try SDPSamples.offer(sound)
            } throws: { error in
                if case .unsupported? = error as? OfferError { true } else { false }
            }
        }
    }

    @Test("one section needs no BUNDLE group")
    func unbundled() throws {
        let offer = try SDPSamples.offer(SDPSamples.without("BUNDLE", in: SDPSamples.chromium))
        #expect(!offer.description.isBundled)
    }

    @Test("no truncation or mutation of an offer traps, nor does answering it")
    func sweep() throws {
        var random = SeededRandom(seed: 8829)
        let fingerprint = try SDPSamples.fingerprint()
        func answer(_ bytes: ByteBuffer) {
            guard let offer = try? Offer(parsing: bytes) else { return }
            for profile in [UInt32(0x64_0028), 0x42_E01E, 0] {
                guard
                    let answered = try? Answer.viewing(
                        offer, video: SDPSamples.video(profile), ice: SDPSamples.ours,
                        fingerprint: fingerprint, candidates: SDPSamples.candidates)
                else { continue }
                #expect((try? RemoteAnswer(parsing: answered.serialize())) != nil)
            }
            _ = try? Answer.publishing(
                offer, ice: SDPSamples.ours, fingerprint: fingerprint, candidates: [])
        }
        for text in [SDPSamples.chromium, SDPSamples.publisher] {
            let source = Array(text.utf8)
            for length in stride(from: 0, through: source.count, by: 17) {
                answer(ByteBuffer(bytes: source[..<length]))
            }
            for _ in 0..<200 {
                var changed = source
                for _ in 0..<Int.random(in: 1...4, using: &random) {
                    let at = Int.random(in: 0..<changed.count, using: &random)
                    changed[at] = UInt8.random(in: 0...127, using: &random)
                }
                answer(ByteBuffer(bytes: changed))
            }
        }
    }
}
