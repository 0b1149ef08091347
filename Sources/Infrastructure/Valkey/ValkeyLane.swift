// The client's share of one event loop: what is asked there goes out and comes back there.
// SPDX-License-Identifier: Apache-2.0

import NIOCore
import RESP
import Synchronization

/// Commands in from any task, pipelined over one connection a server.
final class ValkeyLane: Sendable {
    /// A command on its way to the event loop.
    private struct Submission: Sendable {
        var bytes: ByteBuffer
        var slot: HashSlot?
        var deadline: NIODeadline
        var continuation: CheckedContinuation<Result<RESPValue, ValkeyError>, Never>
    }

    let loop: any EventLoop
    private let router: NIOLoopBound<ValkeyRouter>
    /// Commands made before the event loop comes to them are written at once.
    private let inbox = Mutex<[Submission]>([])

    /// Connects at once.
    /// - Parameter onChange: told on the event loop what becomes of the connection to the first server.
    static func open(
        _ url: ValkeyURL, on loop: any EventLoop,
        onChange: @escaping @Sendable (ValkeyNode.Change) -> Void
    ) async throws -> ValkeyLane {
        try await loop.submit {
            let router = ValkeyRouter(settings: url, loop: loop, onChange: onChange)
            router.start()
            return ValkeyLane(router: router, loop: loop)
        }.get()
    }

    /// On the event loop.
    private init(router: ValkeyRouter, loop: any EventLoop) {
        self.loop = loop
        self.router = NIOLoopBound(router, eventLoop: loop)
    }

    func submit(
        _ bytes: ByteBuffer, _ slot: HashSlot?, until deadline: NIODeadline
    ) async -> Result<RESPValue, ValkeyError> {
        await withCheckedContinuation { continuation in
            let submission = Submission(
                bytes: bytes, slot: slot, deadline: deadline, continuation: continuation)
            let isFirst = inbox.withLock { inbox in
                inbox.append(submission)
                return inbox.count == 1
            }
            if isFirst { loop.execute { self.drain() } }
        }
    }

    /// On the event loop.
    func send(_ command: PendingCommand) {
        router.value.send(command)
        router.value.flush()
    }

    func close() async {
        _ = try? await loop.submit { self.router.value.close() }.get()
    }

    private func drain() {
        let submissions = inbox.withLock { inbox in
            let taken = inbox
            inbox.removeAll(keepingCapacity: true)
            return taken
        }
        let router = router.value
        for submission in submissions {
            router.send(
                PendingCommand(
                    bytes: submission.bytes, slot: submission.slot, deadline: submission.deadline
                ) { submission.continuation.resume(returning: $0) })
        }
        router.flush()
    }
}
