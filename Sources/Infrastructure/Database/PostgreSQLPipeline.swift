// The answers that a connection owes, in the order in which statements were sent (pipeline mode).
// SPDX-License-Identifier: Apache-2.0

/// What tells prepared statements apart: the same text with other types is another one.
struct PostgreSQLStatementKey: Hashable {
    var sql: String
    var types: [UInt32]
}

/// The rounds that are under way; a round ends with its synchronisation, and an error in it skips the
/// rest of the round and nothing else.
struct PostgreSQLPipeline {
    typealias Answer = Result<[StatementOutcome], PostgreSQLFailure>
    typealias Completion = CheckedContinuation<Answer, Never>

    enum Owed {
        /// Something of ours before a statement; a prepared one that fails has no name.
        case preparation(PostgreSQLStatementKey?)
        case statement
        case synchronization
    }

    private struct Round {
        var outcomes: [StatementOutcome] = []
        var failure: DatabaseError?
        var ageSeconds = 0
        let completion: Completion
    }

    private var owed: [Owed] = []
    private var rounds: [Round] = []

    var isEmpty: Bool { rounds.isEmpty }
    var count: Int { rounds.count }
    /// What the next answer is to.
    var next: Owed? { owed.first }

    mutating func begin(_ completion: Completion) {
        rounds.append(Round(completion: completion))
    }

    mutating func owe(_ answer: Owed) { owed.append(answer) }

    // MARK: Answers

    mutating func succeed(_ outcome: StatementOutcome) {
        guard case .statement = next, !rounds.isEmpty else { return }
        rounds[0].outcomes.append(outcome)
    }

    /// Returns the name that the server does not know after all.
    mutating func fail(_ error: DatabaseError) -> PostgreSQLStatementKey? {
        if !rounds.isEmpty, rounds[0].failure == nil { rounds[0].failure = error }
        return skip()
    }

    /// Passed over because of an error before it.
    func skip() -> PostgreSQLStatementKey? {
        if case .preparation(let key) = next { return key }
        return nil
    }

    /// One command has no more answers.
    mutating func endCommand() { if !owed.isEmpty { owed.removeFirst() } }

    /// The round is over: whom to tell, and what.
    mutating func endRound() -> (Completion, Answer)? {
        endCommand()
        guard !rounds.isEmpty else { return nil }
        let round = rounds.removeFirst()
        guard let failure = round.failure else {
            return (round.completion, .success(round.outcomes))
        }
        return (
            round.completion,
            .failure(PostgreSQLFailure(error: failure, outcomes: round.outcomes))
        )
    }

    /// The connection is gone: everybody who waits, and what to tell them.
    mutating func abandon(_ reason: String) -> [(Completion, Answer)] {
        defer { (owed, rounds) = ([], []) }
        return rounds.map {
            let failure = PostgreSQLFailure(
                error: .unavailable(reason), outcomes: $0.outcomes, isLost: true)
            return ($0.completion, .failure(failure))
        }
    }

    /// Call once a second; how long the oldest round has waited.
    mutating func age() -> Int {
        guard !rounds.isEmpty else { return 0 }
        rounds[0].ageSeconds += 1
        return rounds[0].ageSeconds
    }
}
