// The client's half of an RTSP session: bytes and time in, bytes and media out.
// SPDX-License-Identifier: Apache-2.0

package import H26x
package import NIOCore
package import Primitives
import SDP

/// The video track a camera offers.
package struct VideoTrack: Equatable, Sendable {
    package var codec: Codec
    package var payloadType: UInt8
    package var clockRate: Int
    /// From SDP; many cameras send them in band only.
    package var parameterSets: ParameterSets?

    package init(
        codec: Codec, payloadType: UInt8, clockRate: Int, parameterSets: ParameterSets?
    ) {
        self.codec = codec
        self.payloadType = payloadType
        self.clockRate = clockRate
        self.parameterSets = parameterSets
    }
}

/// Why a session ended.
package struct SessionFailure: Error, Equatable, Sendable, CustomStringConvertible {
    package var kind: Kind
    /// For people; never holds credentials.
    package var reason: String

    /// What the supervisor decides by.
    package enum Kind: Equatable, Sendable {
        case authentication
        case `protocol`
        case noVideo
        case notFound
        case closed
    }

    package init(kind: Kind, reason: String) {
        self.kind = kind
        self.reason = reason
    }

    package var description: String { "\(kind): \(reason)" }
}

/// A playing session of one video track over interleaved TCP (RFC 2326 §10, §A.1), without sockets.
///
/// Call `start(at:)`, send what `pollOutput()` says, feed what arrives to `receive(_:at:)`, and call
/// `advance(to:)` at `deadline`. After `.failed` the session is over.
package struct ClientSession: Sendable {
    /// What the caller does next, in order.
    package enum Output: Equatable, Sendable {
        case send(ByteBuffer)
        case described(VideoTrack)
        /// The camera's sound comes too.
        case hasAudio(AudioTrack)
        case playing
        case rtp(ByteBuffer)
        case rtcp(ByteBuffer)
        /// An RTP packet of the audio track.
        case audio(ByteBuffer)
        case failed(SessionFailure)
    }

    private enum Step: Equatable {
        case options
        case describe
        case setup
        case setupAudio
        case play
        case keepAlive
        case teardown
    }

    private struct Exchange {
        var step: Step
        var cseq: UInt32
        /// The nonce the request was signed with; `""` for Basic, `nil` for an unsigned request.
        var nonce: String?
        var retriesOfNonce = 0
        var sentAt: Instant
    }

    /// When `advance(to:)` is due: an answer that is late, or the next keep-alive.
    package var deadline: Instant? {
        guard !isOver else { return nil }
        if let exchange, exchange.step != .keepAlive {
            return exchange.sentAt + Self.answerTimeout
        }
        return nextKeepAlive
    }

    /// The sound that the camera offers, taken or not.
    package private(set) var offeredAudio: AudioTrack?

    /// How it wanted to know who asks: `none`, `basic` or `digest`.
    package var authentication: String {
        switch challenge?.scheme {
        case nil: "none"
        case .basic: "basic"
        case .digest: "digest"
        }
    }

    private let url: RTSPURL
    private let credentials: Credentials?
    private let userAgent: String
    private let nonce: @Sendable () -> String
    private let wantsAudio: Bool

    private var decoder = MessageDecoder()
    private var outputs = CircularBuffer<Output>()
    private var exchange: Exchange?
    private var cseq: UInt32 = 0
    private var challenge: Challenge?
    private var nonceCount: UInt32 = 0
    private var hasAuthenticated = false
    private var baseURL: RTSPURL
    private var aggregateURL: RTSPURL
    private var trackURL: RTSPURL
    private var sessionID: String?
    private var keepAliveInterval = Duration.seconds(30)
    private var nextKeepAlive: Instant?
    private var canGetParameter = false
    private var channel: UInt8?
    private var audio: AudioOffer?
    private var audioChannel: UInt8?
    private var isOver = false

    private static let answerTimeout = Duration.seconds(10)

    /// - Parameters:
    ///   - wantsAudio: sets the camera's sound up too, where it has some that viewers can play.
    ///   - nonce: gives a new unguessable text for each signed request (cnonce, RFC 7616 §3.4).
    package init(
        url: RTSPURL, credentials: Credentials?, userAgent: String, wantsAudio: Bool = false,
        nonce: @escaping @Sendable () -> String
    ) {
        self.url = url.with(credentials: nil)
        self.credentials = credentials ?? url.credentials
        self.userAgent = userAgent
        self.nonce = nonce
        self.wantsAudio = wantsAudio
        baseURL = self.url
        aggregateURL = self.url
        trackURL = self.url
    }

    /// Sends the first request; the connection is open.
    package mutating func start(at now: Instant) {
        guard cseq == 0, !isOver else { return }
        send(.options, at: now)
    }

    /// Takes received bytes.
    package mutating func receive(_ bytes: ByteBuffer, at now: Instant) {
        guard !isOver else { return }
        decoder.receive(bytes)
        do throws(RTSPError) {
            while !isOver, let message = try decoder.next() {
                switch message {
                case .interleaved(let source, let payload):
                    if source == channel {
                        outputs.append(.rtp(payload))
                    } else if let channel, source == channel &+ 1 {
                        outputs.append(.rtcp(payload))
                    } else if source == audioChannel {
                        outputs.append(.audio(payload))
                    }
                case .response(let response):
                    receive(response, at: now)
                case .request(let request):
                    answer(request)
                }
            }
        } catch {
            fail(.protocol, "the camera sent what is not RTSP (\(error))")
        }
    }

    /// Says what time it is: fails a session whose camera is silent, keeps a playing one alive.
    package mutating func advance(to now: Instant) {
        guard !isOver, let deadline, deadline <= now else { return }
        if let exchange, exchange.step != .keepAlive {
            fail(.closed, "no answer to \(Self.method(exchange.step)) in 10 s")
        } else {
            // A camera that never answers keep-alives may still send video; the read timeout decides.
            send(.keepAlive, at: now)
        }
    }

    /// The connection is gone.
    package mutating func disconnected(at now: Instant) {
        fail(.closed, "the camera closed the connection")
    }

    /// Sends a compound of ours to the camera, on the channel beside its media (RFC 2326 §10.12).
    package mutating func send(rtcp compound: ByteBuffer) {
        guard !isOver, let channel else { return }
        outputs.append(.send(ServerSession.interleaved(channel: channel &+ 1, compound)))
    }

    /// Says goodbye; send what is polled afterwards, then close the connection.
    package mutating func teardown(at now: Instant) {
        guard !isOver else { return }
        if sessionID != nil { send(.teardown, at: now) }
        isOver = true
    }

    /// The next thing to do, or `nil`.
    package mutating func pollOutput() -> Output? { outputs.popFirst() }
}

// MARK: - Requests

extension ClientSession {
    private static func method(_ step: Step) -> String {
        switch step {
        case .options: "OPTIONS"
        case .describe: "DESCRIBE"
        case .setup, .setupAudio: "SETUP"
        case .play: "PLAY"
        case .keepAlive: "keep-alive"
        case .teardown: "TEARDOWN"
        }
    }

    private mutating func send(_ step: Step, at now: Instant, retriesOfNonce: Int = 0) {
        cseq &+= 1
        var method = Self.method(step)
        var target = aggregateURL
        var headers = Headers()
        headers.add("CSeq", String(cseq))
        headers.add("User-Agent", userAgent)
        switch step {
        case .options:
            target = url
        case .describe:
            target = url
            headers.add("Accept", "application/sdp")
        case .setup:
            target = trackURL
            headers.add("Transport", "RTP/AVP/TCP;unicast;interleaved=0-1")
        case .setupAudio:
            target = audio?.url ?? trackURL
            headers.add("Transport", "RTP/AVP/TCP;unicast;interleaved=2-3")
        case .play:
            headers.add("Range", "npt=0.000-")
        case .keepAlive:
            method = canGetParameter ? "GET_PARAMETER" : "OPTIONS"
            nextKeepAlive = now + keepAliveInterval
        case .teardown:
            break
        }
        if let sessionID { headers.add("Session", sessionID) }
        var signedWith: String?
        if let challenge, let credentials {
            nonceCount &+= 1
            signedWith = challenge.nonce
            headers.add(
                "Authorization",
                challenge.authorization(
                    credentials, method: method, uri: target.description, count: nonceCount,
                    clientNonce: nonce()))
        }
        exchange = Exchange(
            step: step, cseq: cseq, nonce: signedWith, retriesOfNonce: retriesOfNonce, sentAt: now)
        let request = Request(method: method, uri: target.description, headers: headers)
        outputs.append(.send(request.serialize()))
    }

    /// Cameras ask little of clients; whatever they ask, the answer is short.
    private mutating func answer(_ request: Request) {
        var headers = Headers()
        if let cseq = request.headers["CSeq"] { headers.add("CSeq", cseq) }
        let isKnown = request.method == "OPTIONS" || request.method == "GET_PARAMETER"
        let response = Response(
            status: isKnown ? 200 : 501, reason: isKnown ? "OK" : "Not Implemented",
            headers: headers)
        outputs.append(.send(response.serialize()))
    }

    private mutating func fail(_ kind: SessionFailure.Kind, _ reason: String) {
        guard !isOver else { return }
        isOver = true
        outputs.append(.failed(SessionFailure(kind: kind, reason: reason)))
    }
}

// MARK: - Responses

extension ClientSession {
    private mutating func receive(_ response: Response, at now: Instant) {
        guard let exchange else { return }
        // Some servers leave CSeq out; only one request is ever open, so the answer is still clear.
        if let text = response.headers["CSeq"], UInt32(text) != exchange.cseq { return }
        self.exchange = nil
        if response.status == 401 { return authenticate(response, exchange, at: now) }
        if exchange.nonce != nil, response.status < 300 { hasAuthenticated = true }
        noteSession(response)
        guard response.status == 200 else { return refuse(response, exchange, at: now) }
        switch exchange.step {
        case .options:
            noteMethods(response)
            send(.describe, at: now)
        case .describe:
            describe(response, at: now)
        case .setup:
            setup(response, at: now)
        case .setupAudio:
            setupAudio(response, at: now)
        case .play:
            nextKeepAlive = now + keepAliveInterval
            outputs.append(.playing)
        case .keepAlive, .teardown:
            noteMethods(response)
        }
    }

    private mutating func refuse(_ response: Response, _ exchange: Exchange, at now: Instant) {
        let reason = "the camera answered \(response.status) to \(Self.method(exchange.step))"
        switch (exchange.step, response.status) {
        case (.setupAudio, _):
            // Video without sound is better than neither.
            send(.play, at: now)
        case (_, 403):
            fail(.authentication, reason)
        case (.keepAlive, 454):
            fail(.closed, reason)
        case (.keepAlive, _):
            // Some cameras list GET_PARAMETER and refuse it; every server takes OPTIONS.
            canGetParameter = false
        case (.teardown, _):
            return
        case (.options, _):
            // Not every camera knows OPTIONS.
            send(.describe, at: now)
        case (_, 404):
            fail(.notFound, reason)
        default:
            fail(.protocol, reason)
        }
    }

    private mutating func authenticate(
        _ response: Response, _ exchange: Exchange, at now: Instant
    ) {
        guard credentials != nil else {
            return fail(.authentication, "the camera asks for a login and none is configured")
        }
        guard let offered = Challenge.strongest(of: response.headers) else {
            return fail(.authentication, "the camera asks for a login of an unknown kind")
        }
        if let signedWith = exchange.nonce {
            // Only a nonce that ran out may be tried again: cameras lock accounts after a few failures.
            let isExpired = offered.isStale || (hasAuthenticated && offered.nonce != signedWith)
            guard isExpired, exchange.retriesOfNonce == 0 else {
                return fail(.authentication, "the camera refused the user name or password")
            }
            challenge = offered
            nonceCount = 0
            return send(exchange.step, at: now, retriesOfNonce: 1)
        }
        challenge = offered
        nonceCount = 0
        send(exchange.step, at: now)
    }

    /// The session may be renamed by any answer; `;timeout=` is in seconds (RFC 2326 §12.37).
    private mutating func noteSession(_ response: Response) {
        guard let text = response.headers["Session"] else { return }
        let parts = text.utf8.split(separator: UInt8(ascii: ";")).prefix(8)
            .map { trimmed(String(decoding: $0, as: UTF8.self)) }
        if let id = parts.first, !id.isEmpty, id.utf8.count <= 256 { sessionID = id }
        for part in parts.dropFirst() where part.lowercased().hasPrefix("timeout=") {
            let digits = String(decoding: part.utf8.dropFirst(8), as: UTF8.self)
            if let seconds = UInt16(digits) {
                keepAliveInterval = .milliseconds(max(Int64(seconds) * 500, 5000))
            }
        }
    }

    private mutating func noteMethods(_ response: Response) {
        guard let methods = response.headers["Public"] else { return }
        canGetParameter = methods.utf8.split(separator: UInt8(ascii: ","))
            .contains { trimmed(String(decoding: $0, as: UTF8.self)) == "GET_PARAMETER" }
    }

    private mutating func describe(_ response: Response, at now: Instant) {
        let description: SessionDescription
        do throws(SDPError) {
            description = try SessionDescription(parsing: response.body)
        } catch {
            return fail(.protocol, "the camera's session description is unreadable (\(error))")
        }
        let offer = TrackOffer(description: description, headers: response.headers, url: url)
        guard let offer else {
            return fail(.noVideo, "the camera offers no H.264 or H.265 video")
        }
        baseURL = offer.baseURL
        aggregateURL = offer.aggregateURL
        trackURL = offer.trackURL
        let offered = AudioOffer(description: description, baseURL: baseURL)
        offeredAudio = offered?.track
        if wantsAudio { audio = offered }
        outputs.append(.described(offer.track))
        send(.setup, at: now)
    }

    private mutating func setup(_ response: Response, at now: Instant) {
        let transport = response.headers["Transport"].map(TransportHeader.init(parsing:))
        guard let transport, transport.isTCP else {
            return fail(.protocol, "the camera does not send over TCP")
        }
        channel = transport.channel ?? 0
        send(audio == nil ? .play : .setupAudio, at: now)
    }

    private mutating func setupAudio(_ response: Response, at now: Instant) {
        let transport = response.headers["Transport"].map(TransportHeader.init(parsing:))
        let given = transport?.channel ?? 2
        if let audio, transport?.isTCP ?? false, let channel, given != channel,
            given != channel &+ 1
        {
            audioChannel = given
            outputs.append(.hasAudio(audio.track))
        }
        send(.play, at: now)
    }
}
