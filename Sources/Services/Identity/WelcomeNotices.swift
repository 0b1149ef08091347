// New users are told of to a service that welcomes them: signed like the events that come in.
// SPDX-License-Identifier: Apache-2.0

package import Domain
import JSON
import Primitives
import Synchronization

/// What became of one notice.
package enum WelcomeOutcome: Sendable {
    case delivered
    /// Not even by the last try.
    case failed(any Error)
    /// Too many were waiting.
    case dropped
}

/// Sends a notice for each new user, a few at once, and tries again with growing pauses. Nobody waits for
/// it, and what it cannot deliver changes nothing: what waits is lost with the process.
package final class WelcomeNotices: Sendable {
    /// Sends one request; throws unless it was taken.
    package typealias Send =
        @Sendable (_ body: [UInt8], _ headers: [(name: String, value: String)]) async throws -> Void
    package typealias Pause = @Sendable (Duration) async throws -> Void

    private struct State {
        var waiting: [User] = []
        var workers: [UInt64: Task<Void, Never>] = [:]
        var made: UInt64 = 0
    }

    private let webhook: IAMWebhook
    private let world: World
    private let send: Send
    private let pause: Pause
    private let report: @Sendable (WelcomeOutcome, User) -> Void
    private let state = Mutex(State())

    /// - Parameter webhook: with the secret that is shared with the receiver.
    package init(
        webhook: IAMWebhook, world: World, send: @escaping Send, pause: @escaping Pause,
        report: @escaping @Sendable (WelcomeOutcome, User) -> Void
    ) {
        self.webhook = webhook
        self.world = world
        self.send = send
        self.pause = pause
        self.report = report
    }

    /// For `IdentityService.Parts.welcome`.
    package func welcome(_ user: User) {
        let isTaken = state.withLock { state in
            guard state.waiting.count < Limits.welcomesWaiting else { return false }
            state.waiting.append(user)
            guard state.workers.count < Limits.welcomesAtOnce else { return true }
            state.made += 1
            let worker = state.made
            state.workers[worker] = Task { await work(as: worker) }
            return true
        }
        if !isTaken { report(.dropped, user) }
    }

    /// Returns when nothing waits any more; what has not been delivered after `patience` is given up.
    package func finish(patience: Duration) async {
        let workers = state.withLock { Array($0.workers.values) }
        guard !workers.isEmpty else { return }
        let end = Task {
            try await pause(patience)
            for worker in workers { worker.cancel() }
        }
        for worker in workers { await worker.value }
        end.cancel()
    }

    private func work(as worker: UInt64) async {
        while let user = next(for: worker) {
            // At the end of the program all that waits is given up, without a try for each.
            guard !Task.isCancelled else {
                report(.failed(CancellationError()), user)
                continue
            }
            await deliver(user)
        }
    }

    private func next(for worker: UInt64) -> User? {
        state.withLock { state in
            guard state.waiting.isEmpty else { return state.waiting.removeFirst() }
            state.workers[worker] = nil
            return nil
        }
    }

    private func deliver(_ user: User) async {
        let body = Array(Self.event(user, id: world.makeID()).serialized.utf8)
        var pauses = Limits.welcomePauses[...]
        while true {
            do {
                try await send(body, webhook.headers(for: body, at: world.wallTime()))
                return report(.delivered, user)
            } catch {
                guard let wait = pauses.popFirst(), (try? await pause(wait)) != nil else {
                    return report(.failed(error), user)
                }
            }
        }
    }

    /// The form of the events that come in (`IAMEvent`), so that one program reads both. The id stays the
    /// same over the tries.
    private static func event(_ user: User, id: String) -> JSONValue {
        let profile = user.profile
        var data: [String: JSONValue] = [
            "user_id": .string(user.id.rawValue),
            "login_id": .string(user.loginID.rawValue),
            "display_name": .string(profile.displayName),
            "full_name_arabic": .string(profile.fullNameArabic),
            "agency": .object([
                "code": .string(profile.agency.code), "name": .string(profile.agency.name),
                "name_arabic": .string(profile.agency.nameArabic),
            ]),
            "status": .string(user.status.rawValue),
            "origin": .string(user.origin.rawValue),
        ]
        if let email = profile.email { data["email"] = .string(email) }
        return .object([
            "event_id": .string(id),
            "event_type": .string(IAMEvent.Kind.userCreated.rawValue),
            "data": .object(data),
        ])
    }
}
