// Metrics that are moved often, by what they are looked up with.
// SPDX-License-Identifier: Apache-2.0
import Synchronization

/// Handles by key, looked up once each: a registry finds a metric by all its labels, which costs more than
/// much else that a request does. As many are kept as a registry has series of one family.
package final class MetricHandles<Key: Hashable & Sendable, Handle: Sendable>: Sendable {
    private let known = Mutex<[Key: Handle]>([:])
    private let make: @Sendable (Key) -> Handle

    package init(_ make: @escaping @Sendable (Key) -> Handle) { self.make = make }

    package subscript(key: Key) -> Handle {
        if let handle = known.withLock({ $0[key] }) { return handle }
        // Two that make it at once are given the same one by the registry.
        let handle = make(key)
        known.withLock { known in
            if known.count < MetricsRegistry.maxSeriesPerFamily { known[key] = handle }
        }
        return handle
    }
}
