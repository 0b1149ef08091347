// The present group of pictures, for viewers who come in the middle of it.
// SPDX-License-Identifier: Apache-2.0

import NIOCore

/// Access units from the last random access point on. A group that outgrows the limit is dropped whole,
/// until the next one begins: without its end a viewer would have pictures that refer to missing ones.
package struct GOPCache: Sendable {
    package private(set) var units: [AccessUnit] = []
    private let maxBytes: Int
    private let maxUnits: Int
    private var bytes = 0

    package init(maxBytes: Int, maxUnits: Int) {
        self.maxBytes = maxBytes
        self.maxUnits = maxUnits
    }

    package mutating func add(_ unit: AccessUnit) {
        if unit.isRandomAccessPoint {
            removeAll()
        } else if units.isEmpty {
            return
        }
        bytes += unit.avcc.readableBytes
        guard bytes <= maxBytes, units.count < maxUnits else { return removeAll() }
        units.append(unit)
    }

    package mutating func removeAll() {
        units.removeAll(keepingCapacity: true)
        bytes = 0
    }
}
