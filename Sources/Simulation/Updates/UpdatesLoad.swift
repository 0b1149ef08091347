// Many WebSocket clients of a server's updates, and how long a change takes to reach them all.
// SPDX-License-Identifier: Apache-2.0

import Foundation
package import NIOCore
import NIOHTTP1
import NIOPosix
package import Primitives
import Synchronization

/// Connects clients, some of which stop reading, takes reservations, and times until each client has
/// heard of each.
package struct UpdatesLoad: Sendable {
    package struct Settings: Sendable {
        package var host = "127.0.0.1"
        package var port = 8080
        /// That read, and those that stop reading once they are connected.
        package var clients = 1000
        package var sleepers = 0
        package var changes = 50
        package var serverPID: Int32?

        package init() {}
    }

    package struct Report: Encodable, Sendable {
        package var clients: Int
        package var sleepers: Int
        package var changes: Int
        package var deliveries: Int
        package var missing: Int
        /// From the first byte of the request that makes the change to the message's arrival.
        package var p50Ms: Double
        package var p99Ms: Double
        package var maxMs: Double
        package var serverCpuSeconds: Double?
        package var serverMegabytesBefore: Double?
        package var serverMegabytesAfter: Double?
    }

    /// The server did something that makes measuring meaningless.
    package struct Failure: Error, CustomStringConvertible {
        package var description: String
    }

    private let settings: Settings
    private let group: any EventLoopGroup
    private let now: @Sendable () -> Instant

    package init(
        _ settings: Settings, group: any EventLoopGroup, now: @escaping @Sendable () -> Instant
    ) {
        self.settings = settings
        self.group = group
        self.now = now
    }

    package func run() async throws -> Report {
        let pool = HTTPPool(
            host: settings.host, port: settings.port, size: 1, group: group, now: now)
        let camera = try await camera(pool)
        let arrivals = Arrivals()
        var channels: [any Channel] = []
        for number in 0..<(settings.clients + settings.sleepers) {
            let isReading = number < settings.clients
            channels.append(try await connect(isReading: isReading, arrivals))
        }
        try await arrivals.wait(for: settings.clients + settings.sleepers) { $0.opened }
        let before = settings.serverPID.flatMap { ProcessSample(pid: $0) }
        var delays: [Double] = []
        var reservations: [String] = []
        for _ in 0..<settings.changes {
            // A snapshot may have named the same number.
            arrivals.forget()
            let (id, usage, sentAt) = try await reserve(camera, pool)
            reservations.append(id)
            try? await arrivals.wait(for: settings.clients) { $0.times[usage]?.count ?? 0 }
            delays += arrivals.take(usage).map { ($0 - sentAt).inSeconds * 1000 }
        }
        let after = settings.serverPID.flatMap { ProcessSample(pid: $0) }
        for id in reservations {
            _ = try await pool.send(.init(.DELETE, "/api/v1/stream/release/\(id)"))
        }
        for channel in channels { channel.close(promise: nil) }
        await pool.close()
        return report(delays.sorted(), before, after)
    }

    private func report(
        _ delays: [Double], _ before: ProcessSample?, _ after: ProcessSample?
    ) -> Report {
        func percentile(_ share: Double) -> Double {
            guard let last = delays.indices.last else { return 0 }
            return delays[min(last, Int((Double(delays.count) * share).rounded(.up)) - 1)]
        }
        return Report(
            clients: settings.clients, sleepers: settings.sleepers, changes: settings.changes,
            deliveries: delays.count,
            missing: settings.clients * settings.changes - delays.count,
            p50Ms: percentile(0.5), p99Ms: percentile(0.99), maxMs: delays.last ?? 0,
            serverCpuSeconds: before.flatMap { b in after.map { $0.cpuSeconds - b.cpuSeconds } },
            serverMegabytesBefore: before?.residentMegabytes,
            serverMegabytesAfter: after?.residentMegabytes)
    }

    private func camera(_ pool: HTTPPool) async throws -> String {
        struct List: Decodable {
            struct Camera: Decodable { var id: String }
            var cameras: [Camera]
        }
        let answer = try await pool.send(.init(.GET, "/api/v1/cameras?limit=1"))
        guard
            let list = try? JSONDecoder().decode(
                List.self, from: Data(answer.body.readableBytesView)),
            let camera = list.cameras.first
        else { throw Failure(description: "the server has no camera to reserve") }
        return camera.id
    }

    private func reserve(
        _ camera: String, _ pool: HTTPPool
    ) async throws -> (id: String, usage: Int, sentAt: Instant) {
        struct Body: Decodable {
            var reservation_id: String
            var current_usage: Int
        }
        var request = HTTPPool.Request(.POST, "/api/v1/stream/reserve")
        request.headers = [("Content-Type", "application/json")]
        request.body = ByteBuffer(string: #"{"camera_id":"\#(camera)"}"#)
        let answer = try await pool.send(request)
        guard
            let body = try? JSONDecoder().decode(
                Body.self, from: Data(answer.body.readableBytesView))
        else { throw Failure(description: "a reservation was answered with \(answer.status)") }
        return (body.reservation_id, body.current_usage, answer.sentAt)
    }

    private func connect(isReading: Bool, _ arrivals: Arrivals) async throws -> any Channel {
        let host = "\(settings.host):\(settings.port)"
        let now = now
        return try await ClientBootstrap(group: group)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(
                        UpdatesWatcher(
                            host: host, isReading: isReading, arrivals: arrivals, now: now))
                }
            }
            .connect(host: settings.host, port: settings.port).get()
    }
}

/// What the clients heard so far.
final class Arrivals: Sendable {
    struct State {
        var opened = 0
        /// When each client heard of a usage.
        var times: [Int: [Instant]] = [:]
        var waiting: (isOver: (@Sendable (State) -> Bool), CheckedContinuation<Void, Never>)?
    }

    private let state = Mutex(State())

    func open() { change { $0.opened += 1 } }
    func hear(_ usage: Int, at time: Instant) {
        change { $0.times[usage, default: []].append(time) }
    }
    func forget() { state.withLock { $0.times = [:] } }
    func take(_ usage: Int) -> [Instant] {
        state.withLock { $0.times.removeValue(forKey: usage) ?? [] }
    }

    /// Waits until so many were counted; throws after five seconds.
    func wait(for count: Int, _ value: @escaping @Sendable (State) -> Int) async throws {
        let patience = Task {
            try await Task.sleep(for: .seconds(5))
            self.finish()
        }
        defer { patience.cancel() }
        await withCheckedContinuation { continuation in
            change { $0.waiting = ({ value($0) >= count }, continuation) }
        }
        guard state.withLock({ value($0) >= count }) else {
            throw UpdatesLoad.Failure(description: "not all clients were served in time")
        }
    }

    private func finish() {
        let waiting = state.withLock { state in
            defer { state.waiting = nil }
            return state.waiting?.1
        }
        waiting?.resume()
    }

    private func change(_ change: (inout State) -> Void) {
        let isOver = state.withLock { state in
            change(&state)
            return state.waiting?.isOver(state) ?? false
        }
        if isOver { finish() }
    }
}

/// One client: the handshake, one subscription, and an eye on the numbers in what comes.
private final class UpdatesWatcher: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private static let subscription = #"{"type":"subscribe","topics":["quota"]}"#

    private let host: String
    private let isReading: Bool
    private let arrivals: Arrivals
    private let now: @Sendable () -> Instant
    private var isOpen = false
    private var buffer = ByteBuffer()

    init(
        host: String, isReading: Bool, arrivals: Arrivals, now: @escaping @Sendable () -> Instant
    ) {
        self.host = host
        self.isReading = isReading
        self.arrivals = arrivals
        self.now = now
    }

    func channelActive(context: ChannelHandlerContext) {
        let request =
            "GET /ws/updates HTTP/1.1\r\nHost: \(host)\r\nUpgrade: websocket\r\n"
            + "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            + "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        context.writeAndFlush(wrapOutboundOut(ByteBuffer(string: request)), promise: nil)
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        var part = unwrapInboundIn(data)
        buffer.writeBuffer(&part)
        if !isOpen {
            guard let end = buffer.readableBytesView.firstRange(of: "\r\n\r\n".utf8) else { return }
            buffer.moveReaderIndex(to: end.upperBound)
            isOpen = true
            subscribe(context)
        }
        while let text = readText() { read(text) }
        buffer.discardReadBytes()
    }

    /// A client's frames are masked; this one with a key of zeros.
    private func subscribe(_ context: ChannelHandlerContext) {
        var frame = ByteBuffer(bytes: [
            0x81, 0x80 | UInt8(Self.subscription.utf8.count), 0, 0, 0, 0,
        ])
        frame.writeString(Self.subscription)
        context.writeAndFlush(wrapOutboundOut(frame), promise: nil)
        arrivals.open()
        if !isReading { context.channel.setOption(.autoRead, value: false).whenComplete { _ in } }
    }

    private func readText() -> String? {
        let start = buffer.readerIndex
        guard let second = buffer.getInteger(at: start + 1, as: UInt8.self) else { return nil }
        var head = 2
        var length = Int(second)
        if length == 126 {
            guard let long = buffer.getInteger(at: start + 2, as: UInt16.self) else { return nil }
            (head, length) = (4, Int(long))
        }
        guard buffer.readableBytes >= head + length else { return nil }
        buffer.moveReaderIndex(forwardBy: head)
        return buffer.readString(length: length)
    }

    /// Finds the number without decoding: a thousand clients share one core with what they measure.
    private func read(_ text: String) {
        let bytes = text.utf8
        guard let key = bytes.firstRange(of: #""current":"#.utf8),
            let current = Int(text[key.upperBound...].prefix { $0.isNumber })
        else { return }
        arrivals.hear(current, at: now())
    }
}
