// Metrics that are moved often, by what they are looked up with.
// SPDX-License-Identifier: Apache-2.0
import Synchronization

/// Handles by key, each made once: a registry finds a metric by all its labels, which costs more than many a
/// request does otherwise. Keys are of a closed set, like the labels that they stand for.
package final class MetricHandles<Key: Hashable & Sendable, Handle: Sendable>: Sendable {
    private let known = Mutex<[Key: Handle]>([:])
    private let make: @Sendable (Key) -> Handle

    package init(_ make: @escaping @Sendable (Key) -> Handle) { self.make = make }

    package subscript(key: Key) -> Handle {
        if let handle = known.withLock({ $0[key] }) { return handle }
        // Made twice in a race, it is the same: the registry has one for one set of labels.
        let handle = make(key)
        known.withLock { $0[key] = handle }
        return handle
    }
}
