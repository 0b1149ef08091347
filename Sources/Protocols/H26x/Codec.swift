// The two codecs whose pictures come as NAL units, and what is common to their headers.
// SPDX-License-Identifier: Apache-2.0

package import NIOCore

/// A video codec of NAL units.
package enum Codec: Hashable, Sendable, CaseIterable {
    case h264
    case h265

    /// What a NAL unit is for, in the words that both codecs share.
    package enum NALUnitKind: Hashable, Sendable {
        /// A part of a picture that refers to others, or one whose references are not told.
        case slice
        /// A part of a picture where decoding can start: IDR, in H.265 also CRA and BLA.
        case randomAccessSlice
        /// The second or third data partition of an H.264 slice.
        case slicePartition
        case videoParameterSet
        case sequenceParameterSet
        case pictureParameterSet
        case delimiter
        /// Supplemental enhancement information; in H.265 that in front of a picture.
        case sei
        case other

        package var isParameterSet: Bool {
            switch self {
            case .videoParameterSet, .sequenceParameterSet, .pictureParameterSet: true
            case .slice, .randomAccessSlice, .slicePartition, .delimiter, .sei, .other: false
            }
        }
    }

    /// Bytes of a NAL unit's header (H.264 §7.3.1, H.265 §7.3.1.2).
    package var headerBytes: Int {
        switch self {
        case .h264: 1
        case .h265: 2
        }
    }

    /// The kind that a NAL unit's first byte names (H.264 table 7-1, H.265 table 7-1).
    package func kind(header: UInt8) -> NALUnitKind {
        switch self {
        case .h264: Self.h264Kind(NALUnitType(header: header))
        case .h265: Self.h265Kind(header >> 1 & 0x3F)
        }
    }

    /// The kind of a NAL unit; `nil` for one without bytes.
    package func kind(of nalUnit: ByteBuffer) -> NALUnitKind? {
        nalUnit.readableBytesView.first.map(kind(header:))
    }

    /// The id by which slices name a picture parameter set; `nil` when it cannot be read.
    package func pictureParameterSetID(of nalUnit: ByteBuffer) -> Int? {
        // An id of up to 255 takes 17 bits, and one emulation prevention byte may lie between.
        let bytes = nalUnit.readableBytesView.dropFirst(headerBytes).prefix(5)
        var reader = BitReader(RBSP.unescape(bytes))
        return try? reader.unsigned(max: maxPictureParameterSetID, "pic_parameter_set_id")
    }

    /// H.264 §7.4.2.2; H.265 §7.4.3.3.1.
    private var maxPictureParameterSetID: UInt32 {
        switch self {
        case .h264: 255
        case .h265: 63
        }
    }

    private static func h264Kind(_ type: NALUnitType) -> NALUnitKind {
        switch type {
        case .nonIDRSlice: .slice
        case .idrSlice: .randomAccessSlice
        case .sei: .sei
        case .sps: .sequenceParameterSet
        case .pps: .pictureParameterSet
        case .aud: .delimiter
        case .partitionA: .slice
        case .partitionB, .partitionC: .slicePartition
        default: .other
        }
    }

    private static func h265Kind(_ type: UInt8) -> NALUnitKind {
        switch type {
        case 0...15: .slice
        case 16...23: .randomAccessSlice
        case 32: .videoParameterSet
        case 33: .sequenceParameterSet
        case 34: .pictureParameterSet
        case 35: .delimiter
        case 39: .sei
        default: .other
        }
    }
}
