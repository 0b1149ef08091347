// Calendar text, saturation of durations, and secrets that stay secret.
// SPDX-License-Identifier: Apache-2.0

import Primitives
import Testing

@Suite struct WallTimeTests {
    @Test(
        "dates print as HTTP writes them",
        arguments: [
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"), (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"),
        ] as [(Int64, String)])
    func httpDates(second: Int64, text: String) {
        #expect(WallTime(microseconds: second * 1_000_000).httpDate == text)
    }

    @Test("known moments print as the calendar says")
    func known() {
        #expect(WallTime(microseconds: 0).description == "1970-01-01T00:00:00.000000Z")
        #expect(WallTime(microseconds: -1).description == "1969-12-31T23:59:59.999999Z")
        #expect(
            WallTime(microseconds: 951_782_400_000_001).description == "2000-02-29T00:00:00.000001Z"
        )
        #expect(
            WallTime(microseconds: 1_709_251_199_999_999).description
                == "2024-02-29T23:59:59.999999Z")
    }

    @Test("every moment from 1970 to 2200 survives printing and parsing")
    func roundTrip() {
        var random = SeededRandom(seed: 7)
        for _ in 0..<5000 {
            let time = WallTime(
                microseconds: .random(in: 0...7_289_654_399_999_999, using: &random))
            #expect(WallTime(iso8601: time.description) == time)
        }
    }

    @Test("each day of four centuries follows the day before")
    func days() {
        for day in stride(from: 0, to: 146_097, by: 1) {
            let c = CivilTime(WallTime(microseconds: Int64(day) * 86_400_000_000))
            let back = CivilTime.daysSinceEpoch(year: c.year, month: c.month, day: c.day)
            guard back == day, (1...12).contains(c.month), (1...31).contains(c.day) else {
                Issue.record("day \(day) became \(c)")
                return
            }
        }
    }

    @Test("the ends of 64 bits have a calendar date and do not trap")
    func extremes() {
        for value in [Int64.min, .min + 1, -1, .max - 1, .max] {
            let c = CivilTime(WallTime(microseconds: value))
            #expect((1...12).contains(c.month) && (1...31).contains(c.day) && c.hour < 24)
            #expect((0..<1_000_000).contains(c.microsecond))
        }
    }

    @Test("the fraction is optional, and digits after the sixth are dropped")
    func fractions() {
        let whole = WallTime(iso8601: "2025-01-02T03:04:05Z")
        #expect(whole?.description == "2025-01-02T03:04:05.000000Z")
        #expect(
            WallTime(iso8601: "2025-01-02T03:04:05.5Z")?.description
                == "2025-01-02T03:04:05.500000Z")
        #expect(
            WallTime(iso8601: "2025-01-02T03:04:05.123456789Z")?.description
                == "2025-01-02T03:04:05.123456Z")
    }

    @Test(
        "text that is not a UTC moment is refused",
        arguments: [
            "", "Z", "2025", "2025-01-02", "2025-01-02T03:04:05", "2025-01-02T03:04:05+04:00",
            "2025-01-02 03:04:05Z", "2025-1-02T03:04:05Z", "2025-02-29T00:00:00Z",
            "2025-04-31T00:00:00Z", "2025-13-01T00:00:00Z", "2025-00-01T00:00:00Z",
            "2025-01-00T00:00:00Z", "2025-01-02T24:00:00Z", "2025-01-02T03:60:00Z",
            "2025-01-02T03:04:60Z", "2025-01-02T03:04:05.Z", "2025-01-02T03:04:05.12x4Z",
            "1969-12-31T23:59:59Z", "2201-01-01T00:00:00Z", "-025-01-02T03:04:05Z",
            "٢٠٢٥-01-02T03:04:05Z", "2025-01-02T03:04:05.123456789012345678901234567890Z",
        ])
    func malformed(text: String) { #expect(WallTime(iso8601: text) == nil) }

    @Test("cut and changed text is refused or is a moment in range, and never traps")
    func sweep() {
        let text = Array("2025-01-02T03:04:05.678901Z".utf8)
        for end in 0..<text.count {
            #expect(WallTime(iso8601: String(decoding: text[..<end], as: UTF8.self)) == nil)
        }
        var random = SeededRandom(seed: 11)
        for _ in 0..<5000 {
            var changed = text
            for _ in 0..<Int.random(in: 1...3, using: &random) {
                changed[Int.random(in: 0..<changed.count, using: &random)] = .random(
                    in: 32...126, using: &random)
            }
            if let time = WallTime(iso8601: String(decoding: changed, as: UTF8.self)) {
                #expect((1970...2200).contains(CivilTime(time).year))
            }
        }
    }

    @Test("numbers are padded, and longer ones kept whole")
    func padding() {
        #expect(padded(7, 3) == "007")
        #expect(padded(12345, 3) == "12345")
        #expect(padded(0, 1) == "0")
    }
}

@Suite struct InstantTests {
    @Test("a moment and a duration add up, and their difference is the duration")
    func arithmetic() {
        let start = Instant(nanoseconds: 5)
        #expect(start + .milliseconds(3) == Instant(nanoseconds: 3_000_005))
        #expect((start + .seconds(9)) - start == .seconds(9))
        #expect(start < start + .nanoseconds(1))
    }

    @Test("what does not fit stays at the end it ran over")
    func saturation() {
        let huge = Duration.seconds(Int64.max)
        #expect(huge.saturatingNanoseconds == .max)
        #expect(Duration.seconds(Int64.min).saturatingNanoseconds == .min)
        #expect(Instant(nanoseconds: 1) + huge == Instant(nanoseconds: .max))
        let overByAFraction = Duration(
            secondsComponent: 9_223_372_036, attosecondsComponent: 900_000_000_000_000_000)
        #expect(overByAFraction.saturatingNanoseconds == .max)
        #expect(Instant(nanoseconds: .max) + .nanoseconds(1) == Instant(nanoseconds: .max))
    }

    @Test("what runs under stays at the lower end")
    func lowerSaturation() {
        let underByAFraction = Duration(
            secondsComponent: -9_223_372_036, attosecondsComponent: -900_000_000_000_000_000)
        #expect(underByAFraction.saturatingNanoseconds == .min)
        #expect(Instant(nanoseconds: .min) + .nanoseconds(-1) == Instant(nanoseconds: .min))
        #expect(Instant(nanoseconds: -2) + .seconds(Int64.min) == Instant(nanoseconds: .min))
    }
}

@Suite struct RedactedTests {
    private struct Holder {
        var name = "camera"
        var secret = Redacted("hunter2-password")
    }

    @Test("no textual form shows the secret, alone or inside another value")
    func neverPrints() {
        let holder = Holder()
        var dumped = ""
        dump(holder, to: &dumped)
        let texts = [
            "\(holder.secret)", String(describing: holder.secret),
            String(reflecting: holder.secret),
            "\(holder)", String(reflecting: holder), "\([holder.secret])",
            "\(Optional(holder.secret) as Any)", dumped,
        ]
        for text in texts { #expect(!text.contains("hunter2")) }
        #expect("\(holder.secret)" == "•••")
        #expect(holder.secret.reveal() == "hunter2-password")
        #expect(Mirror(reflecting: holder.secret).children.isEmpty)
    }

    @Test("secrets compare by their value")
    func equality() {
        #expect(Redacted("a") == Redacted("a"))
        #expect(Redacted("a") != Redacted("b"))
    }
}

@Suite struct SeededRandomTests {
    @Test("a seed gives the published sequence of SplitMix64")
    func sequence() {
        var random = SeededRandom(seed: 1_234_567)
        #expect(random.next() == 6_457_827_717_110_365_317)
        #expect(random.next() == 3_203_168_211_198_807_973)
    }
}
