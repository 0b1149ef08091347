// RTSP URLs and messages: real answers, drip-feeding, malformed bytes.
// SPDX-License-Identifier: Apache-2.0

import NIOCore
import Primitives
import RTSP
import Testing

@Suite struct RTSPURLTests {
    @Test("credentials are split off, decoded and never printed")
    func credentials() throws {
        let url = try RTSPURL(parsing: "RTSP://ad%6Din:p@ss:w0rd@Cam.Local:8554/live?ch=1")
        #expect(url.scheme == "rtsp")
        #expect(url.host == "cam.local")
        #expect(url.port == 8554)
        #expect(url.path == "/live?ch=1")
        #expect(url.credentials?.user == "admin")
        #expect(url.credentials?.password.reveal() == "p@ss:w0rd")
        #expect(url.description == "rtsp://cam.local:8554/live?ch=1")
        var dumped = ""
        dump(url, to: &dumped)
        #expect(!dumped.contains("w0rd"))
        #expect(!"\(url) \(String(reflecting: url))".contains("w0rd"))
    }

    @Test("ports and IPv6 hosts are read, nonsense is refused")
    func hosts() throws {
        #expect(try RTSPURL(parsing: "rtsp://[FE80::1]/x").port == 554)
        #expect(try RTSPURL(parsing: "rtsp://[FE80::1]/x").description == "rtsp://[fe80::1]/x")
        #expect(try RTSPURL(parsing: "rtsp://h").path == "")
        for text in [
            "", "http://h/", "rtsp://", "rtsp:///x", "rtsp://h:0/", "rtsp://h:99999/",
            "rtsp://h:1x/", "rtsp://[::1/", "rtsp://h h/", "rtsp://h/\r\nX: y", "rtsp://%zz@h/",
            "rtsp://a%2@h/", "rtsp://[::1]x/", "rtsp://hé/",
        ] {
            #expect(throws: RTSPError.self) { try RTSPURL(parsing: text) }
        }
    }

    @Test("an address that asks for TLS is refused instead of spoken to in the clear")
    func secureScheme() throws {
        for text in ["rtsps://user:word@h/x", "RTSPS://h"] {
            #expect(throws: RTSPError(.unsupportedScheme, at: 0)) { try RTSPURL(parsing: text) }
        }
        // Behind a proxy that ends TLS, a camera's tracks keep the names they had before it.
        let base = try RTSPURL(parsing: "rtsp://h/cam")
        let track = base.resolving(control: "rtsps://h/cam/video")
        #expect(track?.description == "rtsps://h/cam/video")
        #expect(track?.resolving(control: "x")?.description == "rtsps://h/cam/video/x")
    }

    @Test("control URLs resolve the way cameras mean them")
    func control() throws {
        let base = try RTSPURL(parsing: "rtsp://h/cam?channel=1")
        #expect(base.resolving(control: "*") == base)
        #expect(base.resolving(control: "video")?.description == "rtsp://h/cam?channel=1/video")
        #expect(base.resolving(control: "rtsp://x/y")?.description == "rtsp://x/y")
        let slash = try RTSPURL(parsing: "rtsp://h/cam/")
        #expect(slash.resolving(control: "/trackID=1")?.description == "rtsp://h/cam/trackID=1")
    }
}

@Suite struct MessageDecoderTests {
    private static func stream() -> ByteBuffer {
        var bytes = ByteBuffer()
        bytes.writeString("RTSP/1.0 200 OK\r\nCSeq: 1\r\nContent-Length: 4\r\n\r\nbody\r\n")
        bytes.writeImmutableBuffer(
            ServerSession.interleaved(channel: 0, ByteBuffer(repeating: 0x41, count: 300)))
        bytes.writeImmutableBuffer(ServerSession.interleaved(channel: 1, ByteBuffer()))
        bytes.writeString("OPTIONS * RTSP/1.0\nCSeq: 9\nX-Folded: a\n b\n\n")
        bytes.writeImmutableBuffer(
            ServerSession.interleaved(channel: 2, ByteBuffer(bytes: [0x24, 0, 0, 9])))
        return bytes
    }

    private static func messages(of chunks: [ByteBuffer]) throws -> [Message] {
        var decoder = MessageDecoder()
        var messages: [Message] = []
        for chunk in chunks {
            decoder.receive(chunk)
            while let message = try decoder.next() { messages.append(message) }
        }
        return messages
    }

    @Test("any cutting of the stream gives the same messages")
    func drip() throws {
        let stream = Self.stream()
        let whole = try Self.messages(of: [stream])
        #expect(whole.count == 5)
        guard case .request(let request) = whole[3] else {
            Issue.record("the fourth message is no request")
            return
        }
        #expect(request.headers["x-folded"] == "a b")
        let bytes = stream.readableBytesView.map { ByteBuffer(bytes: [$0]) }
        #expect(try Self.messages(of: bytes) == whole)
        var random = SeededRandom(seed: 5)
        for _ in 0..<60 {
            var rest = stream
            var chunks: [ByteBuffer] = []
            while rest.readableBytes > 0 {
                let size = Int.random(in: 1...min(120, rest.readableBytes), using: &random)
                if let chunk = rest.readSlice(length: size) { chunks.append(chunk) }
            }
            #expect(try Self.messages(of: chunks) == whole)
        }
    }

    @Test("undrained chunks are not lost")
    func undrained() throws {
        var decoder = MessageDecoder()
        decoder.receive(Self.stream())
        decoder.receive(Self.stream())
        var count = 0
        while try decoder.next() != nil { count += 1 }
        #expect(count == 10)
    }

    @Test("limits are enforced, and the error stays")
    func limits() {
        func failure(_ bytes: ByteBuffer) -> RTSPError.Reason? {
            var decoder = MessageDecoder()
            decoder.receive(bytes)
            do {
                while try decoder.next() != nil {}
                return nil
            } catch {
                #expect(throws: RTSPError.self) { try decoder.next() }
                return error.reason
            }
        }
        let head = "RTSP/1.0 200 OK\r\nContent-Length: "
        #expect(failure(ByteBuffer(string: head + "262145\r\n\r\n")) == .bodyTooLarge)
        #expect(failure(ByteBuffer(string: head + "-1\r\n\r\n")) == .invalidContentLength)
        #expect(failure(ByteBuffer(repeating: 0x41, count: 65_537)) == .headerTooLarge)
        #expect(failure(ByteBuffer(repeating: 0x00, count: 65_537)) == .notRTSP)
        #expect(failure(ByteBuffer(string: "GET / HTTP/1.1\r\n\r\n")) == .invalidStartLine)
    }

    @Test("noise before a frame is passed over and counted")
    func resynchronisation() throws {
        var decoder = MessageDecoder()
        decoder.receive(ByteBuffer(bytes: [0, 1, 2, 0x0D, 0x0A, 0x24, 0, 0, 1, 7]))
        #expect(try decoder.next() == .interleaved(channel: 0, ByteBuffer(bytes: [7])))
        #expect(decoder.skippedBytes == 5)
    }

    @Test("a camera that pads each of its frames is not cut off for the sum of it")
    func padding() throws {
        var decoder = MessageDecoder()
        var padded = ByteBuffer(repeating: 0, count: 40_000)
        padded.writeBytes([0x24, 0, 0, 1, 7])
        for _ in 0..<5 {
            decoder.receive(padded)
            #expect(try decoder.next() == .interleaved(channel: 0, ByteBuffer(bytes: [7])))
        }
        #expect(decoder.skippedBytes == 200_000)
        decoder.receive(ByteBuffer(repeating: 0, count: 40_000))
        #expect(try decoder.next() == nil)
        decoder.receive(ByteBuffer(repeating: 0, count: 40_000))
        #expect(throws: RTSPError.self) { try decoder.next() }
    }

    @Test("no truncation or mutation of a stream traps or hangs")
    func sweep() {
        var random = SeededRandom(seed: 8)
        let source = Array(Self.stream().readableBytesView)
        for _ in 0..<500 {
            var changed = source
            for _ in 0..<Int.random(in: 1...6, using: &random) {
                let at = Int.random(in: 0..<changed.count, using: &random)
                changed[at] = UInt8.random(in: 0...255, using: &random)
            }
            let cut = changed.prefix(Int.random(in: 0...changed.count, using: &random))
            _ = try? Self.messages(of: [ByteBuffer(bytes: cut)])
        }
    }
}
