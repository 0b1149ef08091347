// The real world: the system's clocks and random sources.
// SPDX-License-Identifier: Apache-2.0

import Domain
import Glibc
import Primitives

extension World {
    /// The production value of the world.
    static let system = World(
        now: { Instant(nanoseconds: clock(CLOCK_MONOTONIC)) },
        wallTime: { WallTime(microseconds: clock(CLOCK_REALTIME) / 1000) },
        random: {
            var generator = SystemRandomNumberGenerator()
            return generator.next()
        },
        secureRandomBytes: { count in
            // Swift's system generator is getrandom(2) on Linux: one call for each eight bytes.
            var generator = SystemRandomNumberGenerator()
            var bytes: [UInt8] = []
            bytes.reserveCapacity(count + 7)
            while bytes.count < count {
                withUnsafeBytes(of: generator.next()) { bytes.append(contentsOf: $0) }
            }
            bytes.removeLast(bytes.count - count)
            return bytes
        })

    private static func clock(_ id: clockid_t) -> Int64 {
        var time = timespec()
        clock_gettime(id, &time)
        return Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec)
    }
}
