// When a viewer is moved to the sub-stream and back, on a clock of our own.
// SPDX-License-Identifier: Apache-2.0

import Domain
import Live
import Primitives
import Testing

@Suite struct QualityPolicyTests {
    private func at(_ seconds: Double) -> Instant {
        Instant(nanoseconds: Int64(seconds * 1e9))
    }

    private func policy(_ quality: StreamQuality = .auto, hasSub: Bool = true) -> QualityPolicy {
        QualityPolicy(quality, hasSub: hasSub, at: at(0))
    }

    /// Reports a second apart, from a time to another one.
    private func report(
        _ ratio: Double, _ seconds: ClosedRange<Int>, to policy: inout QualityPolicy
    ) {
        for second in seconds {
            policy.lost(ratio, at: at(Double(second)))
            policy.advance(to: at(Double(second)))
        }
    }

    @Test("what a reservation asks for decides where a viewer begins")
    func beginnings() {
        let wanted = StreamQuality.allCases.map { policy($0).wanted }
        #expect(wanted == [.main, .main, .sub, .sub])
        for quality in StreamQuality.allCases {
            #expect(policy(quality, hasSub: false).wanted == .main)
        }
    }

    @Test("three seconds of loss move a viewer down, two and a good one do not")
    func loss() {
        var policy = policy()
        report(0.25, 1...3, to: &policy)
        #expect(policy.wanted == .main)
        report(0.02, 4...4, to: &policy)
        report(0.25, 5...7, to: &policy)
        #expect(policy.wanted == .main)
        report(0.25, 8...8, to: &policy)
        #expect(policy.wanted == .sub)
    }

    @Test("a tenth of loss is borne")
    func littleLoss() {
        var policy = policy()
        report(0.1, 1...60, to: &policy)
        #expect(policy.wanted == .main)
    }

    @Test("a viewer goes up fifteen seconds after the last sign of trouble")
    func up() {
        var policy = policy()
        report(0.25, 1...10, to: &policy)
        #expect(policy.wanted == .sub)
        report(0, 11...24, to: &policy)
        #expect(policy.wanted == .sub)
        report(0, 25...25, to: &policy)
        #expect(policy.wanted == .main)
    }

    @Test("the wait doubles to two minutes while going up fails, and is short again after it held")
    func patience() {
        var policy = policy()
        var second = 0
        var waits: [Int] = []
        for _ in 0..<6 {
            while policy.wanted == .main {
                second += 1
                report(0.3, second...second, to: &policy)
            }
            let down = second
            while policy.wanted == .sub {
                second += 1
                report(0, second...second, to: &policy)
            }
            waits.append(second - down)
        }
        #expect(waits == [15, 30, 60, 120, 120, 120])
        report(0, (second + 1)...(second + 70), to: &policy)
        second += 70
        report(0.3, (second + 1)...(second + 4), to: &policy)
        #expect(policy.wanted == .sub)
        report(0, (second + 5)...(second + 19), to: &policy)
        #expect(policy.wanted == .main)
    }

    @Test("a bitrate below the stream's moves a viewer down, unless it grows")
    func shortage() {
        var growing = policy()
        for second in 1...30 {
            growing.canReceive(
                400_000 + UInt64(second) * 20_000, needed: 2_000_000, at: at(Double(second)))
        }
        #expect(growing.wanted == .main)
        var short = policy()
        for second in 1...5 {
            short.canReceive(900_000, needed: 2_000_000, at: at(Double(second)))
        }
        #expect(short.wanted == .sub)
        // It carries the sub-stream, and that is no sign of trouble.
        for second in 6...20 {
            short.canReceive(900_000, needed: 250_000, at: at(Double(second)))
            short.advance(to: at(Double(second)))
        }
        #expect(short.wanted == .main)
        var enough = policy()
        for second in 1...60 {
            enough.canReceive(2_000_000, needed: 2_000_000, at: at(Double(second)))
        }
        #expect(enough.wanted == .main)
    }

    @Test("two groups of pictures cut short within ten seconds move a viewer down")
    func congestion() {
        var policy = policy()
        policy.congested(at: at(1))
        policy.congested(at: at(12))
        #expect(policy.wanted == .main)
        policy.congested(at: at(21))
        #expect(policy.wanted == .sub)
    }

    @Test("HIGH stays, LOW stays, and MEDIUM has the main stream while the other is lost")
    func fixed() {
        var high = policy(.high)
        report(0.5, 1...20, to: &high)
        high.congested(at: at(21))
        high.congested(at: at(22))
        #expect(high.wanted == .main)
        var low = policy(.low)
        low.subInterrupted(at: at(1))
        report(0, 1...200, to: &low)
        #expect(low.wanted == .sub)
        var medium = policy(.medium)
        report(0, 1...100, to: &medium)
        #expect(medium.wanted == .sub)
        medium.subInterrupted(at: at(100))
        #expect(medium.wanted == .main)
        report(0, 101...115, to: &medium)
        #expect(medium.wanted == .sub)
    }
}
