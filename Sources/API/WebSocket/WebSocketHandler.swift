// An open WebSocket: text messages in and out, pings, and an orderly end (RFC 6455).
// SPDX-License-Identifier: Apache-2.0

package import NIOCore
import NIOWebSocket

/// Who speaks through a socket. All calls come on the socket's event loop.
package protocol SocketEndpoint: AnyObject {
    func opened(_ socket: any TextSocket)
    func received(_ text: ByteBuffer)
    /// What was sent has gone out far enough that more may be sent.
    func becameWritable()
    /// The time of `wake(in:)` has come.
    func woke()
    func closed()
}

/// The socket as its endpoint has it; to be used on its event loop only.
package protocol TextSocket: AnyObject {
    /// False while a client takes less than it is sent: what is sent then waits in memory.
    var isWritable: Bool { get }
    /// Sends frames as they are (`WebSocketFrames`).
    func send(_ frames: ByteBuffer)
    func close(_ code: SocketClosure)
    /// Calls `woke()` once, after this time; replaces an earlier wish.
    func wake(in delay: Duration)
}

/// Why a socket is closed (RFC 6455 §7.4.1; 4000 and above are ours).
package enum SocketClosure: UInt16 {
    case normal = 1000
    case goingAway = 1001
    case protocolError = 1002
    case wrongKind = 1003
    case notText = 1007
    case policy = 1008
    case tooLarge = 1009
    /// What the caller may know has changed: it comes back and is told anew.
    case restart = 1012
    /// The right to this socket has ended: sign in again.
    case unauthorized = 4401
}

/// Frames of a server, which are never masked: one encoding serves every client (RFC 6455 §5.2).
enum WebSocketFrames {
    static func text(_ text: ByteBuffer) -> ByteBuffer { frame(0x81, text) }
    static func ping() -> ByteBuffer { frame(0x89, ByteBuffer()) }
    /// - Parameter data: at most 125 bytes, as it came with a ping.
    static func pong(_ data: ByteBuffer) -> ByteBuffer { frame(0x8A, data) }
    static func close(_ code: UInt16) -> ByteBuffer {
        frame(0x88, ByteBuffer(integer: code))
    }

    private static func frame(_ first: UInt8, _ payload: ByteBuffer) -> ByteBuffer {
        var frame = ByteBuffer()
        frame.reserveCapacity(payload.readableBytes + 10)
        frame.writeInteger(first)
        switch payload.readableBytes {
        case ...125: frame.writeInteger(UInt8(payload.readableBytes))
        case ...65_535:
            frame.writeInteger(UInt8(126))
            frame.writeInteger(UInt16(payload.readableBytes))
        default:
            frame.writeInteger(UInt8(127))
            frame.writeInteger(UInt64(payload.readableBytes))
        }
        frame.writeImmutableBuffer(payload)
        return frame
    }
}

/// The end of the pipeline of a connection that has become a WebSocket.
final class WebSocketHandler: ChannelInboundHandler, TextSocket {
    typealias InboundIn = WebSocketFrame
    typealias OutboundOut = ByteBuffer

    static let messageBytes = 64 * 1024
    static let messagesPerSecond = 20
    private static let longestFragments = 64
    private static let pingInterval = TimeAmount.seconds(30)
    private static let unansweredPings = 2
    /// How long a peer may take to answer a close.
    private static let closingTime = TimeAmount.seconds(2)

    private let endpoint: any SocketEndpoint
    private var context: ChannelHandlerContext?
    private var isClosing = false
    private var pings = 0
    private var pinger: Scheduled<Void>?
    private var waker: Scheduled<Void>?
    /// The message whose last fragment has not come yet (§5.4).
    private var unfinished: ByteBuffer?
    private var fragments = 0
    private var messagesLeft = WebSocketHandler.messagesPerSecond
    private var countedSince = NIODeadline.now()

    init(_ endpoint: any SocketEndpoint) { self.endpoint = endpoint }

    // MARK: TextSocket

    package var isWritable: Bool { context?.channel.isWritable ?? false }

    package func send(_ frames: ByteBuffer) {
        guard !isClosing else { return }
        context?.writeAndFlush(wrapOutboundOut(frames), promise: nil)
    }

    package func close(_ code: SocketClosure) {
        guard let context, !isClosing else { return }
        context.writeAndFlush(wrapOutboundOut(WebSocketFrames.close(code.rawValue)), promise: nil)
        isClosing = true
        let channel = context.channel
        context.eventLoop.scheduleTask(in: Self.closingTime) { channel.close(promise: nil) }
    }

    package func wake(in delay: Duration) {
        waker?.cancel()
        waker = context?.eventLoop.assumeIsolated().scheduleTask(in: TimeAmount(delay)) {
            self.endpoint.woke()
        }
    }

    // MARK: The channel

    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
        schedulePing(context)
        endpoint.opened(self)
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        pinger?.cancel()
        waker?.cancel()
        guard self.context != nil else { return }
        self.context = nil
        endpoint.closed()
    }

    func channelInactive(context: ChannelHandlerContext) {
        handlerRemoved(context: context)
        context.fireChannelInactive()
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        if context.channel.isWritable, !isClosing { endpoint.becameWritable() }
        context.fireChannelWritabilityChanged()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let frame = unwrapInboundIn(data)
        guard !isClosing || frame.opcode == .connectionClose else { return }
        // A client masks everything, or is none (§5.1).
        guard frame.maskKey != nil, !frame.rsv1, !frame.rsv2, !frame.rsv3 else {
            return close(.protocolError)
        }
        pings = 0
        switch frame.opcode {
        case .connectionClose:
            if !isClosing {
                let code = frame.unmaskedData.getInteger(at: 0, as: UInt16.self)
                context.writeAndFlush(
                    wrapOutboundOut(WebSocketFrames.close(code ?? SocketClosure.normal.rawValue)),
                    promise: nil)
                isClosing = true
            }
            context.close(promise: nil)
        case .pong: break
        case .ping:
            guard takeMessage() else { return close(.policy) }
            if isWritable { send(WebSocketFrames.pong(frame.unmaskedData)) }
        case .text, .continuation: gather(frame)
        case .binary: close(.wrongKind)
        default: close(.protocolError)
        }
    }

    private func gather(_ frame: WebSocketFrame) {
        guard (frame.opcode == .continuation) == (unfinished != nil) else {
            return close(.protocolError)
        }
        var message = unfinished ?? ByteBuffer()
        message.writeImmutableBuffer(frame.unmaskedData)
        fragments += 1
        guard message.readableBytes <= Self.messageBytes, fragments <= Self.longestFragments else {
            return close(.tooLarge)
        }
        guard frame.fin else {
            unfinished = message
            return
        }
        unfinished = nil
        fragments = 0
        guard takeMessage() else { return close(.policy) }
        guard message.isText else { return close(.notText) }
        endpoint.received(message)
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        switch event {
        case is ChannelShouldQuiesceEvent: close(.goingAway)
        case ChannelEvent.inputClosed: context.close(promise: nil)
        default: context.fireUserInboundEventTriggered(event)
        }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        switch error {
        case NIOWebSocketError.invalidFrameLength: close(.tooLarge)
        case is NIOWebSocketError: close(.protocolError)
        default: context.close(promise: nil)
        }
    }

    private func takeMessage() -> Bool {
        let now = NIODeadline.now()
        if now - countedSince >= .seconds(1) {
            countedSince = now
            messagesLeft = Self.messagesPerSecond
        }
        messagesLeft -= 1
        return messagesLeft >= 0
    }

    private func schedulePing(_ context: ChannelHandlerContext) {
        pinger = context.eventLoop.assumeIsolated().scheduleTask(in: Self.pingInterval) {
            guard let context = self.context else { return }
            guard self.pings < Self.unansweredPings else { return context.close(promise: nil) }
            self.pings += 1
            // One that reads nothing gets no more pings; it does not answer those it has.
            if self.isWritable { self.send(WebSocketFrames.ping()) }
            self.schedulePing(context)
        }
    }
}

extension ByteBuffer {
    /// Whether all of it is UTF-8.
    fileprivate var isText: Bool {
        String(validating: readableBytesView, as: UTF8.self) != nil
    }
}
