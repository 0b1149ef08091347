// A table that forgets whom it has not seen for long: memory that strangers cannot fill.
// SPDX-License-Identifier: Apache-2.0

/// Keeps at most `capacity` entries: the newer half for sure, the older half until it is full again.
package struct RecentTable<Key: Hashable, Value> {
    private let capacity: Int
    private var young: [Key: Value] = [:]
    private var old: [Key: Value] = [:]

    package init(capacity: Int) { self.capacity = max(capacity, 2) }

    package var count: Int { young.count + old.count }

    /// The value of a key, changed in place; made where there is none.
    package mutating func update<Result>(
        _ key: Key, default make: () -> Value, _ change: (inout Value) -> Result
    ) -> Result {
        var value = young[key] ?? old.removeValue(forKey: key) ?? make()
        defer {
            if young.count >= capacity / 2, young[key] == nil {
                old = young
                young = [:]
            }
            young[key] = value
        }
        return change(&value)
    }
}
