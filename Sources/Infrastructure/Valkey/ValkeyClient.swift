// The client of Valkey: commands in from any task, pipelined over one connection a server.
// SPDX-License-Identifier: Apache-2.0

package import NIOCore
package import RESP
import Synchronization

/// What a client tells of its health.
package enum ValkeyEvent: Sendable, Equatable {
    /// The server can be asked, for the first time or again; what it held may be gone.
    case connected
    /// The server refused the login with this code.
    case refused(code: String)
    case circuit(CircuitBreaker.State)
}

/// Every command ends within its time-out. Nothing that may have been done is sent twice, except after an
/// answer that says it was not done.
package final class ValkeyClient: Sendable {
    /// A command on its way to the event loop.
    private struct Submission: Sendable {
        var bytes: ByteBuffer
        var slot: HashSlot?
        var deadline: NIODeadline
        var continuation: CheckedContinuation<Result<RESPValue, ValkeyError>, Never>
    }

    private let loop: any EventLoop
    private let router: NIOLoopBound<ValkeyRouter>
    private let timeout: TimeAmount
    /// Commands made before the event loop comes to them are written at once.
    private let inbox = Mutex<[Submission]>([])
    private let breaker = Mutex(CircuitBreaker(threshold: Limits.failures))
    private let continuation: AsyncStream<ValkeyEvent>.Continuation
    /// For one listener.
    package let events: AsyncStream<ValkeyEvent>

    /// Connects at once and keeps connected until `close()`.
    /// - Parameter timeout: of each command, its wait for a connection included.
    package static func open(
        _ url: ValkeyURL, on loop: any EventLoop, timeout: TimeAmount = .milliseconds(500)
    ) async throws -> ValkeyClient {
        try await loop.submit {
            let client = ValkeyClient(url, on: loop, timeout: timeout)
            client.router.value.start()
            return client
        }.get()
    }

    /// On the event loop.
    private init(_ url: ValkeyURL, on loop: any EventLoop, timeout: TimeAmount) {
        self.loop = loop
        self.timeout = timeout
        let (events, continuation) = AsyncStream.makeStream(
            of: ValkeyEvent.self, bufferingPolicy: .bufferingNewest(Limits.events))
        self.events = events
        self.continuation = continuation
        let router = ValkeyRouter(settings: url, loop: loop) { change in
            switch change {
            case .ready: continuation.yield(.connected)
            case .refused(let code): continuation.yield(.refused(code: code))
            case .lost: break
            }
        }
        self.router = NIOLoopBound(router, eventLoop: loop)
    }

    package var circuit: CircuitBreaker.State { breaker.withLock { $0.state } }

    /// Sends a command and waits for its answer. An error that the server answers is thrown.
    /// - Parameter key: a key of the command: it says which member of a cluster has it.
    package func command(
        _ arguments: [String], key: String? = nil
    ) async throws(ValkeyError) -> RESPValue {
        var bytes = ByteBuffer()
        bytes.writeCommand(arguments)
        return try await send(bytes, key)
    }

    private func send(_ command: ByteBuffer, _ key: String?) async throws(ValkeyError) -> RESPValue
    {
        guard breaker.withLock({ $0.isClosed }) else { throw .circuitOpen }
        let result = await submit(command, key.map(HashSlot.init(key:)))
        switch result {
        case .success(.failure(let failure)):
            settle(nil)
            throw .refused(code: failure.code)
        case .success(let value):
            settle(nil)
            return value
        case .failure(let error):
            settle(error)
            throw error
        }
    }

    /// Runs a script. Its keys must live together; the first of them says where.
    package func run(
        _ script: ValkeyScript, keys: [String], arguments: [String]
    ) async throws(ValkeyError) -> RESPValue {
        func calling(_ name: String, _ script: String) -> ByteBuffer {
            var bytes = ByteBuffer()
            bytes.writeCommand([name, script, String(keys.count)], keys, arguments)
            return bytes
        }
        do throws(ValkeyError) {
            return try await send(calling("EVALSHA", script.digest), keys.first)
        } catch .refused(code: "NOSCRIPT") {
            return try await send(calling("EVAL", script.body), keys.first)
        }
    }

    /// Ends what still waits; later commands fail.
    package func close() async {
        _ = try? await loop.submit { self.router.value.close() }.get()
        continuation.finish()
    }

    private func submit(
        _ bytes: ByteBuffer, _ slot: HashSlot?
    ) async -> Result<RESPValue, ValkeyError> {
        let deadline = NIODeadline.now() + timeout
        return await withCheckedContinuation { continuation in
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

    // MARK: The circuit

    private func settle(_ error: ValkeyError?) {
        if let error, !error.isOutage { return }
        let (opened, closed) = breaker.withLock { breaker in
            if error != nil { return (breaker.fail(), false) }
            let wasClosed = breaker.isClosed
            // An answer that was under way when the circuit opened proves as much as a probe's.
            breaker.succeed()
            return (false, !wasClosed)
        }
        if closed { continuation.yield(.circuit(.closed)) }
        guard opened else { return }
        continuation.yield(.circuit(.open))
        loop.scheduleTask(in: Limits.probePause) { self.probe() }
    }

    /// Tries the server, so that no caller waits for the attempt. On the event loop.
    private func probe() {
        let isNeeded = breaker.withLock { breaker in
            breaker.probe()
            return breaker.state == .halfOpen
        }
        guard isNeeded else { return }
        continuation.yield(.circuit(.halfOpen))
        var bytes = ByteBuffer()
        bytes.writeCommand(["PING"])
        router.value.send(
            PendingCommand(bytes: bytes, slot: nil, deadline: .now() + timeout) { result in
                switch result {
                case .success(.failure):
                    self.settle(.refused(code: RetriedFailure.loading.rawValue))
                case .success: self.settle(nil)
                case .failure(.closed): break
                case .failure: self.settle(.timedOut)
                }
            })
        router.value.flush()
    }
}
