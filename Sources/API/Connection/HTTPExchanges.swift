// The requests of one connection and their answers, in their order; without the connection.
// SPDX-License-Identifier: Apache-2.0

package import HTTPTypes
package import NIOCore
package import NIOHTTP1
package import Primitives

/// What a connection of HTTP/1.1 is to do, by what comes over it: each request is asked about when the one
/// before it is answered (RFC 9112 §9.3.2), and a client may keep us waiting for so long.
///
/// Mutate, do what `pollOutput()` says, and call `advance(to:)` at `deadline`.
package struct HTTPExchanges {
    /// How long a client may keep us waiting.
    package struct Limits: Sendable {
        /// From a request's head to its end; and from connecting to the end of the first head.
        package var arrival: Duration
        /// Between two requests, and with more of an answer on its way than a client's buffers hold.
        package var silence: Duration
        /// How long a client that is still sending may go on when it has been answered for the last time.
        package var lingering = Duration.seconds(2)
        /// How long any client may keep a server that stops.
        package var stopping = Duration.seconds(5)

        /// Lingering is two seconds, stopping five.
        package init(arrival: Duration, silence: Duration) {
            self.arrival = arrival
            self.silence = silence
        }
    }

    /// What is to be done, in this order.
    package enum Output {
        /// A handler is to answer this request; the answer has this number.
        case ask(HTTPRequest, Body, number: Int)
        /// More of the body of the request that is being answered.
        case body(ByteBuffer)
        /// No more comes of that body: it is there, or was torn off, or is not waited for.
        case bodyEnd(isWhole: Bool)
        /// The client waits for leave to send its body; what is refused is refused by the answer
        /// (RFC 9110 §10.1.1).
        case leaveToSend(HTTPVersion)
        /// What came is no request, and is to be answered so.
        case refuse(HTTPParserError, isHead: Bool)
        /// More of the client's bytes are to be read.
        case read
        /// The last answer is given: `answersAreWritten` is to be called when it is with the kernel.
        case watchAnswers
        /// The client is to hear that nothing more comes; it may go on sending.
        case closeOutput
        case close
    }

    /// What is there of a request's body when a handler is asked.
    package enum Body {
        case whole(ByteBuffer)
        /// Its parts follow.
        case streamed
    }

    private enum State {
        /// No request is there.
        case idle
        /// The body of a small request is on its way.
        case collecting(RequestHead, ByteBuffer)
        /// A request is being answered while its body is on its way, or held back as the handler takes no
        /// more of it.
        case receiving(isHeld: Bool)
        /// A request that has arrived is being answered.
        case answering
        /// A request was answered before it had arrived; the rest is passed over.
        case skipping
        /// The last answer is on its way, to a client that may still be sending or is not.
        case finishing(lingers: Bool, until: Instant)
        /// It is there. Bytes that nobody reads make the kernel reset a connection that is closed, and the
        /// client may lose its answer (RFC 9112 §9.6).
        case lingering(until: Instant)
        /// Closed, or another protocol's.
        case over
    }

    /// The answer that was asked for last.
    private struct Answer {
        var number = 0
        var version = HTTPVersion.http1_1
        /// Whether the connection ends with it.
        var isLast = false
    }

    /// What is waited for before a handler is asked, in bytes; a larger body comes to it as a stream.
    package static let smallBody = 16 * 1024

    private let limits: Limits
    private var state = State.idle
    private var answer = Answer()
    private var outputs = CircularBuffer<Output>()
    /// What came behind a request that is not answered yet.
    private var later = CircularBuffer<HTTPServerRequestPart>()
    /// What the parser refused behind that.
    private var refused: HTTPParserError?
    /// When what is on its way has to be there: the present request, or the first one.
    private var arrival: Instant?
    /// When reading was stopped; `nil` while it goes on.
    private var heldSince: Instant?
    /// When something moved last.
    private var movedAt: Instant
    private var isWritable = true
    private var hasInputEnded = false
    /// When a server that stops waits for this client no more; `nil` while it does not stop.
    private var stopsBy: Instant?

    /// A connection that was made now.
    package init(_ limits: Limits, at now: Instant) {
        self.limits = limits
        movedAt = now
        arrival = now + limits.arrival
    }

    /// Whether no request behind the present one may come.
    package var isEnding: Bool { hasInputEnded || isStopping }
    /// Whether the connection is closed, or another protocol's.
    package var isOver: Bool { if case .over = state { true } else { false } }
    private var isStopping: Bool { stopsBy != nil }

    /// What is to be done next.
    package mutating func pollOutput() -> Output? { outputs.popFirst() }

    /// When the client has kept us waiting for too long; `nil` while only we are waited for.
    package var deadline: Instant? { patience.map { end in stopsBy.map { min($0, end) } ?? end } }

    private var patience: Instant? {
        switch state {
        case .finishing(_, let end), .lingering(let end): end
        case .over: nil
        case _ where !isWritable: movedAt + limits.silence
        case .idle: arrival ?? movedAt + limits.silence
        case .collecting, .receiving, .answering, .skipping: heldSince == nil ? arrival : nil
        }
    }

    /// Time passes.
    package mutating func advance(to now: Instant) {
        guard let deadline, deadline <= now else { return }
        if case .skipping = state, isWritable {
            // Its answer was given, and may not be read yet.
            finish(lingers: true, at: now)
        } else {
            close()
        }
    }

    // MARK: What arrives

    /// The parser has read something of a request.
    package mutating func receive(_ part: HTTPServerRequestPart, at now: Instant) {
        switch part {
        case .head:
            arrival = now + limits.arrival
            movedAt = now
        case .body: break
        case .end:
            arrival = nil
            movedAt = now
        }
        if case .answering = state {
            later.append(part)
        } else {
            take(part, at: now)
        }
    }

    /// The parser gives up: nothing behind this can be understood.
    package mutating func fail(_ error: HTTPParserError, at now: Instant) {
        arrival = nil
        switch state {
        case .idle, .collecting: refuse(error, isHead: false, at: now)
        case .receiving:
            outputs.append(.bodyEnd(isWhole: false))
            answer.isLast = true
            state = .answering
        case .answering: refused = error
        case .skipping: finish(lingers: true, at: now)
        case .finishing, .lingering, .over: break
        }
    }

    /// The client sends nothing more. What it has asked is answered.
    package mutating func endInput(at now: Instant) {
        hasInputEnded = true
        switch state {
        case .idle: finish(lingers: false, at: now)
        case .lingering: close()
        case .collecting, .receiving, .answering, .skipping, .finishing, .over: break
        }
    }

    /// The server stops. The request that is there is answered, and what came behind it is left to be asked
    /// anew elsewhere.
    package mutating func stop(at now: Instant) {
        stopsBy = now + limits.stopping
        switch state {
        // Its last answer may not be read yet, and its next request be on its way.
        case .idle: finish(lingers: answer.number > 0, at: now)
        case .skipping: finish(lingers: true, at: now)
        case .collecting, .receiving, .answering, .finishing, .lingering, .over: break
        }
    }

    private mutating func take(_ part: HTTPServerRequestPart, at now: Instant) {
        switch (state, part) {
        case (.idle, .head(let head)): begin(head, at: now)
        case (.collecting(let head, var body), .body(var chunk)):
            state = .idle
            if body.readableBytes == 0 { body = chunk } else { body.writeBuffer(&chunk) }
            state = .collecting(head, body)
        case (.collecting(let head, let body), .end):
            state = .answering
            ask(head.request, .whole(body))
        case (.receiving, .body(let chunk)): outputs.append(.body(chunk))
        case (.receiving, .end):
            outputs.append(.bodyEnd(isWhole: true))
            state = .answering
        case (.skipping, .end): next(at: now)
        case (.idle, _), (.collecting, _), (.receiving, _), (.answering, _), (.skipping, _),
            (.finishing, _), (.lingering, _), (.over, _):
            break
        }
    }

    private mutating func begin(_ received: HTTPRequestHead, at now: Instant) {
        guard let head = RequestHead(received) else {
            return refuse(.invalidHeaderToken, isHead: received.method == .HEAD, at: now)
        }
        answer.version = received.version
        answer.isLast = head.isLast
        if head.expectsContinue { outputs.append(.leaveToSend(received.version)) }
        if case .after(let bytes) = head.body, bytes <= Self.smallBody {
            state = .collecting(head, ByteBuffer())
        } else {
            state = .receiving(isHeld: false)
            ask(head.request, .streamed)
        }
    }

    private mutating func ask(_ request: HTTPRequest, _ body: Body) {
        answer.number += 1
        outputs.append(.ask(request, body, number: answer.number))
    }

    /// The request is answered and has arrived; what came behind it is looked at.
    private mutating func next(at now: Instant) {
        state = .idle
        while !later.isEmpty {
            if case .answering = state { break }
            take(later.removeFirst(), at: now)
        }
        if let error = refused {
            refused = nil
            fail(error, at: now)
        }
        if case .idle = state, hasInputEnded { return finish(lingers: false, at: now) }
        readOn(at: now)
    }

    // MARK: What is read

    /// More of the client's bytes may be read. They are when there is a use for them.
    package mutating func allowRead(at now: Instant) {
        guard isReadingPointless else { return read(at: now) }
        guard heldSince == nil else { return }
        heldSince = now
        movedAt = now
    }

    /// The handler that gives this answer takes no more of its request's body for now.
    package mutating func holdBody(_ number: Int) {
        if case .receiving = state, number == answer.number { state = .receiving(isHeld: true) }
    }

    /// That handler wants more of it.
    package mutating func wantBody(_ number: Int, at now: Instant) {
        guard case .receiving = state, number == answer.number else { return }
        state = .receiving(isHeld: false)
        readOn(at: now)
    }

    /// The client's buffers are full, or have room again.
    package mutating func setWritable(_ isWritable: Bool, at now: Instant) {
        self.isWritable = isWritable
        movedAt = now
        readOn(at: now)
    }

    private mutating func readOn(at now: Instant) {
        if heldSince != nil, !isReadingPointless { read(at: now) }
    }

    private mutating func read(at now: Instant) {
        if let since = heldSince {
            heldSince = nil
            movedAt = now
            // What was not read could not arrive.
            arrival = arrival.map { $0 + (now - since) }
        }
        outputs.append(.read)
    }

    /// Whether what would be read could only wait in memory.
    private var isReadingPointless: Bool {
        switch state {
        case .answering:
            !later.isEmpty || refused != nil || answer.isLast || isStopping || !isWritable
        case .receiving(let isHeld): isHeld
        // Answers without a body wait for nobody.
        case .idle, .collecting, .skipping: !isWritable
        case .finishing, .lingering, .over: false
        }
    }

    // MARK: What is answered

    /// Whether the answer of this number may be written to: it was asked for, and has not ended.
    package func isAnswering(_ number: Int) -> Bool {
        switch state {
        case .receiving, .answering: number == answer.number
        case .idle, .collecting, .skipping, .finishing, .lingering, .over: false
        }
    }

    /// The answer of this number begins.
    /// - Returns: what it is to say of the connection; `nil` where it may not be written to.
    package mutating func beginAnswer(_ number: Int) -> (version: HTTPVersion, isLast: Bool)? {
        guard isAnswering(number) else { return nil }
        let nothingFollows = hasInputEnded && later.isEmpty && refused == nil
        if isStopping || nothingFollows { answer.isLast = true }
        return (answer.version, answer.isLast)
    }

    /// It was given whole.
    package mutating func endAnswer(_ number: Int, at now: Instant) {
        guard isAnswering(number) else { return }
        movedAt = now
        var hasArrived = true
        if case .receiving = state {
            hasArrived = false
            outputs.append(.bodyEnd(isWhole: false))
        }
        if answer.isLast || isStopping { return finish(lingers: true, at: now) }
        guard !hasArrived else { return next(at: now) }
        state = .skipping
        readOn(at: now)
    }

    /// Nothing more comes of it; a client that would wait for the rest is left.
    package mutating func abandonAnswer(_ number: Int) {
        if isAnswering(number) { close() }
    }

    /// It makes the connection another protocol's.
    /// - Returns: false where it may not, or the connection closes instead.
    package mutating func upgrade(_ number: Int) -> Bool {
        guard isAnswering(number) else { return false }
        guard !isEnding else {
            close()
            return false
        }
        giveUp()
        return true
    }

    /// All that was answered is with the kernel.
    package mutating func answersAreWritten(at now: Instant) {
        guard case .finishing(let lingers, _) = state else { return }
        guard lingers, !hasInputEnded else { return close() }
        outputs.append(.closeOutput)
        state = .lingering(until: now + limits.lingering)
        readOn(at: now)
    }

    // MARK: The end

    /// The connection cannot go on.
    package mutating func close() {
        if isOver { return }
        giveUp()
        outputs.append(.close)
    }

    /// The connection is gone.
    package mutating func closed() {
        giveUp()
        later.removeAll()
    }

    private mutating func finish(lingers: Bool, at now: Instant) {
        state = .finishing(lingers: lingers, until: now + limits.silence)
        outputs.append(.watchAnswers)
    }

    private mutating func refuse(_ error: HTTPParserError, isHead: Bool, at now: Instant) {
        outputs.append(.refuse(error, isHead: isHead))
        finish(lingers: true, at: now)
    }

    private mutating func giveUp() {
        let unasked = outputs.firstIndex { if case .ask = $0 { true } else { false } }
        if let unasked {
            // Who was not asked yet never is.
            outputs.removeSubrange(unasked...)
        } else if case .receiving = state {
            // A handler must not take half a body for a whole one.
            outputs.append(.bodyEnd(isWhole: false))
        }
        state = .over
        heldSince = nil
    }
}
