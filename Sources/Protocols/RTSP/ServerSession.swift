// The server's half of an RTSP session: what a viewer of the re-publisher talks to.
// SPDX-License-Identifier: Apache-2.0

package import NIOCore
package import SDP

/// One viewer's connection (RFC 2326 §A.2), interleaved TCP, without sockets. The first section of a
/// description is its video, a second one its audio, which a viewer may leave out.
///
/// Digest is asked for with SHA-256 and MD5 when credentials are set; Basic is never offered.
package struct ServerSession: Sendable {
    /// What the caller does next, in order.
    package enum Output: Equatable, Sendable {
        case send(ByteBuffer)
        /// Call `answerDescribe` with this token; later requests wait for it.
        case describe(path: String, token: UInt64)
        /// Send RTP on `channel` and RTCP on the next one; likewise audio where it was set up.
        case play(path: String, channel: UInt8, audioChannel: UInt8?)
        case teardown
        case close
    }

    private struct Playback {
        /// The described path; it alone was authorized.
        var path: String
        /// The path of the audio track.
        var audioPath: String?
        var channel: UInt8?
        var audioChannel: UInt8?
        var isPlaying = false
    }

    private let credentials: Credentials?
    private let realm: String
    private let nonce: String
    private let sessionID: String

    private var decoder = MessageDecoder()
    private var outputs = CircularBuffer<Output>()
    private var waiting: (token: UInt64, request: Request)?
    private var lastToken: UInt64 = 0
    private var playback: Playback?
    private var refusals = 0
    private var isClosed = false

    private static let methods =
        "OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN, GET_PARAMETER, SET_PARAMETER"
    private static let maxRefusals = 5

    /// - Parameter nonce: unguessable and new for every connection.
    package init(credentials: Credentials?, realm: String, nonce: String) {
        self.credentials = credentials
        self.realm = realm
        self.nonce = nonce
        sessionID = String(
            decoding: DigestAlgorithm.sha256.hex("session:\(nonce)").utf8.prefix(16), as: UTF8.self)
    }

    /// Takes received bytes.
    package mutating func receive(_ bytes: ByteBuffer) {
        guard !isClosed else { return }
        decoder.receive(bytes)
        process()
    }

    /// Answers a `.describe` output; `nil` means there is nothing at that path.
    package mutating func answerDescribe(_ token: UInt64, sdp: SessionDescription?) {
        guard let (expected, request) = waiting, expected == token else { return }
        waiting = nil
        if let sdp {
            let path = Self.path(of: request)
            let audio = sdp.media.dropFirst().first?.control
            playback = Playback(path: path, audioPath: audio.map { path + "/" + $0 })
            var headers = Headers()
            headers.add(
                "Content-Base", request.uri.hasSuffix("/") ? request.uri : request.uri + "/")
            headers.add("Content-Type", "application/sdp")
            respond(request, 200, "OK", headers, sdp.serialize())
        } else {
            respond(request, 404, "Not Found")
        }
        process()
    }

    /// The next thing to do, or `nil`.
    package mutating func pollOutput() -> Output? { outputs.popFirst() }

    /// RTP or RTCP as it goes over the connection (RFC 2326 §10.12).
    package static func interleaved(channel: UInt8, _ bytes: ByteBuffer) -> ByteBuffer {
        let payload = bytes.getSlice(
            at: bytes.readerIndex, length: min(bytes.readableBytes, Int(UInt16.max)))
        var frame = ByteBufferAllocator().buffer(capacity: 4 + bytes.readableBytes)
        frame.writeMultipleIntegers(
            UInt8(ascii: "$"), channel, UInt16(truncatingIfNeeded: payload?.readableBytes ?? 0))
        if let payload { frame.writeImmutableBuffer(payload) }
        return frame
    }
}

// MARK: - Requests

extension ServerSession {
    private mutating func process() {
        do throws(RTSPError) {
            while !isClosed, waiting == nil, let message = try decoder.next() {
                // Receiver reports and answers need no reaction.
                if case .request(let request) = message { handle(request) }
            }
        } catch {
            close()
        }
    }

    private mutating func handle(_ request: Request) {
        if request.method == "OPTIONS" {
            var headers = Headers()
            headers.add("Public", Self.methods)
            return respond(request, 200, "OK", headers)
        }
        guard isAuthorized(request) else { return refuse(request) }
        switch request.method {
        case "DESCRIBE":
            guard playback?.isPlaying != true else {
                return respond(request, 455, "Method Not Valid in This State")
            }
            lastToken &+= 1
            waiting = (lastToken, request)
            outputs.append(.describe(path: Self.path(of: request), token: lastToken))
        case "SETUP":
            setup(request)
        case "PLAY":
            play(request)
        case "GET_PARAMETER", "SET_PARAMETER":
            respond(request, 200, "OK")
        case "TEARDOWN":
            respond(request, 200, "OK")
            outputs.append(.teardown)
            close()
        default:
            respond(request, 501, "Not Implemented")
        }
    }

    private mutating func setup(_ request: Request) {
        let path = Self.path(of: request)
        let isAudio = playback?.audioPath == path
        guard var playback, !playback.isPlaying,
            (isAudio ? playback.audioChannel : playback.channel) == nil
        else { return respond(request, 455, "Method Not Valid in This State") }
        guard path == playback.path || path.hasPrefix(playback.path + "/") else {
            return respond(request, 404, "Not Found")
        }
        let offered = request.headers["Transport"].flatMap(TransportHeader.interleaved(in:))
        guard let offered else { return respond(request, 461, "Unsupported Transport") }
        // RTCP takes the next channel, so the last one cannot carry RTP.
        let channel = min(offered.channel ?? (isAudio ? 2 : 0), 254)
        if isAudio { playback.audioChannel = channel } else { playback.channel = channel }
        self.playback = playback
        var headers = Headers()
        headers.add("Transport", "RTP/AVP/TCP;unicast;interleaved=\(channel)-\(channel + 1)")
        headers.add("Session", "\(sessionID);timeout=60")
        respond(request, 200, "OK", headers)
    }

    private mutating func play(_ request: Request) {
        guard let playback, let channel = playback.channel else {
            return respond(request, 455, "Method Not Valid in This State")
        }
        let named = request.headers["Session"].map { $0.utf8.prefix { $0 != UInt8(ascii: ";") } }
        guard let named, trimmed(String(decoding: Array(named), as: UTF8.self)) == sessionID else {
            return respond(request, 454, "Session Not Found")
        }
        var headers = Headers()
        headers.add("Session", sessionID)
        headers.add("Range", "npt=0.000-")
        respond(request, 200, "OK", headers)
        // Players repeat PLAY to resume; live media just go on.
        guard !playback.isPlaying else { return }
        self.playback?.isPlaying = true
        outputs.append(
            .play(
                path: playback.path, channel: channel, audioChannel: playback.audioChannel))
    }

    private func isAuthorized(_ request: Request) -> Bool {
        guard let credentials else { return true }
        guard let authorization = request.headers["Authorization"] else { return false }
        return DigestExchange.verify(
            authorization, credentials, realm: realm, nonce: nonce, method: request.method,
            uri: request.uri)
    }

    private mutating func refuse(_ request: Request) {
        refusals += 1
        var headers = Headers()
        for algorithm in [DigestAlgorithm.sha256, .md5] {
            headers.add(
                "WWW-Authenticate",
                "Digest realm=\"\(realm)\", nonce=\"\(nonce)\", algorithm=\(algorithm.name), "
                    + "qop=\"auth\"")
        }
        respond(request, 401, "Unauthorized", headers)
        // Guessing costs a new connection, where the caller's limits apply.
        if refusals >= Self.maxRefusals { close() }
    }

    private mutating func respond(
        _ request: Request, _ status: Int, _ reason: String, _ extra: Headers = Headers(),
        _ body: ByteBuffer = ByteBuffer()
    ) {
        var headers = extra
        if let cseq = request.headers["CSeq"] { headers.add("CSeq", cseq) }
        let response = Response(status: status, reason: reason, headers: headers, body: body)
        outputs.append(.send(response.serialize()))
    }

    private mutating func close() {
        guard !isClosed else { return }
        isClosed = true
        outputs.append(.close)
    }

    /// The path of a request without trailing slashes; empty for `*` and unreadable URLs.
    private static func path(of request: Request) -> String {
        guard let url = try? RTSPURL(inMessage: request.uri) else { return "" }
        let kept = url.path.utf8.reversed().drop { $0 == UInt8(ascii: "/") }
        return String(decoding: Array(kept.reversed()), as: UTF8.self)
    }
}
