// Candidates and trickle fragments.
// SPDX-License-Identifier: Apache-2.0

import NIOCore
import Primitives
import RTP
import Testing
import WebRTC

@Suite struct TrickleTests {
    /// As RFC 9725 §4.3.1 shows one, with candidates of a browser among them.
    private static let text = """
        a=group:BUNDLE 0 1\r
        m=audio 9 UDP/TLS/RTP/SAVPF 111\r
        a=mid:0\r
        a=ice-ufrag:EsAw\r
        a=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r
        a=candidate:1387637174 1 udp 2122260223 192.0.2.1 61764 typ host generation 0 ufrag EsAw\r
        a=candidate:3471623853 1 udp 2122194687 8fd1.local 61765 typ host generation 0\r
        a=candidate:473322822 1 tcp 1518280447 192.0.2.1 9 typ host tcptype active\r
        a=candidate:2154773085 1 udp 1845501695 2001:db8::7 50003 typ srflx raddr :: rport 9\r
        a=candidate:1 2 udp 1845501695 192.0.2.4 50003 typ host\r
        a=end-of-candidates\r

        """

    private func parse(_ text: String) throws -> TrickleFragment {
        try TrickleFragment(parsing: ByteBuffer(string: text))
    }

    @Test("usable candidates are read, the others are counted")
    func reading() throws {
        let fragment = try parse(Self.text)
        #expect(fragment.ice?.ufrag == "EsAw")
        #expect(fragment.ice?.password.reveal() == "P2uYro0UCOQ4zxjKXaWCBui1")
        #expect(fragment.sections.map(\.mid) == ["0"])
        #expect(fragment.candidates.map(\.address.host) == ["192.0.2.1", "2001:db8::7"])
        #expect(fragment.candidates.map(\.kind) == [.host, .serverReflexive])
        #expect(fragment.skipped == 3)
        #expect(fragment.isComplete)
        #expect(!"\(fragment)".contains("P2uYro0U"), "the password must not print")
    }

    @Test("credentials alone are a fragment, before or inside a section")
    func restart() throws {
        let credentials = "a=ice-ufrag:abcd\na=ice-pwd:0123456789012345678901\n"
        #expect(try parse(credentials).ice?.ufrag == "abcd")
        #expect(try parse("m=video 9 UDP/TLS/RTP/SAVPF 0\n" + credentials).ice?.ufrag == "abcd")
        let early = try parse(credentials + "a=candidate:1 1 udp 1 192.0.2.1 5 typ host\n")
        #expect(early.candidates.count == 1)
        #expect(!early.isComplete)
    }

    @Test("what is no fragment is malformed")
    func malformed() {
        for text in [
            "", "\r\n", "hello", "{}", "a=ice-ufrag:abcd\r\n", "a=ice-ufrag:a\r\na=ice-pwd:b\r\n",
            "m=video 9 x 0\r\na=mid:a b\r\n", String(repeating: "m=video 9 x 0\r\n", count: 9),
            String(repeating: "a=x\r\n", count: 20_000),
        ] {
            #expect(throws: OfferError.self) { try parse(text) }
        }
    }

    @Test("candidates beyond the limit are counted, not kept")
    func flood() throws {
        let line = "a=candidate:1 1 udp 1 192.0.2.1 5 typ host\n"
        let fragment = try parse(String(repeating: line, count: 1000))
        #expect(fragment.candidates.count == 64)
        #expect(fragment.skipped == 936)
    }

    @Test("the answer to a restart reads back, with all of the server's candidates")
    func writing() throws {
        let answer = try SDPSamples.viewing(
            SDPSamples.withAudio, audio: .init(codec: .pcmu, ssrc: .init(rawValue: 1)))
        let fresh = ICECredentials(
            ufrag: "fresh", password: Redacted("freshfreshfreshfreshfresh"))
        let written = answer.restartFragment(ice: fresh)
        let read = try TrickleFragment(parsing: written.serialize())
        #expect(read.ice == fresh)
        #expect(read.isICELite && read.isComplete)
        #expect(read.sections == written.sections)
        #expect(read.candidates == SDPSamples.candidates)
    }

    @Test("candidates of our own prefer UDP over TCP, and equal addresses share a foundation")
    func candidates() {
        let priorities = SDPSamples.candidates.map(\.priority)
        #expect(priorities == [2_130_706_431, 0x5A9F_FFFF, priorities[2]])
        #expect(priorities[2] > priorities[1] && priorities[2] < priorities[0])
        #expect(Set(SDPSamples.candidates.map(\.foundation)).count == 3)
        for candidate in SDPSamples.candidates {
            #expect(Candidate(parsing: "candidate:" + candidate.text) == candidate)
        }
        for text in [
            "", "candidate:", "1 1 udp 1 192.0.2.1 0 typ host",
            "1 1 udp 1 192.0.2.1 70000 typ host",
            "1 1 sctp 1 192.0.2.1 5 typ host", "1 1 udp -1 192.0.2.1 5 typ host",
            "1 1 udp 1 192.0.2.1 5 kind host", "1 1 udp 1 192.0.2.1 5 typ moon",
            "1 1 tcp 1 192.0.2.1 5 typ host tcptype",
        ] {
            #expect(Candidate(parsing: text) == nil)
        }
    }

    @Test("no truncation or mutation of a fragment traps")
    func sweep() {
        var random = SeededRandom(seed: 8840)
        let source = Array(Self.text.utf8)
        for length in 0...source.count {
            _ = try? TrickleFragment(parsing: ByteBuffer(bytes: source[..<length]))
        }
        for _ in 0..<2000 {
            var changed = source
            for _ in 0..<Int.random(in: 1...4, using: &random) {
                let at = Int.random(in: 0..<changed.count, using: &random)
                changed[at] = UInt8.random(in: 0...255, using: &random)
            }
            let read = try? TrickleFragment(parsing: ByteBuffer(bytes: changed))
            if let read { _ = try? TrickleFragment(parsing: read.serialize()) }
        }
    }
}
