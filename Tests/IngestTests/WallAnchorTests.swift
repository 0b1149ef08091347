// Which changes of the system's clock reach a frame's time.
// SPDX-License-Identifier: Apache-2.0

import Domain
import Ingest
import Primitives
import Synchronization
import Testing

/// Two clocks set by hand.
private final class Clocks: Sendable {
    struct Hands: Sendable {
        var monotonic: Int64 = 0
        /// Wall time minus monotonic time, in microseconds.
        var offset: Int64 = 1_000_000_000_000
        var wallReads = 0
        /// How long reading the wall clock takes.
        var delay: Int64 = 0
    }

    private let hands = Mutex(Hands())

    func change(_ body: (inout Hands) -> Void) { hands.withLock { body(&$0) } }
    var wallReads: Int { hands.withLock { $0.wallReads } }

    var world: World {
        World(
            now: { self.hands.withLock { Instant(nanoseconds: $0.monotonic) } },
            wallTime: {
                self.hands.withLock {
                    $0.wallReads += 1
                    $0.monotonic += $0.delay
                    return WallTime(microseconds: $0.monotonic / 1000 + $0.offset)
                }
            },
            random: { 4 }, secureRandomBytes: { [UInt8](repeating: 0, count: $0) })
    }

    /// Moves on and answers what the anchor says then, as microseconds since the start.
    func wall(_ anchor: inout WallAnchor, atMilliseconds time: Int64) -> Int64 {
        change { $0.monotonic = time * 1_000_000 }
        let said = anchor.wallTime(at: Instant(nanoseconds: time * 1_000_000))
        return said.microseconds - 1_000_000_000_000
    }
}

@Suite struct WallAnchorTests {
    @Test("small differences never reach a frame, and the clock is read once a second at most")
    func smooth() {
        let clocks = Clocks()
        var anchor = WallAnchor(world: clocks.world)
        for index in 1...250 {
            clocks.change { $0.offset += index.isMultiple(of: 2) ? 400_000 : -400_000 }
            let time = Int64(index) * 40
            #expect(clocks.wall(&anchor, atMilliseconds: time) == time * 1000)
        }
        #expect((9...11).contains(clocks.wallReads))
    }

    @Test("a clock that was set is followed within a second, both ways", arguments: [-1, 1])
    func steps(direction: Int64) {
        let clocks = Clocks()
        var anchor = WallAnchor(world: clocks.world)
        #expect(clocks.wall(&anchor, atMilliseconds: 900) == 900_000)
        let step = direction * 86_400_000_000
        clocks.change { $0.offset += step }
        #expect(clocks.wall(&anchor, atMilliseconds: 999) == 999_000)
        #expect(clocks.wall(&anchor, atMilliseconds: 1000) == 1_000_000 + step)
        #expect(clocks.wall(&anchor, atMilliseconds: 1500) == 1_500_000 + step)
        clocks.change { $0.offset += 501_000 }
        #expect(clocks.wall(&anchor, atMilliseconds: 2000) == 2_501_000 + step)
    }

    @Test("a sample during which the thread was held up says nothing")
    func heldUp() {
        let clocks = Clocks()
        var anchor = WallAnchor(world: clocks.world)
        clocks.change { $0.delay = 900_000_000 }
        #expect(clocks.wall(&anchor, atMilliseconds: 1000) == 1_000_000)
        clocks.change { $0.delay = 0 }
        #expect(clocks.wall(&anchor, atMilliseconds: 2000) == 2_000_000)
    }
}
