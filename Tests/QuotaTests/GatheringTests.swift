// Many who wish for seats at once, and the few questions that they become.
// SPDX-License-Identifier: Apache-2.0

import Domain
import Quota
import Synchronization
import Testing

/// Answers when it is told to.
private final class SlowStore: Sendable {
    private struct State {
        var questions: [[String]] = []
        var waiting: [CheckedContinuation<Void, Never>] = []
        var isLost = false
    }

    private let state = Mutex(State())

    /// The seats of each question.
    var questions: [[String]] { state.withLock { $0.questions } }

    func answer(_ wishes: [SeatWish]) async throws(QuotaStoreError) -> [SeatOutcome] {
        let names = wishes.map(\.lease.seat.name)
        await withCheckedContinuation { continuation in
            state.withLock {
                $0.questions.append(names)
                $0.waiting.append(continuation)
            }
        }
        guard !state.withLock({ $0.isLost }) else { throw QuotaStoreError(reason: "lost") }
        return names.map { .granted(SeatCounts(source: Int($0) ?? -1, total: 0)) }
    }

    /// Whether no question is open.
    var isQuiet: Bool { state.withLock { $0.waiting.isEmpty } }

    func lose() { state.withLock { $0.isLost = true } }

    /// Lets the questions that are open now be answered.
    func goOn() {
        let waiting = state.withLock { state in
            defer { state.waiting = [] }
            return state.waiting
        }
        for continuation in waiting { continuation.resume() }
    }
}

@Suite struct GatheringTests {
    private let metro: Source
    private let store = SlowStore()
    private let gathering = SeatGathering()

    init() throws { metro = try source("METRO") }

    /// What each of so many was answered, in their order; `meanwhile` runs when all wait.
    private func ask(
        _ count: Int, meanwhile: @escaping @Sendable () async -> Void
    ) async throws -> [SeatOutcome?] {
        try await withThrowingTaskGroup(of: (Int, SeatOutcome?)?.self) { group in
            let (metro, store, gathering) = (metro, store, gathering)
            for number in 0..<count {
                group.addTask {
                    let lease = SeatLease(
                        seat: Seat(source: metro, name: "\(number)"), priority: .normal)
                    let outcome = try? await gathering.acquire(
                        SeatWish(lease, owner: "a", sourceLimit: nil, totalLimit: nil),
                        ask: store.answer)
                    return (number, outcome)
                }
            }
            group.addTask {
                await meanwhile()
                return nil
            }
            var outcomes = [SeatOutcome?](repeating: nil, count: count)
            for try await case (let number, let outcome)? in group { outcomes[number] = outcome }
            return outcomes
        }
    }

    private func until(_ condition: @Sendable () -> Bool) async {
        while !condition() { await Task.yield() }
    }

    /// All questions are open, and the others wait.
    private func untilAllWait(_ count: Int) async {
        let (store, gathering) = (store, gathering)
        await until {
            store.questions.count == SeatGathering.limits.questions
                && gathering.waiting == count - SeatGathering.limits.questions
        }
    }

    @Test("few questions are open at once; who waits shares the next, and hears of his own seat")
    func shares() async throws {
        let store = store
        let count = 200
        let outcomes = try await ask(count) {
            await untilAllWait(count)
            #expect(store.questions.allSatisfy { $0.count == 1 })
            while store.questions.reduce(0, { $0 + $1.count }) < count {
                store.goOn()
                await Task.yield()
            }
            store.goOn()
        }
        for (number, outcome) in outcomes.enumerated() {
            #expect(outcome == .granted(SeatCounts(source: number, total: 0)))
        }
        let sizes = store.questions.map(\.count)
        #expect(sizes.max() ?? 0 > 1)
        #expect(sizes.allSatisfy { $0 <= SeatGathering.limits.wishes })
        #expect(Set(store.questions.joined()).count == count)
    }

    @Test("when a question is lost, those who wait behind it hear so at once")
    func loses() async throws {
        let store = store
        let outcomes = try await ask(100) {
            await untilAllWait(100)
            store.lose()
            store.goOn()
        }
        #expect(outcomes.allSatisfy { $0 == nil })
        #expect(store.questions.count == SeatGathering.limits.questions)
        // And the next one is asked again.
        let next = try await ask(1) {
            await until { store.questions.count == SeatGathering.limits.questions + 1 }
            store.goOn()
        }
        #expect(next == [nil])
    }

    @Test("more than can be asked with the next questions are refused at once")
    func tooMany() async throws {
        let (store, gathering) = (store, gathering)
        let (questions, wishes) = SeatGathering.limits
        let room = questions + questions * wishes
        let outcomes = try await ask(room + 50) {
            await until { gathering.waiting == room - questions }
            while gathering.waiting > 0 || !store.isQuiet {
                store.goOn()
                await Task.yield()
            }
        }
        #expect(outcomes.filter { $0 == nil }.count <= 50)
        #expect(store.questions.allSatisfy { $0.count <= wishes })
    }

    @Test("who comes while nothing is asked does not wait")
    func alone() async throws {
        let store = store
        for number in 0..<20 {
            let outcome = try await ask(1) {
                await until { store.questions.count == number + 1 }
                store.goOn()
            }
            #expect(outcome == [.granted(SeatCounts(source: 0, total: 0))])
        }
        #expect(store.questions.allSatisfy { $0 == ["0"] })
    }
}
