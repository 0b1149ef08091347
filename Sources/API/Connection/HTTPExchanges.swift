// The requests of one connection and their answers, in their order; without the connection.
// SPDX-License-Identifier: Apache-2.0

package import HTTPTypes
package import NIOCore
package import NIOHTTP1

/// What a connection of HTTP/1.1 is to do, by what came over it: each request is asked about when the one
/// before it is answered (RFC 9112 §9.3.2), and a client may keep us waiting for so long.
///
/// Mutate, do what `pollOutput()` says, close at `deadline`.
package struct HTTPExchanges {
    package struct Limits: Sendable {
        /// From a request's first byte to its last.
        package var arrival: TimeAmount
        /// Without a request, and without a byte of an answer that was taken.
        package var silence: TimeAmount
        /// How long a client that is still sending may go on when it has been answered for the last time.
        package var lingering = TimeAmount.seconds(2)

        package init(arrival: TimeAmount, silence: TimeAmount) {
            self.arrival = arrival
            self.silence = silence
        }
    }

    package enum Output {
        /// A handler is to answer this request; the answer has this number.
        case ask(HTTPRequest, Body, number: Int)
        /// More of the body of the request that is being answered.
        case body(ByteBuffer)
        /// That body is whole; or it never will be, for the reason given.
        case bodyEnd(HTTPParserError?)
        /// The client waits for leave to send its body; what is refused is refused by the answer
        /// (RFC 9110 §10.1.1).
        case leaveToSend(HTTPVersion)
        /// What came is no request, and is to be answered so.
        case refuse(HTTPParserError, isHead: Bool)
        /// What `mayRead` held back is to be read now.
        case read
        /// The last answer is given: `answersAreWritten` is to be called when it is with the kernel.
        case watchAnswers
        case closeOutput
        case close
    }

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
        /// A request is being answered; its body may still be on its way.
        case answering(isReceiving: Bool)
        /// A request was answered before it had arrived whole; the rest is passed over.
        case skipping
        /// The last answer is on its way, to a client that may still be sending.
        case finishing(isSending: Bool, until: NIODeadline)
        /// It is there. Bytes that nobody reads make the kernel reset a connection that is closed, and the
        /// client may lose its answer (RFC 9112 §9.6).
        case lingering(until: NIODeadline)
        /// Closed, or another protocol's.
        case over
    }

    /// What is waited for before a handler is asked, in bytes; a larger body comes to it as a stream.
    package static let smallBody = 16 * 1024

    private let limits: Limits
    private var state = State.idle
    /// What came behind a request that is not answered yet.
    private var later = CircularBuffer<HTTPServerRequestPart>()
    private var outputs = CircularBuffer<Output>()
    /// When the request that is on its way has to be there; `nil` where none is.
    private var arrival: NIODeadline?
    /// When reading was stopped; `nil` while it goes on.
    private var heldSince: NIODeadline?
    /// When something moved last.
    private var movedAt: NIODeadline
    private var isWritable = true
    /// Whether a handler takes a body more slowly than its client sends it.
    private var isBodyHeld = false
    /// What the parser refused behind the present request.
    private var refused: HTTPParserError?
    /// Which answer is being given, counted up at its begin and at its end.
    private var number = 0
    private var version = HTTPVersion.http1_1
    /// Whether the connection ends with the present answer.
    private var isLast = false
    /// The client sends nothing more, or the server stops: what has come is answered.
    package private(set) var isEnding = false

    package init(_ limits: Limits, at now: NIODeadline) {
        self.limits = limits
        movedAt = now
        // Who connects is about to ask.
        arrival = now + limits.arrival
    }

    package mutating func pollOutput() -> Output? { outputs.popFirst() }

    /// When the connection has kept us waiting for too long; `nil` while only we are waited for.
    package var deadline: NIODeadline? {
        switch state {
        case .finishing(_, let end), .lingering(let end): end
        case .over: nil
        case .idle, .collecting, .answering, .skipping:
            if !isWritable {
                movedAt + limits.silence
            } else if case .idle = state {
                arrival ?? movedAt + limits.silence
            } else {
                heldSince == nil ? arrival : nil
            }
        }
    }

    // MARK: What arrives

    package mutating func receive(_ part: HTTPServerRequestPart, at now: NIODeadline) {
        switch part {
        case .head:
            arrival = now + limits.arrival
            movedAt = now
        case .body: break
        case .end:
            arrival = nil
            movedAt = now
        }
        if case .answering(isReceiving: false) = state {
            later.append(part)
        } else {
            take(part, at: now)
        }
    }

    /// The client sends nothing more, or the server stops.
    package mutating func endInput(at now: NIODeadline) {
        isEnding = true
        if case .idle = state { finish(isSending: false, at: now) }
    }

    /// The parser gives up: nothing behind this can be understood.
    package mutating func fail(_ error: HTTPParserError, at now: NIODeadline) {
        switch state {
        case .idle, .collecting: refuse(error, isHead: false, at: now)
        case .answering(isReceiving: true):
            outputs.append(.bodyEnd(error))
            isLast = true
            isBodyHeld = false
            state = .answering(isReceiving: false)
        case .answering(isReceiving: false): refused = error
        case .skipping: finish(isSending: true, at: now)
        case .finishing, .lingering, .over: break
        }
    }

    /// The connection is gone.
    package mutating func closed() {
        later.removeAll()
        outputs.removeAll { if case .ask = $0 { true } else { false } }
        leave()
    }

    private mutating func take(_ part: HTTPServerRequestPart, at now: NIODeadline) {
        switch (state, part) {
        case (.idle, .head(let head)): begin(head, at: now)
        case (.collecting(let head, var body), .body(var chunk)):
            state = .idle
            if body.readableBytes == 0 { body = chunk } else { body.writeBuffer(&chunk) }
            state = .collecting(head, body)
        case (.collecting(let head, let body), .end): ask(head.request, .whole(body))
        case (.answering(isReceiving: true), .body(let chunk)): outputs.append(.body(chunk))
        case (.answering(isReceiving: true), .end):
            outputs.append(.bodyEnd(nil))
            isBodyHeld = false
            state = .answering(isReceiving: false)
        case (.skipping, .end): next(at: now)
        case (.idle, _), (.collecting, _), (.answering, _), (.skipping, _), (.finishing, _),
            (.lingering, _), (.over, _):
            break
        }
    }

    private mutating func begin(_ received: HTTPRequestHead, at now: NIODeadline) {
        guard let head = RequestHead(received) else {
            return refuse(
                .invalidHeaderToken, isHead: received.method == .HEAD, at: now)
        }
        version = received.version
        isLast = head.isLast
        if head.expectsContinue { outputs.append(.leaveToSend(version)) }
        if case .after(let bytes) = head.body, bytes <= Self.smallBody {
            state = .collecting(head, ByteBuffer())
        } else {
            ask(head.request, .streamed)
        }
    }

    private mutating func ask(_ request: HTTPRequest, _ body: Body) {
        if case .streamed = body {
            state = .answering(isReceiving: true)
        } else {
            state = .answering(isReceiving: false)
        }
        number += 1
        outputs.append(.ask(request, body, number: number))
    }

    /// The request is answered and has arrived; what came behind it is looked at.
    private mutating func next(at now: NIODeadline) {
        state = .idle
        while !later.isEmpty {
            if case .answering(isReceiving: false) = state { break }
            take(later.removeFirst(), at: now)
        }
        if let error = refused {
            refused = nil
            fail(error, at: now)
        }
        if case .idle = state, isEnding { return finish(isSending: false, at: now) }
        readOn()
    }

    // MARK: What is read

    /// Whether to read on. What is held back is asked for by an output.
    package mutating func mayRead(at now: NIODeadline) -> Bool {
        guard !isReadingPointless else {
            if heldSince == nil {
                heldSince = now
                movedAt = now
            }
            return false
        }
        if let since = heldSince {
            heldSince = nil
            movedAt = now
            // What was not read could not arrive.
            arrival = arrival.map { $0 + (now - since) }
        }
        return true
    }

    /// A handler takes no more of a body for now.
    package mutating func holdBody() { isBodyHeld = true }

    /// A handler wants more of a body.
    package mutating func wantBody() {
        isBodyHeld = false
        readOn()
    }

    /// Whether the client takes what it is sent.
    package mutating func setWritable(_ isWritable: Bool, at now: NIODeadline) {
        self.isWritable = isWritable
        movedAt = now
        if isWritable { readOn() }
    }

    private mutating func readOn() {
        if heldSince != nil, !isReadingPointless { outputs.append(.read) }
    }

    /// Whether what would be read could only wait in memory.
    private var isReadingPointless: Bool {
        switch state {
        case .answering(isReceiving: false):
            !later.isEmpty || isLast || refused != nil || !isWritable
        case .answering(isReceiving: true): isBodyHeld
        // Answers without a body wait for nobody.
        case .idle, .collecting, .skipping: !isWritable
        case .finishing, .lingering, .over: false
        }
    }

    // MARK: What is answered

    /// Whether the answer of this number may be written to: it was asked for, and has not ended.
    package func isAnswering(_ number: Int) -> Bool {
        guard case .answering = state else { return false }
        return number == self.number
    }

    /// The answer that was asked for last begins.
    /// - Returns: what it is to say of the connection.
    package mutating func beginAnswer() -> (version: HTTPVersion, isLast: Bool) {
        if isEnding, later.isEmpty { isLast = true }
        return (version, isLast)
    }

    /// It was given whole.
    package mutating func endAnswer(at now: NIODeadline) {
        guard case .answering(let isReceiving) = state else { return }
        number += 1
        movedAt = now
        if isLast { return finish(isSending: arrival != nil || heldSince != nil, at: now) }
        guard isReceiving else { return next(at: now) }
        outputs.append(.bodyEnd(.invalidEOFState))
        isBodyHeld = false
        state = .skipping
        readOn()
    }

    /// Nothing more comes of an answer; a client that would wait for the rest of it is left.
    package mutating func abandonAnswer(_ number: Int) {
        if number == self.number { close() }
    }

    /// The answer makes the connection another protocol's.
    /// - Returns: false where it closes instead.
    package mutating func upgrade() -> Bool {
        number += 1
        if isEnding { close() } else { leave() }
        return !isEnding
    }

    /// All that was answered is with the kernel.
    package mutating func answersAreWritten(at now: NIODeadline) {
        guard case .finishing(let isSending, _) = state else { return }
        guard isSending else { return close() }
        outputs.append(.closeOutput)
        state = .lingering(until: now + limits.lingering)
        readOn()
    }

    // MARK: The end

    package mutating func close() {
        if case .over = state { return }
        leave()
        outputs.append(.close)
    }

    /// Whoever sends no more may still be reading.
    private mutating func finish(isSending: Bool, at now: NIODeadline) {
        leave()
        state = .finishing(isSending: isSending && !isEnding, until: now + limits.silence)
        outputs.append(.watchAnswers)
    }

    private mutating func refuse(
        _ error: HTTPParserError, isHead: Bool, at now: NIODeadline
    ) {
        outputs.append(.refuse(error, isHead: isHead))
        finish(isSending: true, at: now)
    }

    private mutating func leave() {
        // A handler must not take half a body for a whole one.
        if case .answering(isReceiving: true) = state {
            outputs.append(.bodyEnd(.invalidEOFState))
        }
        state = .over
    }
}
