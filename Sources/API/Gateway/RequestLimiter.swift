// Limits of requests by user and by address, and what is said to who goes beyond them.
// SPDX-License-Identifier: Apache-2.0

import Domain
import Observability
import Primitives
import Synchronization

/// Counts requests. A user who has reached the limit of a minute, or an address that sends faster than
/// its burst allows, hears 429 and when to come back.
final class RequestLimiter: Sendable {
    /// Users and addresses that are remembered; who was forgotten begins anew.
    static let remembered = 16_384

    private let world: World
    private let settings: GatewaySettings
    private let users = Mutex(RecentTable<UserID, SlidingWindow>(capacity: remembered))
    private let addresses = Mutex(RecentTable<[UInt8], TokenBucket>(capacity: remembered))
    private let userHits: Counter
    private let addressHits: Counter

    init(world: World, settings: GatewaySettings, registry: MetricsRegistry) {
        self.world = world
        self.settings = settings
        userHits = Self.hits(registry, scope: "user")
        addressHits = Self.hits(registry, scope: "address")
    }

    static func hits(_ registry: MetricsRegistry, scope: String) -> Counter {
        registry.counter(
            "cctv_rate_limit_hits_total", help: "What the gateway refused for being too much.",
            labels: ["scope": scope])
    }

    func count(_ user: UserID) throws(MarsadError) {
        let now = world.now()
        let limit = settings.requestsPerMinute
        let wait = users.withLock {
            $0.update(user, default: { SlidingWindow(at: now) }) { $0.take(limit: limit, at: now) }
        }
        guard let wait else { return }
        userHits.increment()
        throw refusal(scope: "user", limit: limit, wait)
    }

    func count(_ address: ClientAddress) throws(MarsadError) {
        let now = world.now()
        let (rate, depth) = (settings.requestsPerSecond, settings.requestBurst)
        let wait = addresses.withLock {
            $0.update(address.network, default: { TokenBucket(depth: depth, at: now) }) {
                $0.take(perSecond: rate, depth: depth, at: now)
            }
        }
        guard let wait else { return }
        addressHits.increment()
        throw refusal(scope: "address", limit: rate, wait)
    }

    private func refusal(scope: String, limit: Int, _ wait: Duration) -> MarsadError {
        let seconds = max(1, Int(wait.inSeconds.rounded(.up)))
        return MarsadError(
            .rateLimitExceeded,
            details: ["scope": scope, "limit": "\(limit)", "retry_after": "\(seconds)"])
    }
}
