// Client against server in memory: logins, keep-alive, media, and what goes wrong.
// SPDX-License-Identifier: Apache-2.0

import H26x
import NIOCore
import Primitives
import RTP
import RTSP
import SDP
import Testing

private let sps = ByteBuffer(bytes: [
    0x67, 0x4D, 0x00, 0x29, 0x9A, 0x64, 0x03, 0xC0, 0x11, 0x3F, 0x2C, 0xD4, 0x04, 0x04, 0x05, 0x00,
    0x00, 0x03, 0x03, 0xE8, 0x00, 0x00, 0xEA, 0x60, 0x04,
])
private let pps = ByteBuffer(bytes: [0x68, 0xEE, 0x3C, 0x80])
private let start = Instant(nanoseconds: 0)

private func client(_ url: String, password: String? = nil) throws -> ClientSession {
    ClientSession(
        url: try RTSPURL(parsing: url),
        credentials: password.map { Credentials(user: "admin", password: Redacted($0)) },
        userAgent: "test", nonce: { "0a1b2c" })
}

private func server(password: String? = nil) -> ServerSession {
    ServerSession(
        credentials: password.map { Credentials(user: "admin", password: Redacted($0)) },
        realm: "marsad", nonce: "d2f1")
}

/// Carries bytes both ways until both sides rest.
private struct Wire {
    var client: ClientSession
    var server: ServerSession
    var sdp: SessionDescription? = SessionDescription(
        name: "x", media: [.h264(sps: sps, pps: pps)])
    var clientOutputs: [ClientSession.Output] = []
    var serverOutputs: [ServerSession.Output] = []
    var sent: [String] = []

    mutating func run(at now: Instant = start) {
        var isBusy = true
        while isBusy {
            isBusy = false
            while let output = client.pollOutput() {
                isBusy = true
                if case .send(let bytes) = output {
                    sent.append(String(buffer: bytes))
                    server.receive(bytes)
                } else {
                    clientOutputs.append(output)
                }
            }
            while let output = server.pollOutput() {
                isBusy = true
                switch output {
                case .send(let bytes):
                    for byte in bytes.readableBytesView {
                        client.receive(ByteBuffer(bytes: [byte]), at: now)
                    }
                case .describe(_, let token):
                    serverOutputs.append(output)
                    server.answerDescribe(token, sdp: sdp)
                case .play, .teardown, .close:
                    serverOutputs.append(output)
                }
            }
        }
    }
}

@Suite struct SessionTests {
    @Test("plays with and without a login, and media reach the client", arguments: [nil, "s3cret"])
    func plays(password: String?) throws {
        var wire = Wire(
            client: try client("rtsp://cam:8554/camera_1", password: password),
            server: server(password: password))
        wire.client.start(at: start)
        wire.run()
        let track = VideoTrack(
            codec: .h264, payloadType: 96, clockRate: 90_000,
            parameterSets: try ParameterSets(sps: sps, pps: pps))
        #expect(wire.clientOutputs == [.described(track), .playing])
        #expect(
            wire.serverOutputs.last
                == .play(path: "/camera_1", channel: 0, audioChannel: nil))
        let payload = ByteBuffer(bytes: [1, 2, 3])
        wire.client.receive(ServerSession.interleaved(channel: 0, payload), at: start)
        wire.client.receive(ServerSession.interleaved(channel: 1, payload), at: start)
        wire.client.receive(ServerSession.interleaved(channel: 7, payload), at: start)
        wire.run()
        #expect(wire.clientOutputs.suffix(2) == [.rtp(payload), .rtcp(payload)])
        #expect(!wire.sent.joined().contains("s3cret"))
        #expect(wire.sent.contains { $0.contains("SHA-256") } == (password != nil))
    }

    private static func sound(_ types: [UInt8] = [0]) -> SessionDescription.Media {
        SessionDescription.Media(
            kind: "audio", payloadTypes: types, control: "trackID=1",
            rtpmap: [97: .init(encoding: "opus", clockRate: 48_000, channels: 2)])
    }

    @Test(
        "sound that is wanted comes beside the video",
        arguments: [
            ([0], AudioTrack(codec: .pcmu, payloadType: 0)),
            ([8], AudioTrack(codec: .pcma, payloadType: 8)),
            ([96, 97], AudioTrack(codec: .opus, payloadType: 97)),
        ])
    func sound(types: [UInt8], track: AudioTrack) throws {
        var client = ClientSession(
            url: try RTSPURL(parsing: "rtsp://cam/camera_1"), credentials: nil, userAgent: "test",
            wantsAudio: true, nonce: { "0a1b2c" })
        client.start(at: start)
        var wire = Wire(client: client, server: server())
        wire.sdp?.media.append(Self.sound(types))
        wire.run()
        #expect(wire.clientOutputs.suffix(2) == [.hasAudio(track), .playing])
        #expect(
            wire.serverOutputs.last == .play(path: "/camera_1", channel: 0, audioChannel: 2))
        let payload = ByteBuffer(bytes: [1, 2, 3])
        for channel in UInt8(0)...3 {
            wire.client.receive(ServerSession.interleaved(channel: channel, payload), at: start)
        }
        wire.run()
        #expect(wire.clientOutputs.suffix(3) == [.rtp(payload), .rtcp(payload), .audio(payload)])
    }

    @Test("sound that is not wanted, unknown or refused is left out, and the video plays")
    func noSound() throws {
        var wire = Wire(client: try client("rtsp://cam/1"), server: server())
        wire.client.start(at: start)
        wire.sdp?.media.append(Self.sound())
        wire.run()
        #expect(wire.clientOutputs.last == .playing)
        #expect(wire.sent.count == 4)
        var listening = ClientSession(
            url: try RTSPURL(parsing: "rtsp://cam/1"), credentials: nil, userAgent: "test",
            wantsAudio: true, nonce: { "0a1b2c" })
        listening.start(at: start)
        wire = Wire(client: listening, server: server())
        wire.sdp?.media.append(Self.sound([99]))
        wire.run()
        #expect(wire.sent.count == 4)
        #expect(wire.clientOutputs.last == .playing)
        // The same session, whose camera refuses the second track.
        let first = SessionDescription(name: "x", media: [.h264(sps: sps, pps: pps), Self.sound()])
        var answers = [
            "RTSP/1.0 200 OK\r\nCSeq: 1\r\n\r\n",
            "RTSP/1.0 200 OK\r\nCSeq: 2\r\nContent-Length: \(first.serialize().readableBytes)"
                + "\r\n\r\n" + String(buffer: first.serialize()),
            "RTSP/1.0 200 OK\r\nCSeq: 3\r\nTransport: RTP/AVP/TCP;interleaved=0-1\r\n\r\n",
            "RTSP/1.0 461 Unsupported Transport\r\nCSeq: 4\r\n\r\n",
            "RTSP/1.0 200 OK\r\nCSeq: 5\r\n\r\n",
        ]
        var outputs: [ClientSession.Output] = []
        while !answers.isEmpty {
            listening.receive(ByteBuffer(string: answers.removeFirst()), at: start)
            while let output = listening.pollOutput() { outputs.append(output) }
        }
        #expect(outputs.last == .playing)
    }

    @Test("keeps the session alive at half its timeout with the method the server offers")
    func keepAlive() throws {
        var wire = Wire(client: try client("rtsp://cam/1"), server: server())
        wire.client.start(at: start)
        #expect(wire.client.deadline == start + .seconds(10))
        wire.run()
        #expect(wire.client.deadline == start + .seconds(30))
        wire.client.advance(to: start + .seconds(29))
        wire.run()
        #expect(wire.sent.count == 4)
        wire.client.advance(to: start + .seconds(30))
        wire.run(at: start + .seconds(30))
        #expect(wire.sent.last?.hasPrefix("GET_PARAMETER rtsp://cam/1") == true)
        #expect(wire.client.deadline == start + .seconds(60))
    }

    @Test("says goodbye once and then nothing more")
    func teardown() throws {
        var wire = Wire(client: try client("rtsp://cam/1"), server: server())
        wire.client.start(at: start)
        wire.run()
        wire.client.teardown(at: start)
        wire.client.disconnected(at: start)
        wire.run()
        #expect(wire.serverOutputs.suffix(2) == [.teardown, .close])
        #expect(wire.clientOutputs.last == .playing)
        #expect(wire.client.deadline == nil)
    }

    @Test("a wrong, missing or unneeded login ends as it should")
    func logins() throws {
        for given in ["wrong", nil] {
            var wire = Wire(
                client: try client("rtsp://cam/1", password: given),
                server: server(password: "right"))
            wire.client.start(at: start)
            wire.run()
            #expect(failure(wire)?.kind == .authentication)
            // One unsigned OPTIONS and DESCRIBE and at most one signed try: cameras lock accounts.
            #expect(wire.sent.filter { $0.contains("Authorization") }.count <= 1)
        }
        var open = Wire(client: try client("rtsp://u:p@cam/1"), server: server())
        open.client.start(at: start)
        open.run()
        #expect(open.clientOutputs.last == .playing)
    }

    @Test("an unknown path, no video and silence each have their failure")
    func failures() throws {
        var wire = Wire(client: try client("rtsp://cam/1"), server: server(), sdp: nil)
        wire.client.start(at: start)
        wire.run()
        #expect(failure(wire)?.kind == .notFound)

        let audio = SessionDescription(name: "a", media: [.init(kind: "audio", payloadTypes: [0])])
        wire = Wire(client: try client("rtsp://cam/1"), server: server(), sdp: audio)
        wire.client.start(at: start)
        wire.run()
        #expect(failure(wire)?.kind == .noVideo)

        var silent = try client("rtsp://cam/1")
        silent.start(at: start)
        silent.advance(to: start + .seconds(10))
        _ = silent.pollOutput()
        guard case .failed(let reason) = silent.pollOutput() else {
            Issue.record("no failure")
            return
        }
        #expect(reason.kind == .closed)
    }

    @Test("answers Basic when nothing better is offered")
    func basic() throws {
        var session = try client("rtsp://cam/1", password: "pw")
        session.start(at: start)
        _ = request(&session)
        refuse(&session, 1, "Basic realm=\"x\"")
        #expect(request(&session).contains("Authorization: Basic YWRtaW46cHc="))
        refuse(&session, 2, "Basic realm=\"x\"")
        #expect(kind(&session) == .authentication)
    }

    @Test("answers MD5 Digest without qop as old cameras ask for it, and a stale nonce once")
    func staleNonce() throws {
        var session = try client("rtsp://cam/1", password: "pw")
        session.start(at: start)
        _ = request(&session)
        refuse(&session, 1, "Digest realm=\"r\", nonce=\"n1\"")
        let signed = request(&session)
        #expect(signed.contains("uri=\"rtsp://cam/1\""))
        #expect(signed.contains("response=\"d2fdd62768c279b49816ececd879cc72\""))
        #expect(!signed.contains("qop"))
        refuse(&session, 2, "Digest realm=\"r\", nonce=\"n2\", stale=true")
        #expect(request(&session).contains("nonce=\"n2\""))
        refuse(&session, 3, "Digest realm=\"r\", nonce=\"n3\", stale=true")
        #expect(kind(&session) == .authentication)
    }

    @Test("prefers the stronger of several challenges")
    func strongest() throws {
        var session = try client("rtsp://cam/1", password: "pw")
        session.start(at: start)
        _ = request(&session)
        let digest = "Digest realm=\"r\", qop=\"auth\", nonce=\"n\""
        refuse(
            &session, 1,
            "Basic realm=\"r\"\r\nWWW-Authenticate: \(digest)\r\n"
                + "WWW-Authenticate: \(digest), algorithm=SHA-256")
        let signed = request(&session)
        #expect(signed.contains("algorithm=SHA-256"))
        #expect(signed.contains("nc=00000001, cnonce=\"0a1b2c\""))
    }

    private func request(_ session: inout ClientSession) -> String {
        if case .send(let bytes) = session.pollOutput() { return String(buffer: bytes) }
        return ""
    }

    private func refuse(_ session: inout ClientSession, _ cseq: Int, _ challenge: String) {
        let text = "RTSP/1.0 401 No\r\nCSeq: \(cseq)\r\nWWW-Authenticate: \(challenge)\r\n\r\n"
        session.receive(ByteBuffer(string: text), at: start)
    }

    private func kind(_ session: inout ClientSession) -> SessionFailure.Kind? {
        if case .failed(let failure) = session.pollOutput() { return failure.kind }
        return nil
    }

    @Test("a re-publisher path that only begins alike is not the described one")
    func otherPath() {
        var session = server()
        func ask(_ text: String) -> String {
            session.receive(ByteBuffer(string: text + "\r\n\r\n"))
            var answer = ""
            while let output = session.pollOutput() {
                switch output {
                case .describe(_, let token):
                    session.answerDescribe(token, sdp: SessionDescription(name: "", media: []))
                case .send(let bytes): answer = String(buffer: bytes)
                case .play, .teardown, .close: answer = "\(output)"
                }
            }
            return answer
        }
        let transport = "Transport: RTP/AVP/TCP;unicast;interleaved=4-5"
        #expect(ask("SETUP rtsp://h/a/t RTSP/1.0\r\n\(transport)").contains("455"))
        #expect(ask("DESCRIBE rtsp://h/a RTSP/1.0\r\nCSeq: 1").contains("200 OK"))
        #expect(ask("SETUP rtsp://h/ab/t RTSP/1.0\r\n\(transport)").contains("404"))
        #expect(ask("SETUP rtsp://h/a/t RTSP/1.0\r\nTransport: RTP/AVP;unicast").contains("461"))
        #expect(ask("SETUP rtsp://h/a/t RTSP/1.0\r\n\(transport)").contains("interleaved=4-5"))
        #expect(ask("PLAY rtsp://h/a RTSP/1.0\r\nSession: no").contains("454"))
    }

    @Test("no mutation of either side's bytes traps", arguments: UInt64(1)...20)
    func sweep(seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        var client = try client("rtsp://cam/1", password: "pw")
        var server = server(password: "pw")
        client.start(at: start)
        for _ in 0..<40 {
            while let output = client.pollOutput() {
                if case .send(let bytes) = output {
                    server.receive(mutated(bytes, &random))
                }
            }
            while let output = server.pollOutput() {
                if case .send(let bytes) = output {
                    client.receive(mutated(bytes, &random), at: start)
                }
                if case .describe(_, let token) = output {
                    let media = SessionDescription.Media.h264(sps: sps, pps: pps)
                    server.answerDescribe(token, sdp: .init(name: "", media: [media]))
                }
            }
            client.advance(to: start)
        }
    }

    private func failure(_ wire: Wire) -> SessionFailure? {
        if case .failed(let failure) = wire.clientOutputs.last { return failure }
        return nil
    }

    private func mutated(_ bytes: ByteBuffer, _ random: inout SeededRandom) -> ByteBuffer {
        guard Int.random(in: 0..<3, using: &random) == 0 else { return bytes }
        var changed = bytes
        let at = Int.random(in: 0..<changed.readableBytes, using: &random)
        changed.setInteger(UInt8.random(in: 0...255, using: &random), at: at)
        return changed
    }
}
