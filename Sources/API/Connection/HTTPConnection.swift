// One connection of a client, as a handler of NIO.
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
import Primitives

/// Carries out what `HTTPExchanges` says of a connection: takes requests from the decoder, gives each to a
/// task of its own, writes the answers, and closes. Hands the connection over when an answer makes it a
/// WebSocket.
final class HTTPConnection: ChannelDuplexHandler, RemovableChannelHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias OutboundIn = HTTPServerResponsePart
    typealias OutboundOut = HTTPServerResponsePart

    private let services: ConnectionServices
    private let channel: any Channel
    private let executor: LoopExecutor
    private let peer: ClientAddress
    private let deadline: ConnectionDeadline
    private var context: ChannelHandlerContext?

    private var exchanges: HTTPExchanges
    private var isDraining = false
    /// Of the request that is being answered, where it is not there yet.
    private var body: (number: Int, parts: StreamedBody)?
    /// What is left of the present answer's body; `nil` where nobody knows.
    private var bytesLeft: Int?
    /// Done when the client has caught up.
    private var whenTaken: EventLoopPromise<Void>?
    /// When the last answer is with the kernel.
    private var written: EventLoopFuture<Void>?
    private var opening: SocketOpening?
    private var tasks = 0
    private let ending: EventLoopPromise<Void>

    /// Done when this has left the connection and no task of its requests runs any more.
    var ended: EventLoopFuture<Void> { ending.futureResult }
    var isEnding: Bool { exchanges.isEnding }

    init(_ services: ConnectionServices, on channel: any Channel) {
        self.services = services
        self.channel = channel
        executor = ConnectionLoops.executor(on: channel.eventLoop)
        peer = ClientAddress(channel.remoteAddress)
        deadline = ConnectionDeadline(on: channel.eventLoop, services.world)
        let limits = HTTPExchanges.Limits(
            arrival: services.settings.requestTimeout, silence: services.settings.idleTimeout)
        exchanges = HTTPExchanges(limits, at: services.world.now())
        ending = channel.eventLoop.makePromise()
    }

    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
        deadline.onPassed = { [self] in
            exchanges.advance(to: now)
            drain()
        }
        guard services.count.admit(channel, from: peer) else {
            context.eventLoop.execute { [channel] in channel.close(promise: nil) }
            return
        }
        drain()
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        deadline.end()
        self.context = nil
        if tasks == 0 { ending.succeed() }
    }

    func channelInactive(context: ChannelHandlerContext) {
        exchanges.closed()
        drain()
        whenTaken?.fail(ChannelError.ioOnClosedChannel)
        whenTaken = nil
        context.fireChannelInactive()
    }

    // MARK: What happens to the connection

    private var now: Instant { services.world.now() }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        // What comes then is none of HTTP.
        guard !exchanges.isOver else { return }
        exchanges.receive(unwrapInboundIn(data), at: now)
        drain()
    }

    func read(context: ChannelHandlerContext) {
        exchanges.allowRead(at: now)
        drain()
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        if channel.isWritable {
            whenTaken?.succeed()
            whenTaken = nil
        }
        exchanges.setWritable(channel.isWritable, at: now)
        drain()
        context.fireChannelWritabilityChanged()
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        switch event {
        case ChannelEvent.inputClosed: exchanges.endInput(at: now)
        case is ChannelShouldQuiesceEvent: exchanges.stop(at: now)
        default: return context.fireUserInboundEventTriggered(event)
        }
        drain()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        switch error {
        case let error as HTTPParserError: exchanges.fail(error, at: now)
        case is ByteToMessageDecoderError.PayloadTooLargeError:
            exchanges.fail(.headerOverflow, at: now)
        // What came behind an error that was told.
        case is ByteToMessageDecoderError: break
        // The end of the input follows, and the decoder says whether it was one of a request.
        case let error as NIOSSLError where error == .uncleanShutdown: break
        default: exchanges.close()
        }
        drain()
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

    // MARK: What follows from it

    private func drain() {
        // What one output sets off comes behind those that were there.
        guard !isDraining else { return }
        isDraining = true
        while let output = exchanges.pollOutput() { perform(output) }
        isDraining = false
        deadline.set(at: exchanges.deadline)
    }

    private func perform(_ output: HTTPExchanges.Output) {
        switch output {
        case .ask(let head, .whole(let bytes), let number):
            answer(head, RequestBody(buffer: bytes), number)
        case .ask(let head, .streamed, let number): answer(head, stream(number), number)
        case .body(let bytes):
            if let body, !body.parts.yield(bytes) { exchanges.holdBody(body.number) }
        case .bodyEnd(let isWhole):
            body?.parts.finish(isWhole: isWhole)
            body = nil
        case .leaveToSend(let version):
            let head = HTTPResponseHead(version: version, status: .continue)
            context?.writeAndFlush(wrapOutboundOut(.head(head)), promise: nil)
        case .refuse(let error, let isHead): refuse(error, isHead: isHead)
        case .read: context?.read()
        case .watchAnswers: watchAnswers()
        case .closeOutput: channel.close(mode: .output, promise: nil)
        case .close: channel.close(promise: nil)
        }
    }

    /// A body that is asked for as its handler takes it.
    private func stream(_ number: Int) -> RequestBody {
        let bound = NIOLoopBound(self, eventLoop: channel.eventLoop)
        let (parts, request) = StreamedBody.make { [loop = channel.eventLoop] in
            loop.execute {
                let connection = bound.value
                connection.exchanges.wantBody(number, at: connection.now)
                connection.drain()
            }
        }
        body = (number, parts)
        return request
    }

    private func answer(_ head: HTTPRequest, _ body: RequestBody, _ number: Int) {
        let request = Request(head: head, body: body)
        let context = MarsadRequestContext(on: channel, from: peer, services.logger)
        tasks += 1
        let writer = AnswerWriter(self, on: channel.eventLoop, number: number)
        Task(executorPreference: executor) { [responder = services.responder] in
            do {
                try await writer.write(try await responder.respond(to: request, context: context))
            } catch {
                // Nobody can be told: the client is gone, or has half an answer.
            }
            writer.taskEnded()
        }
    }

    private func watchAnswers() {
        guard let written else { return answersAreWritten() }
        written.assumeIsolated().whenComplete { [self] _ in answersAreWritten() }
    }

    private func answersAreWritten() {
        exchanges.answersAreWritten(at: now)
        drain()
    }

    // MARK: What a handler answers

    func begin(_ response: Response, _ number: Int) throws {
        let context = try answering(number)
        if response.status == .switchingProtocols, let opening {
            let isUpgraded = exchanges.upgrade(number)
            drain()
            if isUpgraded { opening.upgrade(context, response.headers, instead: self) }
            return
        }
        guard let connection = exchanges.beginAnswer(number) else {
            throw ChannelError.ioOnClosedChannel
        }
        var head = HTTPResponseHead(response.head)
        head.version = connection.version
        if connection.isLast { head.headers.replaceOrAdd(name: "Connection", value: "close") }
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
        let end = HTTPServerResponsePart.end(trailers.map(HTTPHeaders.init))
        written = context.writeAndFlush(wrapOutboundOut(end))
        exchanges.endAnswer(number, at: now)
        drain()
    }

    /// The task of a request has ended; a client that would wait for the rest of its answer is left.
    func taskEnded(_ number: Int) {
        exchanges.abandonAnswer(number)
        drain()
        tasks -= 1
        if tasks == 0, context == nil { ending.succeed() }
    }

    private func answering(_ number: Int) throws -> ChannelHandlerContext {
        guard exchanges.isAnswering(number), let context else {
            throw ChannelError.ioOnClosedChannel
        }
        return context
    }

    private func refuse(_ error: HTTPParserError, isHead: Bool) {
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
    }
}
