// How long a connection may keep us waiting, and what is said to who speaks no HTTP.
// SPDX-License-Identifier: Apache-2.0

import Domain
import HTTPTypes
import NIOCore
import NIOFoundationCompat
import NIOHTTP1
import NIOHTTPTypes

/// Closes a connection whose request does not arrive, that stays idle, or that takes nothing of its
/// answer; and says in the one shape what the parser refused.
final class ConnectionGuard: ChannelDuplexHandler, RemovableChannelHandler {
    typealias InboundIn = HTTPRequestPart
    typealias InboundOut = HTTPRequestPart
    typealias OutboundIn = HTTPResponsePart
    typealias OutboundOut = HTTPResponsePart

    private let count: ConnectionCount
    private let settings: GatewaySettings
    private let makeID: @Sendable () -> String
    /// When the connection is closed, unless something happens; and who looks at that. Moved with each
    /// request, so a timer that comes too early is set again instead of each request setting one.
    private var deadline: NIODeadline?
    private var timer: (due: NIODeadline, task: Scheduled<Void>)?
    private var isReading = false
    private var unanswered = 0
    private var isMalformed = false
    private var isTooLarge = false

    init(
        count: ConnectionCount, settings: GatewaySettings, makeID: @escaping @Sendable () -> String
    ) {
        self.count = count
        self.settings = settings
        self.makeID = makeID
    }

    func handlerAdded(context: ChannelHandlerContext) {
        guard count.admit(context.channel) else {
            let channel = context.channel
            context.eventLoop.execute { channel.close(promise: nil) }
            return
        }
        try? context.pipeline.syncOperations.addHandler(
            RequestLine(),
            position: .after(
                context.pipeline.syncOperations.handler(
                    type: ByteToMessageHandler<HTTPRequestDecoder>.self)))
        closeAfter(settings.requestTimeout, context)
    }

    func handlerRemoved(context: ChannelHandlerContext) { timer?.task.cancel() }

    func channelInactive(context: ChannelHandlerContext) {
        timer?.task.cancel()
        context.fireChannelInactive()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch unwrapInboundIn(data) {
        case .head:
            isReading = true
            unanswered += 1
            closeAfter(settings.requestTimeout, context)
        case .body: break
        case .end:
            isReading = false
            deadline = nil
        }
        context.fireChannelRead(data)
    }

    func write(
        context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?
    ) {
        switch unwrapOutboundIn(data) {
        case .head(let head) where isMalformed && head.headerFields[.requestID] == nil:
            // The server's own answer to what it could not parse: it has no body.
            return refuse(context, head, promise)
        case .end:
            unanswered -= 1
            context.write(data, promise: promise)
            if unanswered <= 0, !isReading { closeAfter(settings.idleTimeout, context) }
        default: context.write(data, promise: promise)
        }
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        if !context.channel.isWritable {
            closeAfter(settings.idleTimeout, context)
        } else if !isReading, unanswered > 0 {
            deadline = nil
        }
        context.fireChannelWritabilityChanged()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        if let error = error as? HTTPParserError {
            isMalformed = true
            isTooLarge = error == .headerOverflow
        }
        context.fireErrorCaught(error)
    }

    private func refuse(
        _ context: ChannelHandlerContext, _ head: HTTPResponse, _ promise: EventLoopPromise<Void>?
    ) {
        let id = makeID()
        // RFC 6585 §5.
        let failure =
            isTooLarge
            ? MarsadError(
                .payloadTooLarge, status: 431, details: ["reason": "the header is too large"])
            : MarsadError(
                .invalidRequest, details: ["reason": "this is not a request of HTTP/1.1"])
        let body = (try? jsonBytes(ErrorBody(failure, requestID: id))) ?? ByteBuffer()
        var head = head
        head.status = .init(code: failure.status ?? failure.code.text.status)
        head.headerFields[.contentType] = "application/json; charset=utf-8"
        head.headerFields[.contentLength] = "\(body.readableBytes)"
        head.headerFields[.connection] = "close"
        head.headerFields[.requestID] = id
        SecurityHeaders.apply(to: &head.headerFields, isSecure: settings.isSecure)
        context.write(wrapOutboundOut(.head(head)), promise: nil)
        context.write(wrapOutboundOut(.body(body)), promise: promise)
    }

    private func closeAfter(_ time: Duration, _ context: ChannelHandlerContext) {
        let deadline = context.eventLoop.now + TimeAmount(time)
        self.deadline = deadline
        if let timer, timer.due <= deadline { return }
        look(at: deadline, context)
    }

    private func look(at due: NIODeadline, _ context: ChannelHandlerContext) {
        timer?.task.cancel()
        let task = context.eventLoop.assumeIsolated().scheduleTask(deadline: due) { [self] in
            timer = nil
            guard let deadline else { return }
            guard deadline <= due else { return look(at: deadline, context) }
            context.close(promise: nil)
        }
        timer = (due, task)
    }
}
