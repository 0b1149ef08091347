// One connection: commands out, answers back to their senders in the same order.
// SPDX-License-Identifier: Apache-2.0

import NIOCore
import RESP

/// A command on its event loop.
struct PendingCommand {
    /// Encoded.
    var bytes: ByteBuffer
    /// Where its keys live; `nil` for a command without keys.
    var slot: HashSlot?
    var deadline: NIODeadline
    var redirects = 0
    /// Sent to a server that is just taking the slot over, which wants to be told (cluster
    /// specification, ASK redirection).
    var isAsking = false
    /// The error that the server answered last, while it is tried again.
    var lastFailure: String?
    /// Called once.
    var complete: (Result<RESPValue, ValkeyError>) -> Void

    /// What it ends with when its time is over.
    func expire(_ error: ValkeyError) {
        complete(.failure(lastFailure.map { .refused(code: $0) } ?? error))
    }
}

/// Matches answers to commands by their order. An answer that comes too late still takes its place.
final class ValkeyChannelHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    private struct Awaited {
        /// `nil` once its sender has been told that it took too long.
        var command: PendingCommand?
        var writtenAt: NIODeadline
    }

    private var decoder = RESPDecoder()
    private var awaited = CircularBuffer<Awaited>()
    private var receivedAt = NIODeadline.distantPast
    private var outgoing = ByteBuffer()
    private var context: ChannelHandlerContext?
    private(set) var isOpen = true
    /// Called once, after every command has been told.
    var onClose: (() -> Void)?

    /// Commands whose answer is still to come.
    var count: Int { awaited.count }

    func handlerAdded(context: ChannelHandlerContext) { self.context = context }

    func handlerRemoved(context: ChannelHandlerContext) {
        end()
        self.context = nil
    }

    /// Queues a command behind those before it; `flush()` writes them all at once.
    func send(_ command: PendingCommand) {
        guard isOpen else { return command.complete(.failure(.connectionLost)) }
        if command.isAsking {
            outgoing.writeCommand(["ASKING"])
            awaited.append(Awaited(command: nil, writtenAt: .now()))
        }
        outgoing.writeImmutableBuffer(command.bytes)
        awaited.append(Awaited(command: command, writtenAt: .now()))
    }

    func flush() {
        guard outgoing.readableBytes > 0, let context else { return }
        context.writeAndFlush(NIOAny(outgoing), promise: nil)
        outgoing = ByteBuffer()
    }

    /// Tells the senders of commands whose time is over. A server that has sent nothing since such a
    /// command was written hangs: the connection ends, so that nothing queues behind it.
    func expire(at now: NIODeadline) {
        var isSilent = false
        for index in awaited.indices {
            guard let command = awaited[index].command, command.deadline <= now else { continue }
            awaited[index].command = nil
            isSilent = isSilent || receivedAt < awaited[index].writtenAt
            command.expire(.timedOut)
        }
        if isSilent { close() }
    }

    func close() { context?.close(promise: nil) }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        receivedAt = .now()
        decoder.receive(unwrapInboundIn(data))
        do throws(RESPError) {
            while let value = try decoder.next() {
                if case .push = value { continue }
                guard let next = awaited.popFirst() else { return context.close(promise: nil) }
                next.command?.complete(.success(value))
            }
        } catch {
            context.close(promise: nil)
        }
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        flush()
        context.fireChannelReadComplete()
    }

    func channelInactive(context: ChannelHandlerContext) {
        end()
        context.fireChannelInactive()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        context.close(promise: nil)
    }

    private func end() {
        isOpen = false
        let lost = awaited
        awaited = []
        for one in lost { one.command?.complete(.failure(.connectionLost)) }
        let ended = onClose
        onClose = nil
        ended?()
    }
}

extension ValkeyChannelHandler {
    /// Asks one question of the handshake, with a time-out of its own.
    func ask(_ arguments: [String], on loop: any EventLoop) -> EventLoopFuture<RESPValue> {
        let promise = loop.makePromise(of: RESPValue.self)
        var bytes = ByteBuffer()
        bytes.writeCommand(arguments)
        let deadline = NIODeadline.now() + Limits.connectTimeout
        send(
            PendingCommand(bytes: bytes, slot: nil, deadline: deadline) { result in
                switch result {
                case .success(.failure(let failure)):
                    promise.fail(ValkeyError.refused(code: failure.code))
                case .success(let value): promise.succeed(value)
                case .failure(let error): promise.fail(error)
                }
            })
        flush()
        loop.assumeIsolated().scheduleTask(deadline: deadline) { [weak self] in
            self?.expire(at: .now())
        }
        return promise.futureResult
    }
}
