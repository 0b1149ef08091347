// What can be wrong with MP4 bytes, and where; and the limits this module holds.
// SPDX-License-Identifier: Apache-2.0

package import H26x

/// A fault in MP4 bytes. Offsets count bytes from the start of what was parsed.
package enum MP4Error: Error, Equatable, Sendable {
    /// The bytes ended inside a box or a field.
    case truncated(offset: Int)
    /// A box that must be there is missing.
    case missingBox(String)
    /// A field holds a value that the standard forbids or that exceeds our limits.
    case invalidValue(field: String, offset: Int)
    /// The box is valid but of a form that this recorder never writes.
    case unsupported(String, offset: Int)
    /// The decoder record inside the sample entry is damaged.
    case parameterSets(H26xError)
}

/// The module's limits: anything above is refused, not allocated.
enum Limits {
    /// Two seconds of the largest access units stay below this; `data_offset` has 31 bits.
    static let maxFragmentBytes = 1 << 30
    /// 1,000 pictures a second for a minute.
    static let maxSamplesPerFragment = 60_000
    /// 60,000 samples of 16 bytes each, with room for the boxes around them.
    static let maxMovieFragmentBytes: UInt64 = 1 << 20
    /// Two parameter sets and a few hundred bytes of boxes.
    static let maxMovieBytes: UInt64 = 1 << 18
    /// One a second for more than eleven days.
    static let maxBoxesPerFile = 1_000_000
    /// What a scan reads at a box header: enough for the `moof` of a usual two-second fragment.
    static let scanProbeBytes: UInt64 = 2048
    /// What a scan reads at once when it looks for the next fragment.
    static let searchBytes: UInt64 = 1 << 16
    /// So many zeros in a row are no coded picture: §7.4.1 of H.264 forbids three, cameras pad a few.
    static let zerosOfAHole = 64
}
