// Turns a connection of the HTTP server into a WebSocket when the router has answered 101.
// SPDX-License-Identifier: Apache-2.0

import Crypto
import Domain
import Foundation
import HTTPTypes
import Hummingbird
import HummingbirdCore
import NIOCore
import NIOHTTP1
import NIOHTTPTypes
import NIOHTTPTypesHTTP1
import NIOWebSocket

extension HTTPField.Name {
    static let webSocketKey = HTTPField.Name("Sec-WebSocket-Key") ?? .eTag
    static let webSocketAccept = HTTPField.Name("Sec-WebSocket-Accept") ?? .eTag
    static let webSocketVersion = HTTPField.Name("Sec-WebSocket-Version") ?? .eTag
}

/// A route's wish to go on as a WebSocket. Sent through the channel before the route answers 101.
struct SocketOpening: Sendable {
    /// Called on the channel's event loop.
    var makeEndpoint: @Sendable () -> any SocketEndpoint
}

/// The opening handshake (RFC 6455 §4.2).
enum SocketHandshake {
    private static let guid = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

    static func isAsked(_ headers: HTTPFields) -> Bool {
        headers[.upgrade]?.lowercased() == "websocket"
            && SocketCredential.names(headers[.connection]).contains {
                $0.lowercased() == "upgrade"
            }
    }

    /// The headers of the 101; 426 for a request that is no handshake, 400 for a wrong one.
    static func answer(_ request: Request) throws(MarsadError) -> HTTPFields {
        let headers = request.headers
        guard request.method == .get, isAsked(headers), headers[.webSocketVersion] == "13" else {
            throw MarsadError(
                .invalidRequest, status: 426,
                details: ["reason": "this address speaks WebSocket, version 13"])
        }
        guard let key = headers[.webSocketKey], Data(base64Encoded: key)?.count == 16 else {
            throw MarsadError(.invalidRequest, details: ["header": "Sec-WebSocket-Key"])
        }
        let digest = Insecure.SHA1.hash(data: Data((key + guid).utf8))
        var answer: HTTPFields = [.connection: "upgrade", .upgrade: "websocket"]
        answer[.webSocketAccept] = Data(digest).base64EncodedString()
        let offered = SocketCredential.names(headers[.webSocketProtocol])
        if offered.contains(SocketCredential.subprotocol) {
            answer[.webSocketProtocol] = SocketCredential.subprotocol
        }
        return answer
    }
}

/// Stands between the HTTP codec and the router. Requests go through; so a request to upgrade is
/// limited, authenticated, counted and refused like any other. What the router answers with 101
/// becomes a WebSocket.
final class WebSocketGate: ChannelDuplexHandler, RemovableChannelHandler {
    typealias InboundIn = HTTPRequestPart
    typealias InboundOut = HTTPRequestPart
    typealias OutboundIn = HTTPResponsePart
    typealias OutboundOut = HTTPResponsePart

    /// Bytes that may wait to be sent before a client counts as slow.
    private static let waitingBytes = 32 * 1024
    /// The kernel's share: small, so that what a slow client reads at last is not minutes old.
    private static let kernelBytes = 64 * 1024

    private enum State {
        case requests
        case opening(SocketOpening)
        case switched
    }

    private var state = State.requests
    private var requests = 0
    private var answers = 0
    /// Which request asked for an upgrade, of any kind: the decoder reads nothing behind it, so the
    /// connection ends with its answer.
    private var upgradeRequest: Int?

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        if case .head(let head) = unwrapInboundIn(data) {
            requests += 1
            if head.headerFields[.upgrade] != nil { upgradeRequest = requests }
        }
        context.fireChannelRead(data)
    }

    func triggerUserOutboundEvent(
        context: ChannelHandlerContext, event: Any, promise: EventLoopPromise<Void>?
    ) {
        guard let opening = event as? SocketOpening else {
            context.triggerUserOutboundEvent(event, promise: promise)
            return
        }
        state = .opening(opening)
        promise?.succeed()
    }

    func write(
        context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?
    ) {
        let part = unwrapOutboundIn(data)
        switch (state, part) {
        case (.opening(let opening), .head(let head)) where head.status.code == 101:
            state = .switched
            promise?.succeed()
            upgrade(context, head.headerFields, opening)
        case (.opening, .head):
            state = .requests
            passOn(context, part, promise)
        case (.switched, _):
            // The end of the answer that was the handshake.
            promise?.succeed()
        default:
            passOn(context, part, promise)
        }
    }

    private func passOn(
        _ context: ChannelHandlerContext, _ part: HTTPResponsePart,
        _ promise: EventLoopPromise<Void>?
    ) {
        let isLast = upgradeRequest == answers + 1
        if case .end = part { answers += 1 }
        guard isLast else {
            context.write(wrapOutboundOut(part), promise: promise)
            return
        }
        switch part {
        case .head(var head):
            head.headerFields[.connection] = "close"
            context.write(wrapOutboundOut(.head(head)), promise: promise)
        case .body:
            context.write(wrapOutboundOut(part), promise: promise)
        case .end:
            context.writeAndFlush(wrapOutboundOut(part), promise: promise)
            context.close(promise: nil)
        }
    }

    private func upgrade(
        _ context: ChannelHandlerContext, _ headers: HTTPFields, _ opening: SocketOpening
    ) {
        let sync = context.pipeline.syncOperations
        var leaving: [EventLoopFuture<Void>] = []
        func remove(_ type: (some RemovableChannelHandler).Type) {
            guard let found = try? sync.context(handlerType: type) else { return }
            leaving.append(sync.removeHandler(context: found))
        }
        remove(HTTPConnectionStateHandler.self)
        remove(ConnectionGuard.self)
        remove(HTTP1ToHTTPServerCodec.self)
        remove(RequestLine.self)
        remove(ByteToMessageHandler<HTTPRequestDecoder>.self)
        remove(HTTPResponseEncoder.self)
        let bound = NIOLoopBound((self, context), eventLoop: context.eventLoop)
        EventLoopFuture.andAllSucceed(leaving, on: context.eventLoop).whenComplete { result in
            let (gate, context) = bound.value
            guard case .success = result, context.channel.isActive else {
                context.close(promise: nil)
                return
            }
            gate.begin(context, headers, opening)
        }
    }

    private func begin(
        _ context: ChannelHandlerContext, _ headers: HTTPFields, _ opening: SocketOpening
    ) {
        var handshake = ByteBuffer(string: "HTTP/1.1 101 Switching Protocols\r\n")
        for field in headers where field.name != .contentLength {
            handshake.writeString("\(field.name.rawName): \(field.value)\r\n")
        }
        handshake.writeString("\r\n")
        let channel = context.channel
        channel.setOption(
            .writeBufferWaterMark, value: .init(low: Self.waitingBytes / 2, high: Self.waitingBytes)
        ).whenComplete { _ in }
        channel.setOption(.socketOption(.so_sndbuf), value: Self.kernelBytes).whenComplete { _ in }
        // The handlers that would encode it have left; it goes out as the bytes it is.
        context.writeAndFlush(NIOAny(handshake), promise: nil)
        let sync = context.pipeline.syncOperations
        do {
            try sync.addHandlers(
                [
                    ByteToMessageHandler(
                        WebSocketFrameDecoder(maxFrameSize: WebSocketHandler.messageBytes)),
                    WebSocketHandler(opening.makeEndpoint()),
                ], position: .before(self))
            sync.removeHandler(self, promise: nil)
        } catch {
            context.close(promise: nil)
        }
    }
}
