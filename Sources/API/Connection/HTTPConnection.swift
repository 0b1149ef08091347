// One connection of a client: its requests in their order, and how long it may keep us waiting.
// SPDX-License-Identifier: Apache-2.0

import Domain
import HTTPTypes
import Hummingbird
import Logging
import NIOCore
import NIOFoundationCompat
import NIOHTTP1
import NIOHTTPTypesHTTP1
import NIOSSL

/// Takes requests from the decoder and gives each to a task of its own, the next when the one before it is
/// answered. Closes a connection whose request does not arrive, that stays idle, or that takes nothing of
/// its answer; says in the one shape what the parser refused; and hands the connection over when an
/// answer makes it a WebSocket.
final class HTTPConnection: ChannelDuplexHandler, RemovableChannelHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias OutboundIn = HTTPServerResponsePart
    typealias OutboundOut = HTTPServerResponsePart

    /// What is waited for before a handler is asked; a larger body comes to it as a stream.
    private static let smallBody = 16 * 1024
    /// How long a client that is still sending may go on when it has been answered for the last time.
    private static let lingering = Duration.seconds(2)

    private enum State {
        /// No request is there.
        case idle
        /// The body of a small request is on its way.
        case collecting(RequestHead, ByteBuffer)
        /// A request is being answered; `nil` where it has arrived whole.
        case answering(StreamedBody?)
        /// A request was answered before it had arrived whole; the rest is passed over.
        case skipping
        /// Nothing that is read counts any more: it closes, or is a WebSocket.
        case over
    }

    private let services: ConnectionServices
    private let channel: any Channel
    private let executor: LoopExecutor
    private let peer: ClientAddress
    private let deadline: ConnectionDeadline
    private var context: ChannelHandlerContext?

    // What is read.
    private var state = State.idle
    /// What came behind a request that is not answered yet.
    private var later = CircularBuffer<HTTPServerRequestPart>()
    /// When the request that is on its way has to be there; `nil` where none is.
    private var arrival: NIODeadline?
    /// When reading was stopped; `nil` while it goes on.
    private var heldSince: NIODeadline?
    /// Whether a handler takes a body more slowly than its client sends it.
    private var isBodyHeld = false
    /// What the parser refused behind the present request.
    private var refused: HTTPParserError?
    /// The client sends nothing more, or the server stops: what has come is answered.
    private(set) var isEnding = false

    // What is answered.
    private var unanswered = 0
    /// Which answer is being written, counted up at its begin and at its end.
    private var number = 0
    private var version = HTTPVersion.http1_1
    /// Whether the connection ends with the present answer.
    private var isLast = false
    /// What is left of the present answer's body; `nil` where nobody knows.
    private var bytesLeft: Int?
    private var whenTaken: EventLoopPromise<Void>?
    /// When the last answer is with the kernel.
    private var written: EventLoopFuture<Void>?
    private var opening: SocketOpening?
    private var tasks = 0
    private let ending: EventLoopPromise<Void>

    /// Done when this has left the connection and no task of its requests runs any more.
    var ended: EventLoopFuture<Void> { ending.futureResult }

    init(_ services: ConnectionServices, on channel: any Channel) {
        self.services = services
        self.channel = channel
        executor = ConnectionLoops.executor(on: channel.eventLoop)
        peer = ClientAddress(channel.remoteAddress)
        deadline = ConnectionDeadline(on: channel.eventLoop) { channel.close(promise: nil) }
        ending = channel.eventLoop.makePromise()
    }

    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
        guard services.count.admit(channel, from: peer) else {
            context.eventLoop.execute { [channel] in channel.close(promise: nil) }
            return
        }
        deadline.set(after: services.settings.requestTimeout)
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        deadline.cancel()
        self.context = nil
        if tasks == 0 { ending.succeed() }
    }

    func channelInactive(context: ChannelHandlerContext) {
        leave()
        deadline.cancel()
        later.removeAll()
        whenTaken?.fail(ChannelError.ioOnClosedChannel)
        whenTaken = nil
        context.fireChannelInactive()
    }

    // MARK: What arrives

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let part = unwrapInboundIn(data)
        switch part {
        case .head:
            arrival = .now() + TimeAmount(services.settings.requestTimeout)
            unanswered += 1
        case .body: break
        case .end: arrival = nil
        }
        if case .answering(nil) = state {
            later.append(part)
        } else {
            take(part)
        }
        if case .body = part { return }
        watch()
    }

    private func take(_ part: HTTPServerRequestPart) {
        switch (state, part) {
        case (.idle, .head(let head)): begin(head)
        case (.collecting(let head, var body), .body(var chunk)):
            state = .idle
            if body.readableBytes == 0 { body = chunk } else { body.writeBuffer(&chunk) }
            state = .collecting(head, body)
        case (.collecting(let head, let body), .end):
            state = .answering(nil)
            answer(head.request, RequestBody(buffer: body))
        case (.answering(let body?), .body(let chunk)): isBodyHeld = !body.yield(chunk)
        case (.answering(let body?), .end):
            body.finish()
            isBodyHeld = false
            state = .answering(nil)
        case (.skipping, .end): next()
        case (.idle, _), (.collecting, _), (.answering, _), (.skipping, _), (.over, _): break
        }
    }

    private func begin(_ received: HTTPRequestHead) {
        guard let head = RequestHead(received) else {
            return refuse(.invalidHeaderToken, isHead: received.method == .HEAD)
        }
        version = received.version
        isLast = head.isLast
        if head.expectsContinue, let context {
            // Leave to send the body; what is refused is refused by the answer (RFC 9110 §10.1.1).
            let head = HTTPResponseHead(version: version, status: .continue)
            context.writeAndFlush(wrapOutboundOut(.head(head)), promise: nil)
            guard case .idle = state else { return }
        }
        if case .after(let bytes) = head.body, bytes <= Self.smallBody {
            state = .collecting(head, ByteBuffer())
            return
        }
        let bound = NIOLoopBound(self, eventLoop: channel.eventLoop)
        let (body, request) = StreamedBody.make { [loop = channel.eventLoop] in
            loop.execute {
                bound.value.isBodyHeld = false
                bound.value.readOn()
            }
        }
        state = .answering(body)
        answer(head.request, request)
    }

    private func answer(_ head: HTTPRequest, _ body: RequestBody) {
        let request = Request(head: head, body: body)
        let context = MarsadRequestContext(on: channel, from: peer, services.logger)
        number += 1
        tasks += 1
        let writer = AnswerWriter(self, on: channel.eventLoop, number: number)
        Task(executorPreference: executor) { [responder = services.responder] in
            do {
                try await writer.write(try await responder.respond(to: request, context: context))
            } catch {
                // Nobody can be told: the client is gone, or has half an answer.
            }
            writer.leave()
        }
    }

    /// The request is answered and has arrived; what came behind it is looked at.
    private func next() {
        state = .idle
        while !later.isEmpty {
            if case .answering(nil) = state { break }
            take(later.removeFirst())
        }
        if let error = refused {
            refused = nil
            fail(error)
        }
        if case .idle = state, isEnding { return closeWhenWritten() }
        readOn()
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        switch event {
        case is ChannelShouldQuiesceEvent, ChannelEvent.inputClosed:
            isEnding = true
            if case .idle = state { closeWhenWritten() }
        default: context.fireUserInboundEventTriggered(event)
        }
    }

    // MARK: What is waited for

    func read(context: ChannelHandlerContext) {
        if isReadingPointless {
            guard heldSince == nil else { return }
            heldSince = .now()
        } else {
            context.read()
            guard let since = heldSince else { return }
            heldSince = nil
            // What was not read could not arrive.
            arrival = arrival.map { $0 + (.now() - since) }
        }
        watch()
    }

    private func readOn() {
        guard heldSince != nil, let context else { return }
        read(context: context)
    }

    /// Whether what would be read could only wait in memory.
    private var isReadingPointless: Bool {
        switch state {
        case .answering(nil):
            !later.isEmpty || isLast || refused != nil || !channel.isWritable
        case .answering: isBodyHeld
        // Answers without a body wait for nobody.
        case .idle, .collecting, .skipping: !channel.isWritable
        case .over: false
        }
    }

    /// Sets the deadline by what is waited for; to be called when that changes.
    private func watch() {
        if case .over = state { return }
        if !channel.isWritable || unanswered == 0 && arrival == nil {
            deadline.set(after: services.settings.idleTimeout)
        } else if let arrival, heldSince == nil {
            deadline.set(at: arrival)
        } else {
            deadline.clear()
        }
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        if channel.isWritable {
            whenTaken?.succeed()
            whenTaken = nil
            readOn()
        }
        watch()
        context.fireChannelWritabilityChanged()
    }

    // MARK: What goes out

    func begin(_ response: Response, _ number: Int) throws {
        let context = try answering(number)
        if response.status == .switchingProtocols, let opening {
            self.number += 1
            guard !isEnding else { return close() }
            leave()
            return opening.upgrade(context, response.headers, instead: self)
        }
        if isEnding, later.isEmpty { isLast = true }
        var head = HTTPResponseHead(response.head)
        head.version = version
        if isLast { head.headers.replaceOrAdd(name: "Connection", value: "close") }
        bytesLeft = response.body.contentLength
        context.write(wrapOutboundOut(.head(head)), promise: nil)
    }

    /// - Returns: where the client is slower than this, what succeeds when it has caught up.
    func write(_ buffer: ByteBuffer, _ number: Int) throws -> EventLoopFuture<Void>? {
        let context = try answering(number)
        bytesLeft = bytesLeft.map { $0 - buffer.readableBytes }
        context.write(wrapOutboundOut(.body(.byteBuffer(buffer))), promise: nil)
        // The last bytes go with the end of the answer, which is written at once.
        if bytesLeft == 0, channel.isWritable { return nil }
        context.flush()
        // A flush that fails closes the channel at once, and it never becomes writable again.
        _ = try answering(number)
        guard !channel.isWritable else { return nil }
        let promise = whenTaken ?? channel.eventLoop.makePromise()
        whenTaken = promise
        return promise.futureResult
    }

    func end(_ trailers: HTTPFields?, _ number: Int) throws {
        let context = try answering(number)
        self.number += 1
        unanswered -= 1
        let end = HTTPServerResponsePart.end(trailers.map(HTTPHeaders.init))
        written = context.writeAndFlush(wrapOutboundOut(end))
        if case .over = state { return }
        if isLast { return closeWhenWritten(isSending: arrival != nil || heldSince != nil) }
        if case .answering(nil) = state {
            next()
        } else {
            isBodyHeld = false
            state = .skipping
            readOn()
        }
        watch()
    }

    /// The task of a request has ended; a client that would wait for the rest of its answer is left.
    func leave(_ number: Int) {
        if number == self.number { close() }
        tasks -= 1
        if tasks == 0, context == nil { ending.succeed() }
    }

    private func answering(_ number: Int) throws -> ChannelHandlerContext {
        guard number == self.number, case .answering = state, let context else {
            throw ChannelError.ioOnClosedChannel
        }
        return context
    }

    // MARK: The end

    private func leave() {
        // A handler must not take half a body for a whole one.
        if case .answering(let body?) = state { body.finish(HTTPParserError.invalidEOFState) }
        state = .over
    }

    private func close() {
        leave()
        channel.close(promise: nil)
    }

    /// Whoever sends no more may still be reading.
    /// - Parameter isSending: whether more of a request may come.
    private func closeWhenWritten(isSending: Bool = false) {
        guard let written else { return close() }
        let isSending = isSending && !isEnding
        leave()
        deadline.set(after: services.settings.idleTimeout)
        written.assumeIsolated().whenComplete { [self] _ in
            guard isSending else { return channel.close(promise: nil) }
            // Bytes that nobody reads make the kernel reset a connection that is closed, and the client
            // may lose its answer (RFC 9112 §9.6).
            channel.close(mode: .output, promise: nil)
            deadline.set(after: Self.lingering)
            readOn()
        }
    }

    func triggerUserOutboundEvent(
        context: ChannelHandlerContext, event: Any, promise: EventLoopPromise<Void>?
    ) {
        guard let opening = event as? SocketOpening else {
            context.triggerUserOutboundEvent(event, promise: promise)
            return
        }
        self.opening = opening
        promise?.succeed()
    }

    // MARK: What is no HTTP

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        switch error {
        case let error as HTTPParserError: fail(error)
        // What came behind an error that was told.
        case is ByteToMessageDecoderError: break
        // The end of the input follows, and the decoder says whether it was one of a request.
        case let error as NIOSSLError where error == .uncleanShutdown: break
        default: close()
        }
    }

    private func fail(_ error: HTTPParserError) {
        switch state {
        case .idle, .collecting: refuse(error)
        case .answering(let body?):
            body.finish(error)
            isLast = true
            isBodyHeld = false
            state = .answering(nil)
        case .answering(nil): refused = error
        case .skipping: closeWhenWritten(isSending: true)
        case .over: break
        }
    }

    private func refuse(_ error: HTTPParserError, isHead: Bool = false) {
        guard let context else { return }
        let id = services.world.makeID()
        // RFC 6585 §5.
        let failure =
            error == .headerOverflow
            ? MarsadError(
                .payloadTooLarge, status: 431, details: ["reason": "the header is too large"])
            : MarsadError(
                .invalidRequest, details: ["reason": "this is not a request of HTTP/1.1"])
        let body = (try? jsonBytes(ErrorBody(failure, requestID: id))) ?? ByteBuffer()
        var fields: HTTPFields = [
            .contentType: "application/json; charset=utf-8",
            .contentLength: "\(body.readableBytes)", .connection: "close", .requestID: id,
            .date: services.responder.dates.text(of: services.world.wallTime()),
        ]
        SecurityHeaders.apply(to: &fields, isSecure: services.settings.isSecure)
        let head = HTTPResponse(
            status: .init(code: failure.status ?? failure.code.text.status), headerFields: fields)
        context.write(wrapOutboundOut(.head(HTTPResponseHead(head))), promise: nil)
        if !isHead { context.write(wrapOutboundOut(.body(.byteBuffer(body))), promise: nil) }
        written = context.writeAndFlush(wrapOutboundOut(.end(nil)))
        closeWhenWritten(isSending: true)
    }
}
