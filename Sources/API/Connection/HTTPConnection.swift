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

/// What connections share.
struct ConnectionServices: Sendable {
    let responder: Gateway
    let count: ConnectionCount
    let settings: GatewaySettings
    let world: World
    let logger: Logger
}

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

    private enum State {
        /// No request is there.
        case idle
        /// The body of a small request is on its way.
        case collecting(RequestHead, ByteBuffer)
        /// A request is being answered; `nil` where it has arrived whole.
        case answering(StreamedBody?)
        /// A request was answered before it had arrived whole; the rest is passed over.
        case skipping
        /// Nothing is read any more: it closes, or is a WebSocket.
        case over
    }

    private let services: ConnectionServices
    private let executor: LoopExecutor
    private let peer: ClientAddress
    private let deadline: ConnectionDeadline
    private let channel: any Channel
    private var context: ChannelHandlerContext?

    private var state = State.idle
    /// What came behind a request that is not answered yet.
    private var later = CircularBuffer<HTTPServerRequestPart>()
    private var isReadHeld = false
    /// Whether a handler takes a body more slowly than its client sends it.
    private var isBodyHeld = false
    private var isArriving = false
    private var unanswered = 0

    /// Which answer is being written, counted up at its begin and at its end.
    private var number = 0
    private var version = HTTPVersion.http1_1
    /// Whether the connection ends with the present answer.
    private var isLast = false
    /// What is left of the present answer's body; `nil` where nobody knows.
    private var bytesLeft: Int?
    private var whenTaken: EventLoopPromise<Void>?
    private var isInputClosed = false
    /// What the parser refused behind the present request.
    private var refused: HTTPParserError?
    private var opening: SocketOpening?

    init(_ services: ConnectionServices, on channel: any Channel) {
        self.services = services
        self.channel = channel
        executor = ConnectionLoops.executor(on: channel.eventLoop)
        peer = ClientAddress(channel.remoteAddress)
        deadline = ConnectionDeadline(on: channel.eventLoop) { channel.close(promise: nil) }
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
    }

    // MARK: What arrives

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let part = unwrapInboundIn(data)
        switch part {
        case .head:
            isArriving = true
            unanswered += 1
            deadline.set(after: services.settings.requestTimeout)
        case .body: break
        case .end:
            isArriving = false
            deadline.clear()
        }
        if case .answering(nil) = state {
            later.append(part)
        } else {
            take(part)
        }
    }

    private func take(_ part: HTTPServerRequestPart) {
        switch (state, part) {
        case (.idle, .head(let head)): begin(head)
        case (.collecting(let head, var body), .body(var chunk)):
            // Bytes that nobody else holds are not copied.
            state = .idle
            if body.readableBytes == 0 { body = chunk } else { body.writeBuffer(&chunk) }
            state = .collecting(head, body)
        case (.collecting(let head, let body), .end):
            state = .answering(nil)
            answer(head.request, RequestBody(buffer: body))
        case (.answering(let body?), .body(let chunk)): isBodyHeld = !body.yield(chunk)
        case (.answering(let body?), .end):
            body.finish()
            state = .answering(nil)
        case (.skipping, .end): next()
        case (.idle, _), (.collecting, _), (.answering, _), (.skipping, _), (.over, _): break
        }
    }

    private func begin(_ received: HTTPRequestHead) {
        guard let head = RequestHead(received) else { return refuse(.invalidHeaderToken) }
        version = received.version
        isLast = head.isLast
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
        let writer = AnswerWriter(self, on: channel.eventLoop, number: number)
        Task(executorPreference: executor) { [responder = services.responder] in
            do {
                try await writer.write(try await responder.respond(to: request, context: context))
            } catch {
                writer.abandon()
            }
        }
    }

    func read(context: ChannelHandlerContext) {
        isReadHeld = isBodyHeld || !later.isEmpty
        if !isReadHeld { context.read() }
    }

    private func readOn() {
        guard isReadHeld, let context else { return }
        read(context: context)
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
        if case .idle = state, isInputClosed { return close() }
        readOn()
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        switch event {
        case is ChannelShouldQuiesceEvent, ChannelEvent.inputClosed:
            isInputClosed = true
            if case .idle = state { close() }
        default: context.fireUserInboundEventTriggered(event)
        }
    }

    func channelInactive(context: ChannelHandlerContext) {
        deadline.cancel()
        if case .answering(let body?) = state { body.finish(ChannelError.eof) }
        state = .over
        later.removeAll()
        whenTaken?.fail(ChannelError.ioOnClosedChannel)
        whenTaken = nil
        context.fireChannelInactive()
    }

    // MARK: What goes out

    func begin(_ response: Response, _ number: Int) throws {
        let context = try answering(number)
        if response.status == .switchingProtocols, let opening {
            state = .over
            self.number += 1
            opening.upgrade(context, response.headers, instead: self)
            return
        }
        var head = HTTPResponseHead(response.head)
        head.version = version
        if isLast || isInputClosed { head.headers.replaceOrAdd(name: "Connection", value: "close") }
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
        guard !channel.isWritable else { return nil }
        let promise = whenTaken ?? channel.eventLoop.makePromise()
        whenTaken = promise
        return promise.futureResult
    }

    func end(_ trailers: HTTPFields?, _ number: Int) throws {
        let context = try answering(number)
        self.number += 1
        let end = HTTPServerResponsePart.end(trailers.map(HTTPHeaders.init))
        unanswered -= 1
        if unanswered <= 0, !isArriving { deadline.set(after: services.settings.idleTimeout) }
        if isLast || isInputClosed && later.isEmpty { return writeLast(end) }
        context.writeAndFlush(wrapOutboundOut(end), promise: nil)
        guard case .answering(nil) = state else {
            isBodyHeld = false
            state = .skipping
            return readOn()
        }
        next()
    }

    func abandon(_ number: Int) {
        if number == self.number { close() }
    }

    private func answering(_ number: Int) throws -> ChannelHandlerContext {
        guard number == self.number, case .answering = state, let context else {
            throw ChannelError.ioOnClosedChannel
        }
        return context
    }

    private func writeLast(_ end: HTTPServerResponsePart) {
        guard let context else { return }
        state = .over
        deadline.set(after: services.settings.idleTimeout)
        context.writeAndFlush(wrapOutboundOut(end)).whenComplete { [channel] _ in
            channel.close(promise: nil)
        }
    }

    private func close() {
        state = .over
        channel.close(promise: nil)
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        if !channel.isWritable {
            deadline.set(after: services.settings.idleTimeout)
        } else {
            if !isArriving, unanswered > 0 { deadline.clear() }
            whenTaken?.succeed()
            whenTaken = nil
        }
        context.fireChannelWritabilityChanged()
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
        guard let error = error as? HTTPParserError else { return close() }
        fail(error)
    }

    private func fail(_ error: HTTPParserError) {
        switch state {
        case .idle, .collecting: refuse(error)
        case .answering(let body?):
            body.finish(error)
            isLast = true
            state = .answering(nil)
        case .answering(nil): refused = error
        case .skipping: close()
        case .over: break
        }
    }

    private func refuse(_ error: HTTPParserError) {
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
        ]
        SecurityHeaders.apply(to: &fields, isSecure: services.settings.isSecure)
        let head = HTTPResponse(
            status: .init(code: failure.status ?? failure.code.text.status), headerFields: fields)
        context.write(wrapOutboundOut(.head(HTTPResponseHead(head))), promise: nil)
        context.write(wrapOutboundOut(.body(.byteBuffer(body))), promise: nil)
        writeLast(.end(nil))
    }
}
