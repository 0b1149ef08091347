// A packet is resent once a round trip, however often it is asked for.
// SPDX-License-Identifier: Apache-2.0

import Live
import Primitives
import RTP
import Testing

@Suite struct AnsweredNumbersTests {
    @Test("on a short way a number is answered once in 80 ms")
    func pause() {
        var answered = AnsweredNumbers()
        answered.roundTrip = .milliseconds(5)
        let numbers = (0..<4).map { SequenceNumber(rawValue: UInt16($0)) }
        func take(_ wanted: [SequenceNumber], atMilliseconds: Int64) -> [SequenceNumber] {
            answered.take(wanted, at: Instant(nanoseconds: atMilliseconds * 1_000_000))
        }
        #expect(take([numbers[0], numbers[1]], atMilliseconds: 0) == [numbers[0], numbers[1]])
        #expect(take(numbers, atMilliseconds: 79) == [numbers[2], numbers[3]])
        #expect(take(numbers, atMilliseconds: 80) == [numbers[0], numbers[1]])
        #expect(take(numbers, atMilliseconds: 200) == numbers)
        #expect(take([numbers[0], numbers[0]], atMilliseconds: 400) == [numbers[0]])
    }

    @Test("on a long way, again when an answer is overdue; on the longest, twice a second")
    func roundTrip() {
        var answered = AnsweredNumbers()
        let number = [SequenceNumber(rawValue: 7)]
        func isAnswered(_ milliseconds: Int64) -> Bool {
            !answered.take(number, at: Instant(nanoseconds: milliseconds * 1_000_000)).isEmpty
        }
        answered.roundTrip = .milliseconds(200)
        #expect(isAnswered(0))
        #expect(!isAnswered(209))
        #expect(isAnswered(210))
        answered.roundTrip = .seconds(60)
        #expect(!isAnswered(709))
        #expect(isAnswered(710))
    }

    @Test("old numbers are forgotten")
    func forgets() {
        var answered = AnsweredNumbers()
        for second in 0..<10 {
            let numbers = (0..<1000).map {
                SequenceNumber(rawValue: UInt16(truncatingIfNeeded: second * 1000 + $0))
            }
            let now = Instant(nanoseconds: Int64(second) * 1_000_000_000)
            #expect(answered.take(numbers, at: now).count == 1000)
        }
    }
}
