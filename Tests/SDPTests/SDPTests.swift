// Session descriptions: what cameras write, and what this server writes.
// SPDX-License-Identifier: Apache-2.0

import NIOCore
import Primitives
import SDP
import Testing

@Suite struct SDPTests {
    private let text = """
        v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=Cam\r\nt=0 0\r\na=control:*\r
        m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r
        a=fmtp:96 Packetization-Mode=1; sprop-parameter-sets=Z00AKpWoHgCJ+WbgICAgQAAAAAE=,aO48gAAAAAE=\r
        a=control:trackID=1\r\nm=application/TP-LINK 0 RTP/AVP smart/1/90000\r\na=control:track3\r\n
        """

    @Test("reads tracks, formats and control URLs, and cuts start codes off parameter sets")
    func reading() throws {
        let description = try SessionDescription(parsing: text)
        #expect(description.name == "Cam")
        #expect(description.control == "*")
        #expect(description.media.map(\.kind) == ["video", "application/tp-link"])
        let video = try #require(description.media.first)
        #expect(video.control == "trackID=1")
        #expect(video.payloadType(encoding: "h264") == 96)
        #expect(video.rtpmap[96]?.clockRate == 90_000)
        #expect(video.fmtp[96]?["packetization-mode"] == "1")
        let sets = video.spropParameterSets(payloadType: 96)
        #expect(sets.count == 2)
        #expect(sets.last == ByteBuffer(bytes: [0x68, 0xEE, 0x3C, 0x80]))
    }

    @Test("what is written reads back, and no value starts a line of its own")
    func writing() throws {
        let sps = ByteBuffer(bytes: [0x67, 0x4D, 0, 0x1F, 9])
        let pps = ByteBuffer(bytes: [0x68, 1])
        let written = SessionDescription(
            name: "Door\r\na=evil:1", media: [.h264(sps: sps, pps: pps)])
        let read = try SessionDescription(parsing: written.serialize())
        #expect(read.name == "Doora=evil:1")
        #expect(read.media == written.media)
        #expect(read.media.first?.spropParameterSets(payloadType: 96) == [sps, pps])
        #expect(read.media.first?.fmtp[96]?["profile-level-id"] == "4D001F")
    }

    @Test("a section without a kind is left out with its attributes")
    func kindless() throws {
        let read = try SessionDescription(
            parsing: "v=0\nm=video 0 RTP/AVP 96\na=mid:0\nm=\na=mid:1\nm=\u{7F} 1\na=mid:2\n")
        #expect(read.media.map(\.kind) == ["video"])
        #expect(read.media.first?.attributes == [.init("mid", "0")])
        let unwritable = SessionDescription(name: "x", media: [.init(kind: "", payloadTypes: [])])
        #expect(try SessionDescription(parsing: unwritable.serialize()).media.isEmpty)
    }

    @Test("general attributes, transport and channels are kept, before and in sections")
    func attributes() throws {
        let written = SessionDescription(
            name: "x", attributes: [.init("group", "BUNDLE 0"), .init("ice-lite")],
            media: [
                .init(
                    kind: "audio", port: 9, transport: "UDP/TLS/RTP/SAVPF", payloadTypes: [111],
                    rtpmap: [111: .init(encoding: "opus", clockRate: 48_000, channels: 2)],
                    attributes: [.init("sendonly"), .init("rtcp-fb", "111 transport-cc")])
            ])
        let read = try SessionDescription(parsing: written.serialize())
        #expect(read == written)
        let evil = SessionDescription(
            name: "x", attributes: [.init("a\r\nm", "v\nm=video 9 x 1")], media: [])
        #expect(try SessionDescription(parsing: evil.serialize()).media.isEmpty)
    }

    @Test("base64 survives the way there and back, and refuses other characters")
    func base64() {
        for count in 0..<70 {
            let bytes = (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 37) }
            #expect(Base64.decode(Base64.encode(bytes)) == bytes)
        }
        #expect(Base64.decode("aO48gA") == [0x68, 0xEE, 0x3C, 0x80])
        #expect(Base64.decode("a*48") == nil)
        #expect(Base64.decode("a") == nil)
    }

    @Test("text that is no description is refused")
    func refusal() {
        #expect(throws: SDPError(.notASessionDescription, line: 1)) {
            try SessionDescription(parsing: "<html>")
        }
        #expect(throws: SDPError.self) {
            try SessionDescription(parsing: ByteBuffer(repeating: 0x61, count: 300_000))
        }
        #expect(throws: SDPError(.tooManyMedia, line: 65)) {
            try SessionDescription(parsing: String(repeating: "m=video 0 x 1\n", count: 70))
        }
    }

    @Test("no truncation or mutation of a description traps")
    func sweep() {
        var random = SeededRandom(seed: 3)
        let source = Array(text.utf8)
        for length in 0...source.count {
            _ = try? SessionDescription(parsing: ByteBuffer(bytes: source[..<length]))
        }
        for _ in 0..<1500 {
            var changed = source
            for _ in 0..<3 {
                let at = Int.random(in: 0..<changed.count, using: &random)
                changed[at] = UInt8.random(in: 0...255, using: &random)
            }
            guard let read = try? SessionDescription(parsing: ByteBuffer(bytes: changed)) else {
                continue
            }
            for media in read.media { _ = media.spropParameterSets(payloadType: 96) }
            _ = read.serialize()
        }
    }
}
