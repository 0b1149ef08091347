// Random names that stood for something a moment ago.
// SPDX-License-Identifier: Apache-2.0

import NIOCore
package import Primitives

/// Which unguessable names (tokens, identifiers) ended within the last minutes. Thousands end a minute, so
/// that a name is kept as a hash and those that are to be forgotten are found without a look at the rest.
package struct RecentNames {
    private let memory: Duration
    private let limit: Int
    private var hashes: Set<Int> = []
    private var order: CircularBuffer<(hash: Int, until: Instant)> = []

    /// - Parameters:
    ///   - memory: how long a name is known after its insertion.
    ///   - limit: of too many the oldest are forgotten.
    package init(memory: Duration, limit: Int) {
        self.memory = memory
        self.limit = limit
    }

    /// A name that is known already is known no longer for it.
    package mutating func insert(_ name: String, at now: Instant) {
        guard hashes.insert(name.hashValue).inserted else { return }
        order.append((name.hashValue, now + memory))
        if order.count > limit { forgetFirst() }
    }

    /// Wrong once in 10^14 or so, for a name that was never there.
    package func contains(_ name: String) -> Bool { hashes.contains(name.hashValue) }

    package mutating func forget(at now: Instant) {
        while let first = order.first, first.until <= now { forgetFirst() }
    }

    private mutating func forgetFirst() {
        guard let first = order.popFirst() else { return }
        hashes.remove(first.hash)
    }
}
