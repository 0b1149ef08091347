// What can be wrong with H.264 and H.265 bytes, and where; and the limits this module holds.
// SPDX-License-Identifier: Apache-2.0

/// A fault in H.264 or H.265 bytes. Offsets count bytes from the start of what was parsed; inside a
/// parameter set they count bytes after emulation prevention was removed.
package enum H26xError: Error, Equatable, Sendable {
    /// The bytes ended inside a field.
    case truncated(offset: Int)
    /// A NAL unit of another type stood where this one was expected.
    case unexpectedNALUnit(type: UInt8, offset: Int)
    /// A field holds a value that the standard forbids or that exceeds our limits.
    case invalidValue(field: String, offset: Int)
}

/// The module's limits: anything above is refused, not allocated.
enum Limits {
    /// `avcC` counts parameter set bytes in 16 bits (ISO 14496-15 §5.3.3.1).
    static let maxParameterSetBytes = 65_535
    /// Level 6.2 stops at 16,384 luma samples a side (H.264 table A-1, `8 * MaxFS` rule); H.265's
    /// level 6.2 stops a little later (§A.4.1).
    static let maxPictureSide = 16_384
}
