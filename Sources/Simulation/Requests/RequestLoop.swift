// The connections of a load and what each does next, on one event loop.
// SPDX-License-Identifier: Apache-2.0

import NIOCore
import NIOPosix
import Primitives

/// Lives on its event loop until the last answer.
final class RequestLoop {
    /// How long answers are waited for when the time is over.
    private static let patience = TimeAmount.seconds(20)
    private static let maxTraces = 1_000_000

    private let settings: RequestLoad.Settings
    private let loop: any EventLoop
    private let wire: RequestWire
    private let done: EventLoopPromise<RequestLoad.Tally>
    private var schedule = RequestSchedule(begun: .now(), seconds: 0, rate: 0)
    private var begun = NIODeadline.now()
    private var tally = RequestLoad.Tally()
    private var clients: [RequestClient] = []
    private var idle = CircularBuffer<RequestClient>()
    private var hasBegun = false
    private var isTimed = false
    private var isOver = false

    init(_ settings: RequestLoad.Settings, _ loop: any EventLoop) {
        self.settings = settings
        self.loop = loop
        wire = RequestWire(settings)
        done = loop.makePromise()
    }

    func run() -> EventLoopFuture<RequestLoad.Tally> {
        for number in 0..<settings.connections { connect(wire.request(of: number)) }
        return done.futureResult
    }

    // MARK: Connections

    private func connect(_ request: ByteBuffer) {
        ClientBootstrap(group: loop)
            .channelOption(.tcpOption(.tcp_nodelay), value: 1)
            .connectTimeout(.seconds(10))
            .connect(host: settings.host, port: settings.port)
            .assumeIsolated()
            .flatMapThrowing { [self] channel in
                let client = RequestClient(request: request, owner: self)
                try channel.pipeline.syncOperations.addHandler(client)
                return client
            }
            .whenComplete { [self] result in
                switch result {
                case .success(let client): connected(client)
                case .failure(let error):
                    fail("\(settings.host):\(settings.port): \(error)")
                }
            }
    }

    private func connected(_ client: RequestClient) {
        guard !isOver else { return client.close() }
        clients.append(client)
        idle.append(client)
        if !hasBegun {
            guard clients.count == settings.connections else { return }
            begin()
        }
        proceed()
    }

    private func begin() {
        hasBegun = true
        begun = .now()
        schedule = RequestSchedule(
            begun: begun, seconds: settings.seconds, rate: settings.rate, count: settings.count)
        let patience = TimeAmount.nanoseconds(Int64(settings.seconds * 1e9)) + Self.patience
        loop.assumeIsolated().scheduleTask(in: patience) { [weak self] in self?.finish() }
    }

    /// The server closed a connection, or sent what is no answer: another one takes its place.
    func lost(_ client: RequestClient) {
        guard !isOver else { return }
        // Before the beginning it is a limit that would be run into for ever.
        guard hasBegun else { return fail("the server closes connections before any request") }
        clients.removeAll { $0 === client }
        idle.removeAll { $0 === client }
        count(client, status: 0)
        connect(client.request)
    }

    // MARK: Requests

    /// Gives work to who is free.
    private func proceed() {
        while let client = idle.first, !isOver {
            switch schedule.next(at: .now()) {
            case .ask(let due):
                idle.removeFirst()
                client.ask(due: due)
            case .wait(let due): return wait(until: due)
            case .over:
                if idle.count == settings.connections { finish() }
                return
            }
        }
    }

    private func wait(until due: NIODeadline) {
        guard !isTimed else { return }
        isTimed = true
        loop.assumeIsolated().scheduleTask(deadline: due) { [weak self] in
            self?.isTimed = false
            self?.proceed()
        }
    }

    func answered(_ client: RequestClient, _ answer: AnswerReader.Answer) {
        guard !isOver else { return }
        tally.bodyBytes += answer.bodyBytes
        let isAsked = client.isAsked
        count(client, status: answer.status)
        if isAsked, answer.status == 201, let release = wire.release(answer.beginning) {
            return client.release(release)
        }
        client.rest()
        idle.append(client)
        proceed()
    }

    /// What came of what a client waits for.
    private func count(_ client: RequestClient, status: Int) {
        switch client.step {
        case .idle: break
        case .asked(let due):
            let took = Duration.nanoseconds((NIODeadline.now() - due).nanoseconds)
            tally.statuses[status, default: 0] += 1
            tally.latencies.record(took)
            if settings.isTraced, tally.traces.count < Self.maxTraces {
                tally.traces.append(.init(due: due, status: status, took: took))
            }
        case .releasing: tally.releases[status, default: 0] += 1
        }
    }

    // MARK: The end

    private func finish() {
        guard !isOver else { return }
        tally.seconds = Double((NIODeadline.now() - begun).nanoseconds) / 1e9
        // Who has no answer by now, and what was due and not even asked, waited for so long at least.
        for client in clients { count(client, status: 0) }
        while case .ask(let due) = schedule.next(at: .now()), settings.rate > 0 {
            tally.statuses[0, default: 0] += 1
            tally.latencies.record(.nanoseconds((NIODeadline.now() - due).nanoseconds))
        }
        end()
        done.succeed(tally)
    }

    private func fail(_ reason: String) {
        guard !isOver else { return }
        end()
        done.fail(RequestLoad.Failure(description: reason))
    }

    private func end() {
        isOver = true
        for client in clients { client.close() }
        clients = []
        idle = []
    }
}
