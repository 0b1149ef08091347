// The life of a connection, driven without a clock or a socket.
// SPDX-License-Identifier: Apache-2.0

import Domain
import Ingest
import Primitives
import Testing

@Suite struct SupervisorMachineTests {
    private static let refused = CameraFailure(.refused, "refused")

    private func at(_ seconds: Double) -> Instant { Instant(nanoseconds: Int64(seconds * 1e9)) }

    /// Advances to the machine's own deadline.
    private func toDeadline(
        _ machine: inout SupervisorMachine, _ now: inout Instant
    ) -> SupervisorMachine.Action? {
        guard let deadline = machine.deadline else { return nil }
        now = max(now, deadline)
        return machine.advance(to: now)
    }

    @Test("nothing happens before a deadline, and at the first one it connects")
    func begins() {
        var machine = SupervisorMachine(seed: 1, startAt: at(3))
        #expect(machine.advance(to: at(2.999)) == nil)
        #expect(machine.status == .connecting)
        #expect(machine.advance(to: at(3)) == .connect)
        #expect(machine.deadline == at(13))
    }

    @Test("only the attempt under way counts, none between two, none after the end")
    func attempts() {
        var machine = SupervisorMachine(seed: 1, startAt: at(0))
        #expect(!machine.isCurrent(machine.attempt))
        #expect(machine.advance(to: at(0)) == .connect)
        let first = machine.attempt
        #expect(machine.isCurrent(first))
        machine.failed(Self.refused, at: at(1))
        #expect(!machine.isCurrent(first))
        var now = at(1)
        #expect(toDeadline(&machine, &now) == .connect)
        #expect(!machine.isCurrent(first))
        #expect(machine.isCurrent(machine.attempt))
        machine.playing(at: now)
        machine.frame(at: now)
        #expect(machine.isCurrent(machine.attempt))
        machine.stop()
        #expect(!machine.isCurrent(machine.attempt))
    }

    @Test("each phase has its time-out: ten seconds to PLAY, five to video, five without video")
    func timeouts() {
        var machine = SupervisorMachine(seed: 1, startAt: at(0))
        #expect(machine.advance(to: at(0)) == .connect)
        #expect(machine.advance(to: at(9.9)) == nil)
        guard case .disconnect(let late) = machine.advance(to: at(10)) else {
            Issue.record("no time-out of the connection")
            return
        }
        #expect(late.kind == .timeout)

        machine = SupervisorMachine(seed: 1, startAt: at(0))
        #expect(machine.advance(to: at(0)) == .connect)
        machine.playing(at: at(1))
        #expect(machine.deadline == at(6))
        #expect(machine.status == .connecting)
        guard case .disconnect(let mute) = machine.advance(to: at(6)) else {
            Issue.record("no time-out of the first frame")
            return
        }
        #expect(mute.kind == .silent)

        machine = SupervisorMachine(seed: 1, startAt: at(0))
        #expect(machine.advance(to: at(0)) == .connect)
        machine.playing(at: at(1))
        machine.frame(at: at(2))
        #expect(machine.status == .active)
        machine.frame(at: at(6.5))
        #expect(machine.advance(to: at(11.4)) == nil)
        guard case .disconnect(let stalled) = machine.advance(to: at(11.5)) else {
            Issue.record("no time-out of delivery")
            return
        }
        #expect(stalled.kind == .silent)
        #expect(machine.retryCount == 1)
    }

    @Test("waits double, the circuit opens after three failures, probes, and closes with video")
    func circuit() {
        for seed in UInt64(1)...200 {
            var machine = SupervisorMachine(seed: seed, startAt: at(0))
            var now = at(0)
            let bounds: [ClosedRange<Double>] = [0.5...1.2, 1.0...2.4, 27...36, 27...36]
            for (failure, bound) in bounds.enumerated() {
                #expect(toDeadline(&machine, &now) == .connect, "seed \(seed)")
                machine.failed(Self.refused, at: now)
                let wait = ((machine.deadline ?? now) - now).inSeconds
                #expect(bound.contains(wait), "seed \(seed), failure \(failure): \(wait) s")
                #expect(machine.isCircuitOpen == (failure >= 2), "seed \(seed)")
                #expect(machine.retryCount == failure + 1, "seed \(seed)")
            }
            #expect(machine.status == .circuitOpen)
            #expect(toDeadline(&machine, &now) == .connect, "seed \(seed)")
            machine.playing(at: now)
            #expect(machine.status == .circuitOpen, "only video closes the circuit")
            machine.frame(at: now)
            #expect(machine.status == .active)
            #expect(machine.failuresInARow == 0 && machine.retryCount == 0)
        }
    }

    @Test("a failure reported twice counts once")
    func duplicateFailure() {
        var machine = SupervisorMachine(seed: 1, startAt: at(0))
        #expect(machine.advance(to: at(0)) == .connect)
        machine.failed(Self.refused, at: at(1))
        machine.failed(Self.refused, at: at(1))
        #expect(machine.failuresInARow == 1)
    }

    @Test("a refused password is tried at most three times in any ten minutes")
    func logins() {
        for seed in UInt64(1)...50 {
            var machine = SupervisorMachine(seed: seed, startAt: at(0))
            var random = SeededRandom(seed: seed)
            var now = at(0)
            var tries: [Instant] = []
            for _ in 0..<40 {
                #expect(toDeadline(&machine, &now) == .connect, "seed \(seed)")
                tries.append(now)
                now = now + .milliseconds(Int64.random(in: 0...9000, using: &random))
                machine.failed(CameraFailure(.authentication, "401"), at: now)
            }
            for (index, first) in tries.enumerated() where index + 3 < tries.count {
                // Counted from answer to answer, so a slow answer may bring the tries 9 s closer.
                #expect(tries[index + 3] - first >= .seconds(600 - 9), "seed \(seed)")
            }
        }
    }

    @Test("a postponed connection is no failure and comes at its moment")
    func postponed() {
        var machine = SupervisorMachine(seed: 1, startAt: at(0))
        #expect(machine.advance(to: at(0)) == .connect)
        machine.postpone(until: at(0.25))
        #expect(machine.failuresInARow == 0 && machine.retryCount == 0)
        #expect(machine.advance(to: at(0.2)) == nil)
        #expect(machine.advance(to: at(0.25)) == .connect)
    }

    @Test("a stopped machine has no deadline and does nothing more")
    func stopped() {
        var machine = SupervisorMachine(seed: 1, startAt: at(0))
        machine.stop()
        machine.failed(Self.refused, at: at(1))
        machine.frame(at: at(1))
        #expect(machine.deadline == nil)
        #expect(machine.advance(to: at(1e9)) == nil)
    }

    @Test("any order of events leaves it stopped or with a deadline, and it always tries again")
    func anyOrder() {
        for seed in UInt64(1)...100 {
            var random = SeededRandom(seed: seed)
            var machine = SupervisorMachine(seed: seed, startAt: at(0))
            var now = at(0)
            for _ in 0..<500 {
                now = now + .milliseconds(Int64.random(in: 0...4000, using: &random))
                switch Int.random(in: 0...5, using: &random) {
                case 0: machine.playing(at: now)
                case 1: machine.frame(at: now)
                case 2: machine.failed(Self.refused, at: now)
                case 3: machine.postpone(until: now + .milliseconds(100))
                default: _ = machine.advance(to: now)
                }
                let deadline = machine.deadline ?? Instant(nanoseconds: .max)
                #expect(deadline - now <= .seconds(36), "seed \(seed)")
            }
        }
    }

    @Test("a failure's reason is cut at 500 characters")
    func longReason() {
        let long = String(repeating: "x", count: 10_000)
        #expect(CameraFailure(.closed, long).reason.count == 500)
    }
}

@Suite struct MediaTimelineTests {
    @Test("a steady camera keeps its own steps, from zero")
    func steady() {
        var timeline = MediaTimeline()
        for frame in Int64(0)..<100 {
            #expect(timeline.decodeTime(for: 777_000 + frame * 3600) == frame * 3600)
        }
        #expect(timeline.restamped == 0)
    }

    @Test("a lone outlier is restamped and the frames after it keep their places")
    func outlier() {
        for jump: Int64 in [324_000_000, -324_000_000, -3600] {
            var timeline = MediaTimeline()
            for frame in Int64(0)..<20 {
                let time = frame * 3600 + (frame == 10 ? jump : 0)
                #expect(timeline.decodeTime(for: time) == frame * 3600)
            }
            #expect(timeline.restamped == 1)
        }
    }

    @Test("a jump that stays becomes the new clock within three frames")
    func rebased() {
        for jump: Int64 in [1_099_511_627_776, -1_099_511_627_776] {
            var timeline = MediaTimeline()
            for frame in Int64(0)..<50 {
                let time = frame * 3600 + (frame >= 20 ? jump : 0)
                #expect(timeline.decodeTime(for: time) == frame * 3600)
            }
            #expect(timeline.restamped == 3)
        }
    }

    @Test("decode times always rise, whatever the camera says")
    func alwaysRises() {
        let extremes: [Int64] = [.min, .min + 1, -1, 0, 1, .max - 1, .max]
        for seed in UInt64(1)...100 {
            var random = SeededRandom(seed: seed)
            var timeline = MediaTimeline()
            var last = Int64(-1)
            for _ in 0..<500 {
                let time: Int64 =
                    switch Int.random(in: 0...2, using: &random) {
                    case 0: extremes[Int.random(in: 0..<extremes.count, using: &random)]
                    case 1: Int64(bitPattern: random.next())
                    default: .random(in: -1_000_000...1_000_000, using: &random)
                    }
                let decodeTime = timeline.decodeTime(for: time)
                #expect(decodeTime > last, "seed \(seed)")
                #expect(decodeTime - last <= 5 * 90_000 + 1, "seed \(seed)")
                last = decodeTime
            }
        }
    }
}
