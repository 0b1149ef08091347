// A clock that the test moves, and names for what the tests count.
// SPDX-License-Identifier: Apache-2.0

import Domain
import Primitives
import Quota
import Synchronization
import Testing

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

/// The code of what a call throws, or `nil` when it went well.
func code(_ work: () async throws -> Void) async -> MarsadError.Code? {
    do {
        try await work()
        return nil
    } catch {
        return (error as? MarsadError)?.code
    }
}

func source(_ name: String) throws -> Source { try #require(Source(name)) }

func camera(_ number: Int) throws -> CameraID {
    let digits = String(number)
    let text =
        "00000000-0000-4000-8000-" + String(repeating: "0", count: 12 - digits.count) + digits
    return try #require(CameraID(text))
}
