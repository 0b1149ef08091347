// What ended a moment ago is known, and forgotten in time.
// SPDX-License-Identifier: Apache-2.0

import Live
import Primitives
import Testing

@Suite struct RecentNamesTests {
    private func time(_ seconds: Int64) -> Instant { Instant(nanoseconds: seconds * 1_000_000_000) }

    @Test("a name is known until its time is over")
    func forgets() {
        var names = RecentNames(memory: .seconds(10), limit: 100)
        names.insert("a", at: time(0))
        names.insert("b", at: time(5))
        names.insert("a", at: time(6))
        names.forget(at: time(9))
        #expect(names.contains("a") && names.contains("b") && !names.contains("c"))
        names.forget(at: time(10))
        #expect(!names.contains("a") && names.contains("b"))
        names.insert("a", at: time(11))
        names.forget(at: time(15))
        #expect(names.contains("a") && !names.contains("b"))
    }

    @Test("of too many the oldest are forgotten")
    func bounded() {
        var names = RecentNames(memory: .seconds(10), limit: 100)
        for number in 0...100 { names.insert(String(number), at: time(0)) }
        #expect(!names.contains("0"))
        #expect(names.contains("1") && names.contains(String(100)))
    }
}
