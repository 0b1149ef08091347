// Turns a connection of the HTTP server into a WebSocket when its route has answered 101.
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

/// A route's wish to go on as a WebSocket. Sent through the channel before the route answers 101; so a
/// request to upgrade is limited, authenticated, counted and refused like any other.
struct SocketOpening: Sendable {
    /// Bytes that may wait to be sent before a client counts as slow.
    private static let waitingBytes = 32 * 1024
    /// The kernel's share: small, so that what a slow client reads at last is not minutes old.
    private static let kernelBytes = 64 * 1024

    /// Called on the channel's event loop.
    var makeEndpoint: @Sendable () -> any SocketEndpoint

    /// Puts the frames of WebSocket in the place of HTTP.
    func upgrade(
        _ context: ChannelHandlerContext, _ headers: HTTPFields, instead connection: HTTPConnection
    ) {
        let sync = context.pipeline.syncOperations
        var leaving: [EventLoopFuture<Void>] = []
        func remove(_ type: (some RemovableChannelHandler).Type) {
            guard let found = try? sync.context(handlerType: type) else { return }
            leaving.append(sync.removeHandler(context: found))
        }
        remove(ByteToMessageHandler<HTTPRequestDecoder>.self)
        remove(HTTPResponseEncoder.self)
        let bound = NIOLoopBound((connection, context), eventLoop: context.eventLoop)
        EventLoopFuture.andAllSucceed(leaving, on: context.eventLoop).whenComplete { result in
            let (connection, context) = bound.value
            guard case .success = result, context.channel.isActive, !connection.isEnding else {
                context.close(promise: nil)
                return
            }
            begin(context, headers, instead: connection)
        }
    }

    private func begin(
        _ context: ChannelHandlerContext, _ headers: HTTPFields, instead connection: HTTPConnection
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
        // The handler that would encode it has left; it goes out as the bytes it is.
        context.writeAndFlush(NIOAny(handshake), promise: nil)
        let sync = context.pipeline.syncOperations
        do {
            try sync.addHandlers(
                [
                    ByteToMessageHandler(
                        WebSocketFrameDecoder(maxFrameSize: WebSocketHandler.messageBytes)),
                    WebSocketHandler(makeEndpoint()),
                ], position: .before(connection))
            sync.removeHandler(connection, promise: nil)
            // What was held back while the request was answered.
            channel.read()
        } catch {
            context.close(promise: nil)
        }
    }
}
