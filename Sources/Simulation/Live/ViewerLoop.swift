// The viewers of one event loop: a socket for each, one timer for all.
// SPDX-License-Identifier: Apache-2.0

import NIOCore
package import Primitives
import WebRTC

/// The times and randomness that a load client runs on.
package struct LoadWorld: Sendable {
    package var now: @Sendable () -> Instant
    package var wallTime: @Sendable () -> WallTime
    /// Unpredictable: credentials are made of it.
    package var random: @Sendable () -> UInt64

    package init(
        now: @escaping @Sendable () -> Instant, wallTime: @escaping @Sendable () -> WallTime,
        random: @escaping @Sendable () -> UInt64
    ) {
        self.now = now
        self.wallTime = wallTime
        self.random = random
    }
}

/// All that happens to viewers on their event loop. Not Sendable.
final class ViewerLoop {
    /// What a viewer became: its milestones, once the first frame has come.
    typealias Joined = EventLoopPromise<LiveViewer.Milestones>

    /// One viewer with its socket.
    final class Seat {
        let viewer: LiveViewer
        let channel: any Channel
        private let socket: ViewerSocket
        var joined: Joined?
        /// What the server does now is no failure any more.
        var isLeaving = false
        var framesAtStart = 0

        /// The server's, which hardly ever changes: to compare is cheaper than to convert.
        private var remote: (socket: SocketAddress, address: TransportAddress)?

        init(viewer: LiveViewer, channel: any Channel, socket: ViewerSocket) {
            self.viewer = viewer
            self.channel = channel
            self.socket = socket
        }

        /// Of what was read last; only while the channel is open.
        func lastArrival() -> WallTime? { socket.lastArrival() }

        func address(of socket: SocketAddress) -> TransportAddress? {
            if let remote, remote.socket == socket { return remote.address }
            guard let address = TransportAddress(socket) else { return nil }
            remote = (socket, address)
            return address
        }
    }

    /// What one loop's viewers did in the measured time.
    struct Harvest: Sendable {
        var tally: LiveTally
        /// Failures since the time before, of viewers that had joined.
        var failures: [LiveViewer.Failure]
        /// The least and the most whole frames that one viewer got.
        var framesPerViewer: (least: Int, most: Int)?
    }

    /// Between two looks at the deadlines; finer than any of them needs.
    static let tick = TimeAmount.milliseconds(20)

    let tally = SharedTally()
    let world: LoadWorld
    private var seats: [Int: Seat] = [:]
    private var failures: [LiveViewer.Failure] = []
    private var timer: RepeatedTask?

    init(world: LoadWorld) { self.world = world }

    func start(on loop: any EventLoop) {
        let bound = NIOLoopBound(self, eventLoop: loop)
        timer = loop.scheduleRepeatedTask(initialDelay: Self.tick, delay: Self.tick) { _ in
            bound.value.advance()
        }
    }

    func stop() {
        timer?.cancel()
        for number in Array(seats.keys) { remove(number)?.channel.close(promise: nil) }
    }

    func insert(_ seat: Seat, as number: Int) { seats[number] = seat }

    func seat(_ number: Int) -> Seat? { seats[number] }

    func remove(_ number: Int) -> Seat? { seats.removeValue(forKey: number) }

    /// The server's ports are told apart by ours.
    var ports: [Int] { seats.values.compactMap { $0.channel.localAddress?.port } }

    /// Ends one measurement and begins the next.
    func harvest() -> Harvest {
        var range: (least: Int, most: Int)?
        for seat in seats.values {
            let frames = seat.viewer.wholeFrames - seat.framesAtStart
            seat.framesAtStart = seat.viewer.wholeFrames
            range = (min(range?.least ?? frames, frames), max(range?.most ?? frames, frames))
        }
        defer { failures = [] }
        return Harvest(tally: tally.take(), failures: failures, framesPerViewer: range)
    }

    /// Takes the parts of what the kernel delivered in one piece.
    func receive(_ envelope: AddressedEnvelope<ByteBuffer>, for seat: Seat) {
        guard let address = seat.address(of: envelope.remoteAddress) else { return }
        let (now, wallTime) = (world.now(), seat.lastArrival() ?? world.wallTime())
        var rest = envelope.data
        let size = envelope.metadata?.segmentSize ?? 0
        if size > 0, size < rest.readableBytes {
            while let part = rest.readSlice(length: min(size, rest.readableBytes)),
                part.readableBytes > 0
            {
                seat.viewer.receive(part, from: address, at: now, wallTime: wallTime)
            }
        } else {
            seat.viewer.receive(rest, from: address, at: now, wallTime: wallTime)
        }
        drain(seat)
    }

    /// Sends what the viewer has to say, and tells who waits for it what became of it.
    func drain(_ seat: Seat) {
        var hasWritten = false
        while let output = seat.viewer.pollOutput() {
            switch output {
            case .send(let bytes, let address):
                guard let remote = address.socketAddress else { continue }
                seat.channel.write(
                    AddressedEnvelope(remoteAddress: remote, data: bytes), promise: nil)
                hasWritten = true
            case .failed(let failure):
                if let joined = seat.joined {
                    seat.joined = nil
                    joined.fail(failure)
                } else if !seat.isLeaving {
                    failures.append(failure)
                }
            }
        }
        if hasWritten { seat.channel.flush() }
        if let joined = seat.joined, seat.viewer.milestones.firstFrame != nil {
            seat.joined = nil
            joined.succeed(seat.viewer.milestones)
        }
    }

    private func advance() {
        let (now, wallTime) = (world.now(), world.wallTime())
        for seat in seats.values where seat.viewer.deadline <= now {
            seat.viewer.advance(to: now, wallTime: wallTime)
            drain(seat)
        }
    }
}

/// Hands datagrams to their viewer.
final class ViewerHandler: ChannelInboundHandler {
    typealias InboundIn = AddressedEnvelope<ByteBuffer>

    private let loop: ViewerLoop
    var seat: ViewerLoop.Seat?

    init(loop: ViewerLoop) { self.loop = loop }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        if let seat { loop.receive(unwrapInboundIn(data), for: seat) }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        // A server that is gone answers with ICMP; ICE notices by itself.
    }
}

extension TransportAddress {
    init?(_ address: SocketAddress) {
        guard let host = address.ipAddress, let port = address.port else { return nil }
        self.init(host: host, port: UInt16(clamping: port))
    }

    var socketAddress: SocketAddress? {
        try? SocketAddress(ipAddress: host, port: Int(port))
    }
}
