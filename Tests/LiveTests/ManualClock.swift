// A clock that the test moves, and numbers that only count, for tests of several targets.
// SPDX-License-Identifier: Apache-2.0

import Domain
import Primitives
import Synchronization

/// A clock that the test moves, and random numbers that only count.
final class ManualClock: Sendable {
    private let nanoseconds = Mutex<Int64>(1_000_000_000)
    private let counter = Mutex<UInt64>(0)

    var now: Instant { Instant(nanoseconds: nanoseconds.withLock { $0 }) }

    func advance(_ duration: Duration) {
        nanoseconds.withLock { $0 += duration.saturatingNanoseconds }
    }

    private func next() -> UInt64 {
        counter.withLock { seed in
            seed += 1
            var random = SeededRandom(seed: seed)
            return random.next()
        }
    }

    var world: World {
        World(
            now: { self.now },
            wallTime: { WallTime(microseconds: self.now.nanoseconds / 1000) },
            random: { self.next() },
            secureRandomBytes: { count in
                (0..<count).map { _ in UInt8(truncatingIfNeeded: self.next()) }
            })
    }
}
