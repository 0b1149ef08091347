// Values in PostgreSQL's binary format: to the parameters of a statement, and from a result's fields.
// SPDX-License-Identifier: Apache-2.0
import CPQ

/// The types that a statement's values are sent as; a NULL takes its type from its place.
package enum PostgreSQLType: UInt32 {
    case unspecified = 0
    case bool = 16
    case bytea = 17
    case char = 18
    case name = 19
    case int8 = 20
    case int2 = 21
    case int4 = 23
    case text = 25
    case oid = 26
    case float4 = 700
    case float8 = 701
    case unknown = 705
    case bpchar = 1042
    case varchar = 1043
    case numeric = 1700
    case void = 2278
}

/// The values of one statement as libpq takes them: one buffer, and pointers into it.
struct PostgreSQLArguments {
    let types: [Oid]
    private var bytes: [UInt8] = []
    private var ranges: [Range<Int>?] = []

    init(_ values: [DatabaseValue]) {
        types = values.map { Self.type($0).rawValue }
        ranges.reserveCapacity(values.count)
        for value in values {
            let start = bytes.count
            switch value {
            case .null:
                ranges.append(nil)
                continue
            case .integer(let number): append(UInt64(bitPattern: number))
            case .real(let number): append(number.bitPattern)
            case .text(let text): bytes.append(contentsOf: text.utf8)
            case .blob(let blob): bytes.append(contentsOf: blob)
            }
            ranges.append(start..<bytes.count)
        }
        // An empty value has an address too: none would mean NULL.
        bytes.append(0)
    }

    static func type(_ value: DatabaseValue) -> PostgreSQLType {
        switch value {
        case .null: .unspecified
        case .integer: .int8
        case .real: .float8
        case .text: .text
        case .blob: .bytea
        }
    }

    /// Calls the body with the count, the values, their lengths and their formats (all binary).
    func withPointers<Result>(
        _ body: (
            Int32, UnsafePointer<UnsafePointer<CChar>?>?, UnsafePointer<Int32>?,
            UnsafePointer<Int32>?
        ) -> Result
    ) -> Result {
        bytes.withUnsafeBytes { raw in
            let base = raw.assumingMemoryBound(to: CChar.self).baseAddress
            let values = ranges.map { range in
                range.flatMap { range in base.map { $0 + range.lowerBound } }
            }
            let lengths = ranges.map { Int32(clamping: $0?.count ?? 0) }
            let formats = [Int32](repeating: 1, count: ranges.count)
            return body(Int32(clamping: ranges.count), values, lengths, formats)
        }
    }

    private mutating func append(_ number: UInt64) {
        for shift in stride(from: 56, through: 0, by: -8) {
            bytes.append(UInt8(truncatingIfNeeded: number >> UInt64(shift)))
        }
    }
}

extension DatabaseValue {
    /// A field of a result. `nil` for a type that no statement should answer with, or bytes that are
    /// not the type's. Truth is 1 or 0, as SQLite answers it.
    package init?(_ bytes: UnsafeRawBufferPointer, of type: UInt32) {
        switch PostgreSQLType(rawValue: type) {
        case .bool:
            guard bytes.count == 1 else { return nil }
            self = .integer(bytes[0] == 0 ? 0 : 1)
        case .int2:
            guard let number = Self.bigEndian(bytes, 2) else { return nil }
            self = .integer(Int64(Int16(truncatingIfNeeded: number)))
        case .int4:
            guard let number = Self.bigEndian(bytes, 4) else { return nil }
            self = .integer(Int64(Int32(truncatingIfNeeded: number)))
        case .oid:
            guard let number = Self.bigEndian(bytes, 4) else { return nil }
            self = .integer(Int64(number))
        case .int8:
            guard let number = Self.bigEndian(bytes, 8) else { return nil }
            self = .integer(Int64(bitPattern: number))
        case .float4:
            guard let number = Self.bigEndian(bytes, 4) else { return nil }
            self = .real(Double(Float(bitPattern: UInt32(truncatingIfNeeded: number))))
        case .float8:
            guard let number = Self.bigEndian(bytes, 8) else { return nil }
            self = .real(Double(bitPattern: number))
        case .text, .varchar, .bpchar, .name, .char, .unknown:
            self = .text(String(decoding: bytes, as: UTF8.self))
        case .bytea: self = .blob(Array(bytes))
        case .numeric:
            guard let value = Self.numeric(bytes) else { return nil }
            self = value
        case .void: self = .null
        case .unspecified, nil: return nil
        }
    }

    /// What SUM over whole numbers answers with: digits of base 10,000 (PostgreSQL's numeric.c).
    /// Whole numbers stay whole, as they do in SQLite.
    private static func numeric(_ bytes: UnsafeRawBufferPointer) -> DatabaseValue? {
        guard bytes.count >= 8, bytes.count % 2 == 0 else { return nil }
        func word(_ index: Int) -> Int { Int(bytes[index * 2]) << 8 | Int(bytes[index * 2 + 1]) }
        let (count, weight) = (word(0), Int(Int16(truncatingIfNeeded: word(1))))
        let (sign, scale) = (word(2), word(3))
        // Signs above are not numbers: NaN and the infinities.
        guard bytes.count == 8 + count * 2, sign == 0 || sign == 0x4000,
            (-128...76).contains(weight), count <= 128
        else { return nil }
        let isNegative = sign == 0x4000
        var real = 0.0
        var whole: Int64? = scale == 0 ? 0 : nil
        for place in stride(from: 0, through: max(weight, count - 1), by: 1) {
            let digit = place < count ? word(4 + place) : 0
            if place <= weight {
                real = real * 10_000 + Double(digit)
                whole = whole.flatMap { whole in
                    let (product, isTooLarge) = whole.multipliedReportingOverflow(by: 10_000)
                    let (sum, isStillTooLarge) = product.subtractingReportingOverflow(Int64(digit))
                    return isTooLarge || isStillTooLarge ? nil : sum
                }
            } else {
                var fraction = Double(digit)
                for _ in weight..<place { fraction /= 10_000 }
                real += fraction
            }
        }
        // Summed up below zero, where there is room for the smallest number as well.
        if let whole, isNegative { return .integer(whole) }
        if let whole, whole != .min { return .integer(-whole) }
        return .real(isNegative ? -real : real)
    }

    private static func bigEndian(_ bytes: UnsafeRawBufferPointer, _ count: Int) -> UInt64? {
        guard bytes.count == count else { return nil }
        return bytes.reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
    }
}
