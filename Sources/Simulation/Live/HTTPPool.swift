// A few kept HTTP connections to one server, for clients that join by the hundred.
// SPDX-License-Identifier: Apache-2.0

package import NIOCore
package import NIOHTTP1
import NIOPosix
package import Primitives

/// What went wrong between client and server, below any status.
package enum HTTPFailure: Error, Sendable {
    case unreachable(String)
    case closed
    case timedOut
}

/// HTTP/1.1 requests over at most `size` connections, one at a time on each.
package actor HTTPPool {
    package struct Request: Sendable {
        package var method: HTTPMethod
        package var path: String
        package var headers: [(String, String)] = []
        package var body = ByteBuffer()

        package init(_ method: HTTPMethod, _ path: String) {
            self.method = method
            self.path = path
        }
    }

    package struct Response: Sendable {
        package var status: Int
        package var headers: HTTPHeaders
        package var body: ByteBuffer
        /// When the request was written, after any wait for a connection.
        package var sentAt: Instant
    }

    private let host: String
    private let port: Int
    private let group: any EventLoopGroup
    private let now: @Sendable () -> Instant
    private var idle: [any Channel] = []
    private var free: Int
    private var waiting = CircularBuffer<CheckedContinuation<Void, Never>>()

    package init(
        host: String, port: Int, size: Int = 8, group: any EventLoopGroup,
        now: @escaping @Sendable () -> Instant
    ) {
        self.host = host
        self.port = port
        self.group = group
        self.now = now
        free = size
    }

    /// The answer to the request. One that meets a connection the server has just closed is sent
    /// again on a new one.
    package func send(_ request: Request) async throws -> Response {
        await take()
        defer { give() }
        while let kept = idle.popLast() {
            guard kept.isActive else { continue }
            do {
                return try await exchange(request, on: kept)
            } catch HTTPFailure.closed {
                break
            }
        }
        return try await exchange(request, on: try await connect())
    }

    /// Closes what is idle.
    package func close() async {
        for channel in idle { try? await channel.close() }
        idle = []
    }

    private func take() async {
        if free > 0 {
            free -= 1
            return
        }
        await withCheckedContinuation { waiting.append($0) }
    }

    /// Hands the place to who waits longest.
    private func give() {
        if let next = waiting.popFirst() { next.resume() } else { free += 1 }
    }

    private func exchange(_ request: Request, on channel: any Channel) async throws -> Response {
        let sentAt = now()
        let promise = channel.eventLoop.makePromise(of: HTTPExchange.Answer.self)
        var headers = HTTPHeaders([("Host", "\(host):\(port)")])
        for (name, value) in request.headers { headers.add(name: name, value: value) }
        headers.add(name: "Content-Length", value: String(request.body.readableBytes))
        let head = HTTPRequestHead(
            version: .http1_1, method: request.method, uri: request.path, headers: headers)
        channel.writeAndFlush(
            HTTPExchange.Job(head: head, body: request.body, promise: promise), promise: nil)
        let answer = try await promise.futureResult.get()
        if answer.head.isKeepAlive, channel.isActive {
            idle.append(channel)
        } else {
            channel.close(promise: nil)
        }
        return Response(
            status: Int(answer.head.status.code), headers: answer.head.headers,
            body: answer.body, sentAt: sentAt)
    }

    private func connect() async throws -> any Channel {
        do {
            return try await ClientBootstrap(group: group)
                .channelOption(.socketOption(.so_reuseaddr), value: 1)
                .channelOption(.tcpOption(.tcp_nodelay), value: 1)
                .connectTimeout(.seconds(5))
                .channelInitializer { channel in
                    channel.eventLoop.makeCompletedFuture {
                        try channel.pipeline.syncOperations.addHTTPClientHandlers()
                        try channel.pipeline.syncOperations.addHandler(HTTPExchange())
                    }
                }
                .connect(host: host, port: port).get()
        } catch {
            throw HTTPFailure.unreachable("\(host):\(port): \(error)")
        }
    }
}

/// One request and its answer after the other.
private final class HTTPExchange: ChannelDuplexHandler {
    typealias InboundIn = HTTPClientResponsePart
    typealias OutboundIn = Job
    typealias OutboundOut = HTTPClientRequestPart

    struct Job: Sendable {
        var head: HTTPRequestHead
        var body: ByteBuffer
        var promise: EventLoopPromise<Answer>
    }

    struct Answer: Sendable {
        var head: HTTPResponseHead
        var body: ByteBuffer
    }

    private static let timeout = TimeAmount.seconds(20)
    private static let maxBodyBytes = 16 << 20

    private var promise: EventLoopPromise<Answer>?
    private var head: HTTPResponseHead?
    private var body = ByteBuffer()
    private var timer: Scheduled<Void>?

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        let job = unwrapOutboundIn(data)
        guard self.promise == nil, context.channel.isActive else {
            return job.promise.fail(HTTPFailure.closed)
        }
        self.promise = job.promise
        let channel = context.channel
        timer = context.eventLoop.assumeIsolated().scheduleTask(in: Self.timeout) {
            self.fail(HTTPFailure.timedOut)
            channel.close(promise: nil)
        }
        context.write(wrapOutboundOut(.head(job.head)), promise: nil)
        if job.body.readableBytes > 0 {
            context.write(wrapOutboundOut(.body(.byteBuffer(job.body))), promise: nil)
        }
        context.write(wrapOutboundOut(.end(nil)), promise: promise)
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch unwrapInboundIn(data) {
        case .head(let head):
            self.head = head
            body.clear()
        case .body(var part):
            body.writeBuffer(&part)
            if body.readableBytes > Self.maxBodyBytes {
                fail(HTTPFailure.closed)
                context.close(promise: nil)
            }
        case .end:
            guard let head, let promise else { return }
            timer?.cancel()
            self.promise = nil
            promise.succeed(Answer(head: head, body: body))
            body = ByteBuffer()
        }
    }

    func channelInactive(context: ChannelHandlerContext) {
        fail(HTTPFailure.closed)
        context.fireChannelInactive()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        fail(HTTPFailure.closed)
        context.close(promise: nil)
    }

    private func fail(_ error: HTTPFailure) {
        timer?.cancel()
        promise?.fail(error)
        promise = nil
    }
}
