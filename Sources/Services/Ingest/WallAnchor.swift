// Wall time for frames: smooth while the system's clock is, and following it when it is set.
// SPDX-License-Identifier: Apache-2.0

package import Domain
package import Primitives

/// Wall time advanced by the monotonic clock, so that frames' times stay smooth.
///
/// The system's clock is looked at once a second at most. A small difference is its own slewing and is
/// left alone; a large one means that it was set (a host that boots without a battery, a first answer
/// of NTP), and dates must not stay wrong for as long as a camera stays connected.
package struct WallAnchor {
    private let world: World
    private var wallTime: WallTime
    private var instant: Instant
    private var nextSample: Instant

    package init(world: World) {
        self.world = world
        instant = world.now()
        wallTime = world.wallTime()
        nextSample = instant + Limits.wallSampleInterval
    }

    package mutating func wallTime(at now: Instant) -> WallTime {
        if now >= nextSample {
            nextSample = now + Limits.wallSampleInterval
            sample()
        }
        return wallTime + (now - instant)
    }

    private mutating func sample() {
        let before = world.now()
        let sampled = world.wallTime()
        // A thread held up between the two clocks would look like a step of one of them.
        guard world.now() - before <= Limits.wallSampleUncertainty else { return }
        let difference = sampled - (wallTime + (before - instant))
        guard difference > Limits.wallStep || difference < .zero - Limits.wallStep else { return }
        wallTime = sampled
        instant = before
    }
}
