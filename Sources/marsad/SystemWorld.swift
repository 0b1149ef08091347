// The real world: the system's clocks and random sources.
// SPDX-License-Identifier: Apache-2.0

import CGlibc
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
            // Swift's system generator would ask the kernel for each eight bytes.
            [UInt8](unsafeUninitializedCapacity: count) { buffer, filled in
                while let free = buffer.baseAddress, filled < count {
                    let added = getrandom(free + filled, count - filled, 0)
                    // Only a signal may come between; without random bytes nothing here is safe.
                    precondition(added > 0 || errno == EINTR, "no random bytes: \(errno)")
                    filled += max(added, 0)
                }
            }
        })

    private static func clock(_ id: clockid_t) -> Int64 {
        var time = timespec()
        clock_gettime(id, &time)
        return Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec)
    }
}
