// A WHEP server of made-up frames on real sockets: what the load client is tried against.
// SPDX-License-Identifier: Apache-2.0

import Foundation
import NIOCore
import NIOHTTP1
import NIOPosix
import Primitives
import Simulation
import WebRTC

/// Answers the load client's requests and sends every viewer 50 frames a second. All of it lives
/// on one event loop.
final class LiveSocketDouble {
    struct Counts: Sendable {
        var reserved = 0
        var released = 0
        var left = 0
        var posted = 0
    }

    private(set) var counts = Counts()
    /// How many offers are first answered with 503.
    var refusals = 0

    private final class Place {
        let session: LiveServerDouble
        let channel: any Channel
        var viewer: SocketAddress?
        var number: UInt64 = 0

        init(session: LiveServerDouble, channel: any Channel) {
            self.session = session
            self.channel = channel
        }
    }

    private let loop: any EventLoop
    private let identity: DTLSIdentity
    private var places: [String: Place] = [:]
    private var timer: RepeatedTask?
    private static let framePeriod = TimeAmount.milliseconds(20)

    init(loop: any EventLoop) throws {
        self.loop = loop
        identity = try DTLSIdentity()
    }

    static var now: Instant {
        Instant(nanoseconds: Int64(NIODeadline.now().uptimeNanoseconds))
    }

    static var wallTime: WallTime {
        WallTime(microseconds: Int64(Date().timeIntervalSince1970 * 1e6))
    }

    /// Starts serving on a free port; on the loop.
    func start() -> EventLoopFuture<any Channel> {
        let bound = NIOLoopBound(self, eventLoop: loop)
        timer = loop.scheduleRepeatedTask(
            initialDelay: Self.framePeriod, delay: Self.framePeriod
        ) { _ in bound.value.sendFrames() }
        return ServerBootstrap(group: loop)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.configureHTTPServerPipeline()
                    try channel.pipeline.syncOperations.addHandler(
                        RequestHandler(server: bound.value))
                }
            }
            .bind(host: "127.0.0.1", port: 0)
    }

    func stop() {
        timer?.cancel()
        for place in places.values { place.channel.close(promise: nil) }
        places = [:]
    }

    private func sendFrames() {
        for place in places.values where place.session.keys != nil {
            place.number += 1
            place.session.send(
                frame: place.number, isRandomAccessPoint: place.number % 10 == 1,
                wallTime: Self.wallTime)
            flush(place)
        }
    }

    fileprivate func receive(_ envelope: AddressedEnvelope<ByteBuffer>, for id: String) {
        guard let place = places[id], let port = envelope.remoteAddress.port else { return }
        place.viewer = envelope.remoteAddress
        let from = TransportAddress(
            host: envelope.remoteAddress.ipAddress ?? "", port: UInt16(clamping: port))
        guard let from else { return }
        try? place.session.receive(envelope.data, from: from, at: Self.now)
        flush(place)
    }

    /// Sends what waits; a run of equal packets in one piece where the kernel can cut it.
    private func flush(_ place: Place) {
        guard let viewer = place.viewer else { return }
        var rest = place.session.outputs[...]
        place.session.outputs = []
        while var bytes = rest.popFirst() {
            let size = bytes.readableBytes
            var isLast = !System.supportsUDPSegmentationOffload
            while !isLast, let next = rest.first, next.readableBytes <= size {
                isLast = next.readableBytes < size
                bytes.writeImmutableBuffer(next)
                rest.removeFirst()
            }
            let isMerged = bytes.readableBytes > size
            let metadata = AddressedEnvelope<ByteBuffer>.Metadata(
                ecnState: .transportNotCapable, packetInfo: nil,
                segmentSize: isMerged ? size : nil)
            place.channel.write(
                AddressedEnvelope(remoteAddress: viewer, data: bytes, metadata: metadata),
                promise: nil)
        }
        place.channel.flush()
    }

    // MARK: HTTP

    fileprivate struct Reply: Sendable {
        var status: HTTPResponseStatus
        var headers: [(String, String)] = []
        var body = ByteBuffer()
    }

    fileprivate func answer(_ head: HTTPRequestHead, _ body: ByteBuffer) -> EventLoopFuture<Reply> {
        let parts = head.uri.split(separator: "?")[0].split(separator: "/").map(String.init)
        var reply = Reply(status: .ok)
        switch (head.method, parts.dropFirst(2).first) {
        case (.GET, "cameras"):
            reply.body.writeString(
                #"{"cameras":[{"id":"a","status":"ONLINE"},{"id":"b","status":"OFFLINE"}]}"#)
        case (.POST, "stream") where parts.contains("heartbeat"):
            reply.body.writeString("{}")
        case (.POST, "stream"):
            counts.reserved += 1
            reply.status = .created
            reply.body.writeString(
                #"{"reservation_id":"r","token":"t","heartbeat_interval_seconds":10,"#
                    + #""transport":{"kind":"whep","url":"/api/v1/live/a/whep"}}"#)
        case (.DELETE, "stream"):
            counts.released += 1
            reply.status = .noContent
        case (.POST, "live"):
            if head.headers.first(name: "Authorization") != "Bearer t" {
                reply.status = .unauthorized
            } else if refusals > 0 {
                refusals -= 1
                reply.status = .serviceUnavailable
                reply.headers = [("Retry-After", "0")]
            } else {
                return open(body)
            }
        case (.DELETE, "live"):
            counts.left += 1
            guard let place = places.removeValue(forKey: parts.last ?? "") else {
                reply.status = .notFound
                break
            }
            try? place.session.close()
            flush(place)
            place.channel.close(promise: nil)
        default:
            reply.status = .notFound
        }
        return loop.makeSucceededFuture(reply)
    }

    private func open(_ offer: ByteBuffer) -> EventLoopFuture<Reply> {
        counts.posted += 1
        let id = String(counts.posted)
        let bound = NIOLoopBound(self, eventLoop: loop)
        return DatagramBootstrap(group: loop)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(
                        DatagramHandler(server: bound.value, id: id))
                }
            }
            .bind(host: "127.0.0.1", port: 0)
            .flatMapThrowing { channel in
                let server = bound.value
                var random = SystemRandomNumberGenerator()
                let session = try LiveServerDouble(
                    offer: offer, identity: server.identity,
                    address: TransportAddress(
                        ipv4: 0x7F00_0001, port: UInt16(channel.localAddress?.port ?? 0)),
                    at: Self.now, random: { random.next() })
                server.places[id] = Place(session: session, channel: channel)
                return Reply(
                    status: .created,
                    headers: [
                        ("Content-Type", "application/sdp"), ("ETag", "\"1\""),
                        ("Location", "/api/v1/live/sessions/\(id)"),
                    ], body: session.answer)
            }
    }
}

private final class DatagramHandler: ChannelInboundHandler {
    typealias InboundIn = AddressedEnvelope<ByteBuffer>
    private let server: LiveSocketDouble
    private let id: String

    init(server: LiveSocketDouble, id: String) {
        self.server = server
        self.id = id
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        server.receive(unwrapInboundIn(data), for: id)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {}
}

private final class RequestHandler: ChannelInboundHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias OutboundOut = HTTPServerResponsePart
    private let server: LiveSocketDouble
    private var head: HTTPRequestHead?
    private var body = ByteBuffer()

    init(server: LiveSocketDouble) { self.server = server }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch unwrapInboundIn(data) {
        case .head(let head):
            self.head = head
            body.clear()
        case .body(var part): body.writeBuffer(&part)
        case .end:
            guard let head else { return }
            let channel = context.channel
            server.answer(head, body).whenComplete { result in
                let reply = (try? result.get()) ?? .init(status: .badRequest)
                var headers = HTTPHeaders(reply.headers)
                if reply.status != .noContent {
                    headers.add(name: "Content-Length", value: "\(reply.body.readableBytes)")
                }
                let answer = HTTPResponseHead(
                    version: .http1_1, status: reply.status, headers: headers)
                channel.write(HTTPServerResponsePart.head(answer), promise: nil)
                channel.write(HTTPServerResponsePart.body(.byteBuffer(reply.body)), promise: nil)
                channel.writeAndFlush(HTTPServerResponsePart.end(nil), promise: nil)
            }
        }
    }
}
