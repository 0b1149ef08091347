// Wishes for seats that come while others are being answered: asked together.
// SPDX-License-Identifier: Apache-2.0

import Domain
import Synchronization

/// Somebody's wish for a seat, as a store is asked.
package struct SeatWish: Sendable {
    package var lease: SeatLease
    package var owner: String
    package var sourceLimit: Int?
    package var totalLimit: Int?
    package var victim: Seat?

    package init(
        _ lease: SeatLease, owner: String, sourceLimit: Int?, totalLimit: Int?, victim: Seat? = nil
    ) {
        self.lease = lease
        self.owner = owner
        self.sourceLimit = sourceLimit
        self.totalLimit = totalLimit
        self.victim = victim
    }
}

/// A store that is far away is asked a few questions at a time. Who comes meanwhile waits for the next one
/// and shares it: the busier the store, the more seats a question. Nobody waits while it is quiet.
package final class SeatGathering: Sendable {
    /// Answers each wish, in their order.
    package typealias Ask = ([SeatWish]) async throws(QuotaStoreError) -> [SeatOutcome]
    private typealias Answer = Result<SeatOutcome, QuotaStoreError>

    private enum Turn {
        case answered(Answer)
        /// The one who waited asks, for those as well who waited behind him.
        case asks([Waiter])
    }

    private struct Waiter {
        var wish: SeatWish
        var turn: CheckedContinuation<Turn, Never>
    }

    private struct State {
        var questions = 0
        var waiting: [Waiter] = []

        /// Whether a question more may be asked; it is counted then.
        mutating func begin() -> Bool {
            guard questions < Limits.questions else { return false }
            questions += 1
            return true
        }
    }

    private let state = Mutex(State())

    package init() {}

    /// Those who wait for their turn.
    package var waiting: Int { state.withLock { $0.waiting.count } }

    /// Questions that are open at once, and wishes in one of them, at most.
    package static var limits: (questions: Int, wishes: Int) {
        (Limits.questions, Limits.acquisitionBatch)
    }

    /// - Parameter ask: may be called for others as well.
    package func acquire(_ wish: SeatWish, ask: Ask) async throws(QuotaStoreError) -> SeatOutcome {
        if state.withLock({ $0.begin() }) { return try await lead(wish, [], ask).get() }
        let turn = await withCheckedContinuation { turn in
            let now: Turn? = state.withLock { state in
                if state.begin() { return .asks([]) }
                // Nobody waits for longer than the questions that are open and the next ones take.
                guard state.waiting.count < Limits.questions * Limits.acquisitionBatch else {
                    return .answered(.failure(.busy))
                }
                state.waiting.append(Waiter(wish: wish, turn: turn))
                return nil
            }
            if let now { turn.resume(returning: now) }
        }
        switch turn {
        case .answered(let answer): return try answer.get()
        case .asks(let others): return try await lead(wish, others, ask).get()
        }
    }

    /// Asks for oneself and others, and then lets the next one do so.
    private func lead(_ wish: SeatWish, _ others: [Waiter], _ ask: Ask) async -> Answer {
        do throws(QuotaStoreError) {
            let outcomes = try await ask([wish] + others.map(\.wish))
            guard outcomes.count == others.count + 1 else { throw .unexpected }
            for (waiter, outcome) in zip(others, outcomes.dropFirst()) {
                waiter.turn.resume(returning: .answered(.success(outcome)))
            }
            handOver()
            return .success(outcomes[0])
        } catch {
            // Those who wait would hear the same, later.
            for waiter in others + giveUp() {
                waiter.turn.resume(returning: .answered(.failure(error)))
            }
            return .failure(error)
        }
    }

    private func handOver() {
        let next: (first: Waiter, others: [Waiter])? = state.withLock { state in
            guard let first = state.waiting.first else {
                state.questions -= 1
                return nil
            }
            let batch = state.waiting.prefix(Limits.acquisitionBatch)
            let others = Array(batch.dropFirst())
            state.waiting.removeFirst(batch.count)
            return (first, others)
        }
        if let next { next.first.turn.resume(returning: .asks(next.others)) }
    }

    private func giveUp() -> [Waiter] {
        state.withLock { state in
            state.questions -= 1
            defer { state.waiting = [] }
            return state.waiting
        }
    }
}
