// Fields of results in the binary format, from bytes as a server sends them.
// SPDX-License-Identifier: Apache-2.0

import Database
import Testing

@Suite struct PostgreSQLValueTests {
    private func value(_ type: PostgreSQLType, _ bytes: [UInt8]) -> DatabaseValue? {
        bytes.withUnsafeBytes { DatabaseValue($0, of: type.rawValue) }
    }

    /// `NumericVar` on the wire: words of digits, weight, sign, scale, then the digits.
    private func numeric(_ words: [Int]) -> DatabaseValue? {
        value(.numeric, words.flatMap { [UInt8($0 >> 8 & 255), UInt8($0 & 255)] })
    }

    @Test("reads whole numbers, truth, texts and bytes")
    func plain() {
        #expect(value(.int2, [0xFF, 0xFE]) == -2)
        #expect(value(.int4, [0x80, 0, 0, 0]) == .integer(Int64(Int32.min)))
        #expect(value(.int8, [0x7F] + [UInt8](repeating: 0xFF, count: 7)) == .integer(.max))
        #expect(value(.oid, [0xFF, 0xFF, 0xFF, 0xFF]) == 4_294_967_295)
        #expect(value(.bool, [1]) == 1)
        #expect(value(.bool, [0]) == 0)
        #expect(value(.float4, [0x3F, 0, 0, 0]) == .real(0.5))
        #expect(value(.float8, [0xBF, 0xE0, 0, 0, 0, 0, 0, 0]) == .real(-0.5))
        #expect(value(.text, []) == "")
        #expect(value(.bytea, []) == .blob([]))
    }

    @Test("reads sums: whole ones exactly to the ends of 64 bits, others as close as can be")
    func numerics() {
        #expect(numeric([0, 0, 0, 0]) == 0)
        #expect(numeric([1, 1, 0, 0, 5]) == 50_000)
        #expect(numeric([2, 1, 0x4000, 0, 2, 1]) == -20_001)
        #expect(numeric([5, 4, 0, 0, 922, 3372, 368, 5477, 5807]) == .integer(.max))
        #expect(numeric([5, 4, 0x4000, 0, 922, 3372, 368, 5477, 5808]) == .integer(.min))
        #expect(numeric([5, 4, 0, 0, 922, 3372, 368, 5477, 5808]) == .real(0x1p63))
        #expect(numeric([2, 0, 0, 2, 3, 2500]) == .real(3.25))
        #expect(numeric([1, -2, 0, 5, 1000]) == .real(0.00001))
    }

    @Test("refuses fields that are not their type's, and types that it does not know")
    func refused() {
        for (type, bytes) in [
            (PostgreSQLType.int8, [1]), (.int4, []), (.int2, [1, 2, 3]), (.bool, []),
            (.float8, [0]), (.numeric, [0, 1, 0, 0, 0, 0, 0, 0]), (.numeric, [0, 0, 0]),
            (.numeric, [0, 0, 0, 0, 0xC0, 0, 0, 0]),
            (.numeric, [0, 1, 0x7F, 0xFF, 0, 0, 0, 0, 0, 1]),
            (.numeric, [0, 1, 0x80, 0, 0, 0, 0, 9, 0, 1]), (.unspecified, [1]),
        ] as [(PostgreSQLType, [UInt8])] { #expect(value(type, bytes) == nil, "\(type)") }
        #expect([UInt8(1)].withUnsafeBytes { DatabaseValue($0, of: 1184) } == nil)
    }
}
