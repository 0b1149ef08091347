// The stores against a model of three lines: random calls, crashes, lost answers, clock steps, FLUSHALL.
// SPDX-License-Identifier: Apache-2.0

import Domain
import Foundation
import Primitives
import Quota
import Testing
import Valkey

/// What the quota is, written as simply as it can be: who has which seat until when.
private struct Model {
    static let lease = Duration.seconds(20)
    var ends: [Seat: [String: Duration]] = [:]
    var now = Duration.zero

    var live: Set<Seat> { Set(ends.filter { $0.value.values.contains { $0 > now } }.keys) }

    func counts(_ source: Source) -> SeatCounts {
        SeatCounts(source: live.filter { $0.source == source }.count, total: live.count)
    }

    mutating func hold(_ seat: Seat, _ owner: String) {
        ends[seat, default: [:]][owner] = now + Self.lease
    }

    mutating func acquire(_ seat: Seat, _ owner: String, limit: Int, total: Int) -> SeatOutcome {
        if !live.contains(seat) {
            if counts(seat.source).source >= limit { return .sourceFull(counts(seat.source)) }
            if live.count >= total { return .totalFull(counts(seat.source)) }
        }
        hold(seat, owner)
        return .granted(counts(seat.source))
    }

    mutating func renew(_ seats: [Seat], _ owner: String) {
        for seat in seats { hold(seat, owner) }
    }

    var usage: [Source: Int] { Dictionary(grouping: live, by: \.source).mapValues(\.count) }
}

@Suite struct ModelTests {
    /// Sequences on Valkey unless all are asked for (`MARSAD_QUOTA_SEQUENCES`).
    private static let sequencesOnValkey = 8000
    private static let sequencesInMemory = 100_000
    private static let stepsPerSequence = 12

    private static func sequences(_ kind: StoreKind) -> Int {
        let wanted = ProcessInfo.processInfo.environment["MARSAD_QUOTA_SEQUENCES"]
            .flatMap { Int($0) }
        switch kind {
        case .memory: return max(wanted ?? 0, sequencesInMemory)
        case .valkey: return wanted ?? sequencesOnValkey
        }
    }

    @Test(
        "random sequences of calls and faults leave what the model has",
        arguments: StoreKind.installed)
    func random(kind: StoreKind) async throws {
        let seed =
            ProcessInfo.processInfo.environment["MARSAD_QUOTA_SEED"]
            .flatMap { UInt64($0) } ?? UInt64.random(in: 1...UInt64.max)
        var random = SeededRandom(seed: seed)
        var stalled = 0
        try await withStore(kind) { (rig) async throws in
            for number in 0..<Self.sequences(kind) {
                do {
                    try await play(number, seed, kind, &random, rig)
                } catch is Stalled {
                    stalled += 1
                }
                try await rig.clear()
            }
        }
        #expect(stalled <= Self.sequences(kind) / 10, "the machine stood still too often")
    }

    /// A real server's clock runs on while the machine does something else: what differs after that
    /// proves nothing.
    private struct Stalled: Error {}

    private func play(
        _ number: Int, _ seed: UInt64, _ kind: StoreKind, _ random: inout SeededRandom,
        _ rig: StoreRig
    ) async throws {
        let owners = ["a", "b", "c"]
        let sources = [try source("METRO"), try source("BUS")]
        let begun = ContinuousClock.now
        func same<Value: Equatable>(
            _ found: Value, _ expected: Value, _ context: Comment
        ) throws {
            let isLate = kind == .valkey && ContinuousClock.now - begun > .seconds(1)
            if found != expected, isLate { throw Stalled() }
            try #require(found == expected, context)
        }
        var model = Model()
        for step in 0..<Self.stepsPerSequence {
            let owner = owners.randomElement(using: &random) ?? ""
            let seat = Seat(
                source: sources[Int.random(in: 0...1, using: &random)],
                name: "s\(Int.random(in: 0..<5, using: &random))")
            let context: Comment =
                "MARSAD_QUOTA_SEED=\(seed), sequence \(number), step \(step), \(kind)"
            switch Int.random(in: 0..<100, using: &random) {
            case 0..<45:
                let limit = Int.random(in: 1...4, using: &random)
                let total = Int.random(in: 2...6, using: &random)
                let expected = model.acquire(seat, owner, limit: limit, total: total)
                let isLost = Int.random(in: 0..<5, using: &random) == 0
                // An answer that is lost makes the caller ask again: nothing counts twice.
                for _ in 0...(isLost ? 1 : 0) {
                    let outcome = try await rig.store.take(
                        seat, by: owner, limit: limit, total: total)
                    try same(outcome, expected, context)
                }
            case 45..<65:
                model.ends[seat]?[owner] = nil
                let counts = try await rig.store.free(seat, by: owner)
                try same(counts, model.counts(seat.source), context)
            case 65..<80:
                // What the owner has; an owner that crashed renews nothing ever.
                let mine = model.ends.filter { $0.value[owner] != nil }.keys.sorted()
                model.renew(mine, owner)
                _ = try await rig.store.renewed(mine, by: owner)
            case 80..<95:
                // Not the lease's length to the millisecond: a real server's clock runs on.
                let duration = Duration.milliseconds(
                    Int.random(in: 1...14, using: &random) * 1700)
                model.now += duration
                try await rig.advance(duration)
            case 95..<98:
                guard let client = rig.client else { continue }
                _ = try await client.command(["FLUSHALL"])
                // The owners say again what they have.
                for owner in owners {
                    let mine = model.ends.filter { ($0.value[owner] ?? .zero) > model.now }
                        .keys.sorted()
                    _ = try await rig.store.renewed(mine, by: owner)
                    model.renew(mine, owner)
                }
            default:
                guard rig.client != nil else { continue }
                // The server's clock goes back: nothing lasts for an hour by that.
                try await rig.advance(.seconds(-3600))
                model.ends = [:]
            }
            let usage = try await rig.store.current()
            try same(usage, model.usage, context)
        }
    }
}
