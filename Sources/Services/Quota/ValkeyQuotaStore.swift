// Seats in Valkey: the store of an installation of several processes.
// SPDX-License-Identifier: Apache-2.0

package import Domain
import Observability
import Primitives
import RESP
package import Valkey

/// Each operation is one script; ends are by the server's own time, so no two processes' clocks meet.
package struct ValkeyQuotaStore: QuotaStore {
    private let client: ValkeyClient
    private let gathering = SeatGathering()
    /// The hash tag keeps all keys in one place.
    private let prefix: String
    private let all: String
    private let preempted: String
    private let observe: @Sendable (_ operation: String, _ began: Instant) -> Void
    private let now: @Sendable () -> Instant

    /// - Parameter unit: counted apart: a changed unit begins with nothing taken.
    /// - Parameter observe: told how long each operation took.
    package init(
        client: ValkeyClient, unit: SeatUnit, world: World,
        observe: @escaping @Sendable (_ operation: String, Duration) -> Void = { _, _ in }
    ) {
        self.client = client
        prefix = "marsad:{quota}:\(unit.rawValue):"
        all = prefix + "all"
        preempted = prefix + "preempted"
        let now = world.now
        self.now = now
        self.observe = { observe($0, now() - $1) }
    }

    private func seats(_ source: Source) -> String { prefix + "seats:" + source.rawValue }
    private func holds(_ seat: Seat) -> String {
        prefix + "holds:" + seat.source.rawValue + "/" + seat.name
    }

    /// What `acquire` asks the server, for who measures that beside another client.
    package struct Question: Sendable {
        package var script: ValkeyScript
        package var keys: [String]
        package var arguments: [String]
    }

    package func question(_ wishes: [SeatWish]) -> Question {
        var keys = [all, preempted]
        var arguments = [Self.lease, Self.notice]
        keys.reserveCapacity(2 + 4 * wishes.count)
        arguments.reserveCapacity(2 + 9 * wishes.count)
        for wish in wishes {
            let seat = wish.lease.seat
            let (seats, holds) = (seats(seat.source), holds(seat))
            keys.append(seats)
            keys.append(holds)
            keys.append(wish.victim.map { self.seats($0.source) } ?? seats)
            keys.append(wish.victim.map(self.holds) ?? holds)
            arguments.append(wish.owner)
            arguments.append(seat.source.rawValue)
            arguments.append(seat.name)
            arguments.append(String(wish.lease.priority.rawValue))
            arguments.append(Self.milliseconds(wish.lease.idle))
            arguments.append(String(wish.sourceLimit ?? -1))
            arguments.append(String(wish.totalLimit ?? -1))
            arguments.append(wish.victim?.source.rawValue ?? "")
            arguments.append(wish.victim?.name ?? "")
        }
        return Question(script: QuotaScripts.acquire, keys: keys, arguments: arguments)
    }

    package func acquire(
        _ lease: SeatLease, owner: String, sourceLimit: Int?, totalLimit: Int?, victim: Seat?
    ) async throws(QuotaStoreError) -> SeatOutcome {
        let began = now()
        defer { observe("reserve", began) }
        return try await gathering.acquire(
            SeatWish(
                lease, owner: owner, sourceLimit: sourceLimit, totalLimit: totalLimit,
                victim: victim), ask: acquire)
    }

    private func acquire(
        _ wishes: [SeatWish]
    ) async throws(QuotaStoreError) -> [SeatOutcome] {
        let question = question(wishes)
        let answer = try await numbers(
            nil, question.script, question.keys, question.arguments)
        guard answer.count == 3 * wishes.count else { throw .unexpected }
        var outcomes: [SeatOutcome] = []
        for place in stride(from: 0, to: answer.count, by: 3) {
            let counts = SeatCounts(source: answer[place + 1], total: answer[place + 2])
            switch answer[place] {
            case 0: outcomes.append(.granted(counts))
            case 1: outcomes.append(.sourceFull(counts))
            case 2: outcomes.append(.totalFull(counts))
            case 3: outcomes.append(.victimGone(counts))
            default: throw .unexpected
            }
        }
        return outcomes
    }

    package func renew(
        _ leases: [SeatLease], owner: String
    ) async throws(QuotaStoreError) -> RenewalOutcome {
        var outcome = RenewalOutcome()
        var rest = leases[...]
        while !rest.isEmpty {
            let batch = Array(rest.prefix(Limits.renewalBatch))
            rest = rest.dropFirst(Limits.renewalBatch)
            let answer = try await numbers(
                "heartbeat", QuotaScripts.renew,
                [all, preempted] + batch.flatMap { [seats($0.seat.source), holds($0.seat)] },
                [owner, Self.lease]
                    + batch.flatMap {
                        [
                            $0.seat.source.rawValue, $0.seat.name, String($0.priority.rawValue),
                            Self.milliseconds($0.idle),
                        ]
                    })
            guard let restored = answer.first else { throw .unexpected }
            outcome.restored += restored
            for place in answer.dropFirst() {
                guard batch.indices.contains(place - 1) else { throw .unexpected }
                outcome.preempted.append(batch[place - 1].seat)
            }
        }
        return outcome
    }

    package func release(
        _ seat: Seat, owner: String
    ) async throws(QuotaStoreError) -> SeatCounts {
        let answer = try await numbers(
            "release", QuotaScripts.release, [all, seats(seat.source), holds(seat), preempted],
            [owner, seat.source.rawValue, seat.name, Self.lease])
        guard answer.count == 2 else { throw .unexpected }
        return SeatCounts(source: answer[0], total: answer[1])
    }

    package func usage() async throws(QuotaStoreError) -> [Source: Int] {
        let answer = try await elements(
            "stats", QuotaScripts.usage, [all], [Self.lease])
        var usage: [Source: Int] = [:]
        for index in stride(from: 0, to: answer.count - 1, by: 2) {
            guard let source = answer[index].text.flatMap({ Source($0) }) else { continue }
            usage[source] = answer[index + 1].count
        }
        return usage
    }

    package func candidates(
        of source: Source?
    ) async throws(QuotaStoreError) -> [SeatCandidate] {
        let answer = try await elements(
            "candidates", QuotaScripts.candidates, [all],
            [
                prefix + "holds:", source?.rawValue ?? "", String(Limits.candidates),
                Self.lease,
            ])
        return stride(from: 0, to: answer.count - 2, by: 3).compactMap { index in
            let parts = (answer[index].text ?? "").split(separator: "/", maxSplits: 1)
            guard parts.count == 2, let source = Source(parts[0]),
                let priority = answer[index + 1].count.flatMap({ SeatPriority(rawValue: $0) }),
                let idle = answer[index + 2].count
            else { return nil }
            return SeatCandidate(
                seat: Seat(source: source, name: String(parts[1])), priority: priority,
                idle: .milliseconds(idle))
        }
    }

    // MARK: Scripts

    private static let lease = milliseconds(Limits.lease)
    private static let notice = milliseconds(Limits.notice)

    /// - Parameter operation: whose time is observed; `nil` where that is only a part of it.
    private func numbers(
        _ operation: String?, _ script: ValkeyScript, _ keys: [String], _ arguments: [String]
    ) async throws(QuotaStoreError) -> [Int] {
        try await elements(operation, script, keys, arguments).compactMap(\.count)
    }

    private func elements(
        _ operation: String?, _ script: ValkeyScript, _ keys: [String], _ arguments: [String]
    ) async throws(QuotaStoreError) -> [RESPValue] {
        let began = now()
        defer { if let operation { observe(operation, began) } }
        do throws(ValkeyError) {
            let answer = try await client.run(script, keys: keys, arguments: arguments)
            guard let elements = answer.elements else { throw ValkeyError.unexpectedReply }
            return elements
        } catch {
            throw QuotaStoreError(reason: error.description)
        }
    }

    private static func milliseconds(_ duration: Duration) -> String {
        String(duration.saturatingNanoseconds / 1_000_000)
    }
}

extension QuotaStoreError {
    static var unexpected: QuotaStoreError {
        QuotaStoreError(reason: ValkeyError.unexpectedReply.description)
    }
}

extension RESPValue {
    /// A number of seats or milliseconds; nothing that a script of ours answers is beyond it.
    fileprivate var count: Int? {
        number.flatMap { Int(exactly: $0) }.flatMap { (0...1 << 53).contains($0) ? $0 : nil }
    }
}
