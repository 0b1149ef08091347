// One TCP connection of a session whose peer cannot use UDP.
// SPDX-License-Identifier: Apache-2.0

import Glibc
package import NIOCore
import Primitives
import Synchronization
package import WebRTC

/// The sending half of an ICE-TCP connection (RFC 6544). A session's loop writes to it, which may be
/// another than the connection's own.
package final class LiveConnection: Sendable {
    package let address: TransportAddress
    private let channel: any Channel
    /// Bytes that were handed over, and that the kernel has not taken yet.
    private let waiting = Atomic<Int>(0)

    package init(_ channel: any Channel, address: TransportAddress) {
        self.channel = channel
        self.address = address
    }

    /// Whether most of what it was given is on its way.
    package var isReady: Bool {
        waiting.load(ordering: .relaxed) < Limits.readyConnectionBytes
    }

    /// Frames packets of `segment` bytes, the last one shorter, and sends them; 0 for a single packet.
    /// All of them, or none.
    func send(_ bytes: UnsafeRawBufferPointer, segment: Int) -> SendOutcome {
        guard channel.isActive else { return .failed(errorNumber: ENOTCONN) }
        let step = segment > 0 ? segment : bytes.count
        guard step > 0, step <= UInt16.max else { return .failed(errorNumber: EMSGSIZE) }
        let size = bytes.count + 2 * ((bytes.count + step - 1) / step)
        guard waiting.load(ordering: .relaxed) + size <= Limits.connectionBytes else {
            return .congested
        }
        var framed = channel.allocator.buffer(capacity: size)
        var start = 0
        while start < bytes.count {
            let packet = UnsafeRawBufferPointer(
                rebasing: bytes[start..<min(start + step, bytes.count)])
            framed.writeInteger(UInt16(truncatingIfNeeded: packet.count))
            framed.writeBytes(packet)
            start += packet.count
        }
        waiting.add(size, ordering: .relaxed)
        channel.writeAndFlush(framed).whenComplete { [self] _ in
            waiting.subtract(size, ordering: .relaxed)
        }
        return .sent
    }

    /// What was sent before still goes out, a goodbye for one.
    func close() { channel.close(promise: nil) }
}

/// Reads a connection: its first message says whose it is, and from then on it is that session's loop's.
final class LiveConnectionHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    private let loops: [LiveLoop.Handle]
    private let metrics: LiveMetrics
    private var framing = TCPFraming()
    private var state = State.waiting(nil)

    private enum State {
        case waiting(Scheduled<Void>?)
        case open(LiveConnection, LiveLoop.Handle)
        case closed
    }

    init(_ loops: [LiveLoop.Handle], _ metrics: LiveMetrics) {
        self.loops = loops
        self.metrics = metrics
    }

    func channelActive(context: ChannelHandlerContext) {
        let bound = NIOLoopBound((self, context), eventLoop: context.eventLoop)
        let patience = TimeAmount.nanoseconds(Limits.firstCheck.saturatingNanoseconds)
        state = .waiting(
            context.eventLoop.scheduleTask(in: patience) {
                let (handler, context) = bound.value
                handler.refuse(.silent, context)
            })
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        if case .closed = state { return }
        framing.append(unwrapInboundIn(data))
        do throws(TCPFraming.Oversized) {
            while let packet = try framing.next() { take(packet, context) }
        } catch {
            refuse(.malformed, context)
        }
    }

    private func take(_ packet: ByteBuffer, _ context: ChannelHandlerContext) {
        switch state {
        case .waiting(let timer):
            guard STUNMessage.isSTUN(packet), let fragment = STUNMessage.recipient(of: packet),
                let remote = context.remoteAddress,
                let address = TransportAddress(remote, .tcp)
            else { return refuse(.malformed, context) }
            let owner = LiveShared.loopIndex(ofFragment: fragment)
            guard let loop = loops.first(where: { $0.index == owner }) else {
                return refuse(.unknownSession, context)
            }
            timer?.cancel()
            let connection = LiveConnection(context.channel, address: address)
            state = .open(connection, loop)
            loop.run { $0.take(connection, packet, for: fragment) }
        case .open(let connection, let loop):
            loop.run { $0.receive(packet, from: connection.address) }
        case .closed:
            break
        }
    }

    func channelInactive(context: ChannelHandlerContext) {
        switch state {
        case .waiting(let timer): timer?.cancel()
        case .open(let connection, let loop): loop.run { $0.forget(connection) }
        case .closed: break
        }
        state = .closed
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        context.close(promise: nil)
    }

    private func refuse(_ reason: LiveMetrics.Refusal, _ context: ChannelHandlerContext) {
        metrics.refused(reason)
        // What is left of its bytes is nobody's; its session is told when the channel is closed.
        if case .waiting = state { state = .closed }
        context.close(promise: nil)
    }
}
