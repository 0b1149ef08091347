// The present group of pictures, within its limits.
// SPDX-License-Identifier: Apache-2.0

import H26x
import NIOCore
import Testing

private func unit(_ bytes: Int, isRandomAccessPoint: Bool, time: Int64 = 0) -> AccessUnit {
    AccessUnit(
        avcc: ByteBuffer(repeating: 1, count: bytes), decodeTime: time,
        isRandomAccessPoint: isRandomAccessPoint,
        wallTime: nil)
}

@Suite struct GOPCacheTests {
    @Test("a group of pictures that outgrows the cache is dropped until the next begins")
    func gopCache() {
        var cache = GOPCache(maxBytes: 1000, maxUnits: 100)
        cache.add(unit(10, isRandomAccessPoint: false))
        #expect(cache.units.isEmpty)
        cache.add(unit(500, isRandomAccessPoint: true, time: 1))
        cache.add(unit(500, isRandomAccessPoint: false, time: 2))
        #expect(cache.units.map(\.decodeTime) == [1, 2])
        cache.add(unit(1, isRandomAccessPoint: false, time: 3))
        #expect(cache.units.isEmpty)
        cache.add(unit(1, isRandomAccessPoint: false, time: 4))
        #expect(cache.units.isEmpty)
        cache.add(unit(10, isRandomAccessPoint: true, time: 5))
        cache.add(unit(10, isRandomAccessPoint: false, time: 6))
        #expect(cache.units.map(\.decodeTime) == [5, 6])
        cache.add(unit(10, isRandomAccessPoint: true, time: 7))
        #expect(cache.units.map(\.decodeTime) == [7])
    }
}
