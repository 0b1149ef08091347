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
///
/// It has a lane on each of its event loops. A task that runs on one of them asks over that loop's own
/// connection: between threads, a command and its answer would each wake the other one, which costs more
/// than the command. All lanes share one circuit.
package final class ValkeyClient: Sendable {
    private let lanes: [ValkeyLane]
    private let timeout: TimeAmount
    private let breaker = Mutex(CircuitBreaker(threshold: Limits.failures))
    private let continuation: AsyncStream<ValkeyEvent>.Continuation
    /// For one listener.
    package let events: AsyncStream<ValkeyEvent>

    /// Connects at once and keeps connected until `close()`.
    /// - Parameters:
    ///   - group: the event loops to have a connection on.
    ///   - timeout: of each command, its wait for a connection included.
    package static func open(
        _ url: ValkeyURL, on group: any EventLoopGroup, timeout: TimeAmount = .milliseconds(500)
    ) async throws -> ValkeyClient {
        let (events, continuation) = AsyncStream.makeStream(
            of: ValkeyEvent.self, bufferingPolicy: .bufferingNewest(Limits.events))
        var lanes: [ValkeyLane] = []
        for (index, loop) in group.makeIterator().enumerated() {
            lanes.append(
                try await ValkeyLane.open(url, on: loop) { change in
                    // What happens to a server happens to all lanes; one of them tells of it.
                    guard index == 0 else { return }
                    switch change {
                    case .ready: continuation.yield(.connected)
                    case .refused(let code): continuation.yield(.refused(code: code))
                    case .lost: break
                    }
                })
        }
        return ValkeyClient(lanes, timeout, events, continuation)
    }

    private init(
        _ lanes: [ValkeyLane], _ timeout: TimeAmount, _ events: AsyncStream<ValkeyEvent>,
        _ continuation: AsyncStream<ValkeyEvent>.Continuation
    ) {
        self.lanes = lanes
        self.timeout = timeout
        self.events = events
        self.continuation = continuation
    }

    /// The lane of the event loop that this is called on, else the first.
    private var lane: ValkeyLane { lanes.first { $0.loop.inEventLoop } ?? lanes[0] }

    package var circuit: CircuitBreaker.State { breaker.withLock { $0.state } }

    /// Sends a command and waits for its answer. An error that the server answers is thrown.
    /// - Parameter key: a key of the command: it says which member of a cluster has it.
    package func command(
        _ arguments: [String], key: String? = nil
    ) async throws(ValkeyError) -> RESPValue {
        guard breaker.withLock({ $0.isClosed }) else { throw .circuitOpen }
        var bytes = ByteBuffer()
        bytes.writeCommand(arguments)
        let result = await lane.submit(
            bytes, key.map(HashSlot.init(key:)), until: .now() + timeout)
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
        let tail = [String(keys.count)] + keys + arguments
        do throws(ValkeyError) {
            return try await command(["EVALSHA", script.digest] + tail, key: keys.first)
        } catch .refused(code: "NOSCRIPT") {
            return try await command(["EVAL", script.body] + tail, key: keys.first)
        }
    }

    /// Ends what still waits; later commands fail.
    package func close() async {
        for lane in lanes { await lane.close() }
        continuation.finish()
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
        lanes[0].loop.scheduleTask(in: Limits.probePause) { self.probe() }
    }

    /// Tries the server, so that no caller waits for the attempt. On the first lane's event loop.
    private func probe() {
        let isNeeded = breaker.withLock { breaker in
            breaker.probe()
            return breaker.state == .halfOpen
        }
        guard isNeeded else { return }
        continuation.yield(.circuit(.halfOpen))
        var bytes = ByteBuffer()
        bytes.writeCommand(["PING"])
        lanes[0].send(
            PendingCommand(bytes: bytes, slot: nil, deadline: .now() + timeout) { result in
                switch result {
                case .success(.failure):
                    self.settle(.refused(code: RetriedFailure.loading.rawValue))
                case .success: self.settle(nil)
                case .failure(.closed): break
                case .failure: self.settle(.timedOut)
                }
            })
    }
}
