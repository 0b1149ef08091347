// The five bits that say what an H.264 NAL unit carries.
// SPDX-License-Identifier: Apache-2.0

/// `nal_unit_type` (H.264 table 7-1).
package struct NALUnitType: RawRepresentable, Hashable, Sendable {
    /// The five-bit number.
    package var rawValue: UInt8

    /// Wraps a number; only the values 0…31 occur on the wire.
    package init(rawValue: UInt8) { self.rawValue = rawValue }

    /// Takes the type out of a NAL unit's first byte.
    package init(header: UInt8) { rawValue = header & 0x1F }

    /// A slice of a picture that is not an IDR picture.
    package static let nonIDRSlice = NALUnitType(rawValue: 1)
    /// The first data partition of a slice.
    package static let partitionA = NALUnitType(rawValue: 2)
    /// The second data partition of a slice.
    package static let partitionB = NALUnitType(rawValue: 3)
    /// The third data partition of a slice.
    package static let partitionC = NALUnitType(rawValue: 4)
    /// A slice of an IDR picture, where decoding can start.
    package static let idrSlice = NALUnitType(rawValue: 5)
    /// Supplemental enhancement information.
    package static let sei = NALUnitType(rawValue: 6)
    /// Sequence parameter set.
    package static let sps = NALUnitType(rawValue: 7)
    /// Picture parameter set.
    package static let pps = NALUnitType(rawValue: 8)
    /// Access unit delimiter.
    package static let aud = NALUnitType(rawValue: 9)
}
