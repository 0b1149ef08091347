// What an H.265 sequence parameter set says about the pictures that follow.
// SPDX-License-Identifier: Apache-2.0

package import NIOCore

/// The fields of an H.265 sequence parameter set (§7.3.2.2.1, annex E) that a recorder needs.
package struct H265SequenceParameterSet: Hashable, Sendable {
    /// Profile, tier and level of the whole stream.
    package private(set) var profile = H265Profile()
    /// Temporal layers, at least one.
    package private(set) var temporalLayers: UInt8 = 1
    /// `sps_temporal_id_nesting_flag`.
    package private(set) var isTemporallyNested = false
    /// `chroma_format_idc`; 1 is 4:2:0.
    package private(set) var chromaFormat: UInt8 = 1
    /// Bits of a luma sample.
    package private(set) var bitDepthLuma: UInt8 = 8
    /// Bits of a chroma sample.
    package private(set) var bitDepthChroma: UInt8 = 8
    /// Picture width in luma samples, inside the conformance window.
    package private(set) var width = 0
    /// Picture height in luma samples, inside the conformance window.
    package private(set) var height = 0
    /// `sps_max_num_reorder_pics` of the highest layer.
    package private(set) var maxNumReorderPictures = 0
    /// The frame rate that the VUI announces, where it does (§E.3.1: one tick a picture).
    package private(set) var framesPerSecond: Double?

    /// The RFC 6381 name of the codec, such as `hvc1.1.6.L93.B0` (ISO 14496-15 annex E).
    package var codecString: String { "hvc1." + profile.codecParameters }

    private var pictureOrderBits = 4

    /// Parses a whole NAL unit, header included.
    package init(parsing nal: ByteBuffer) throws(H26xError) {
        let view = nal.readableBytesView
        guard let header = view.first else { throw .truncated(offset: 0) }
        guard Codec.h265.kind(header: header) == .sequenceParameterSet, header & 0x80 == 0 else {
            throw .unexpectedNALUnit(type: header >> 1 & 0x3F, offset: 0)
        }
        guard view.count <= Limits.maxParameterSetBytes else {
            throw .invalidValue(field: "SPS size", offset: 0)
        }
        var reader = BitReader(RBSP.unescape(view))
        try reader.skip(16 + 4)
        let highestLayer = Int(try reader.bits(3))
        guard highestLayer <= 6 else {
            throw .invalidValue(field: "sps_max_sub_layers_minus1", offset: reader.byteOffset)
        }
        temporalLayers = UInt8(highestLayer + 1)
        isTemporallyNested = try reader.bit()
        profile = try H265Profile(&reader, highestLayer: highestLayer)
        _ = try reader.unsigned(max: 15, "sps_seq_parameter_set_id")
        try readPicture(&reader)
        try readReordering(&reader, highestLayer: highestLayer)
        // What follows matters for the frame rate alone, and cameras send VUIs that are cut short.
        do throws(H26xError) {
            try skipCodingTools(&reader)
            try readVUI(&reader)
        } catch {}
    }

    private mutating func readPicture(_ reader: inout BitReader) throws(H26xError) {
        let start = reader.byteOffset
        chromaFormat = UInt8(try reader.unsigned(max: 3, "chroma_format_idc"))
        let separatePlanes = chromaFormat == 3 ? try reader.bit() : false
        let side = UInt32(Limits.maxPictureSide)
        width = try reader.unsigned(max: side, "pic_width_in_luma_samples")
        height = try reader.unsigned(max: side, "pic_height_in_luma_samples")
        if try reader.bit() {
            // Offsets count in chroma samples (§7.4.3.2.1, SubWidthC and SubHeightC).
            let unitX = !separatePlanes && (chromaFormat == 1 || chromaFormat == 2) ? 2 : 1
            let unitY = !separatePlanes && chromaFormat == 1 ? 2 : 1
            let left = try reader.unsigned(max: side, "conf_win_left_offset")
            let right = try reader.unsigned(max: side, "conf_win_right_offset")
            let top = try reader.unsigned(max: side, "conf_win_top_offset")
            let bottom = try reader.unsigned(max: side, "conf_win_bottom_offset")
            width -= (left + right) * unitX
            height -= (top + bottom) * unitY
        }
        guard width > 0, height > 0 else {
            throw .invalidValue(field: "picture size", offset: start)
        }
        bitDepthLuma = 8 + UInt8(try reader.unsigned(max: 8, "bit_depth_luma_minus8"))
        bitDepthChroma = 8 + UInt8(try reader.unsigned(max: 8, "bit_depth_chroma_minus8"))
        pictureOrderBits = 4 + (try reader.unsigned(max: 12, "log2_max_poc_lsb_minus4"))
    }

    private mutating func readReordering(
        _ reader: inout BitReader, highestLayer: Int
    ) throws(H26xError) {
        let first = try reader.bit() ? 0 : highestLayer
        for _ in first...highestLayer {
            _ = try reader.unsigned(max: 15, "sps_max_dec_pic_buffering_minus1")
            maxNumReorderPictures = try reader.unsigned(max: 15, "sps_max_num_reorder_pics")
            _ = try reader.unsigned()
        }
    }

    /// From the sizes of coding blocks to the flag in front of the VUI.
    private func skipCodingTools(_ reader: inout BitReader) throws(H26xError) {
        for _ in 0..<6 { _ = try reader.unsigned() }
        if try reader.bit(), try reader.bit() { try Self.skipScalingLists(&reader) }
        try reader.skip(2)
        if try reader.bit() {
            try reader.skip(8)
            _ = try reader.unsigned()
            _ = try reader.unsigned()
            try reader.skip(1)
        }
        try Self.skipReferencePictureSets(&reader)
        if try reader.bit() {
            let count = try reader.unsigned(max: 32, "num_long_term_ref_pics_sps")
            try reader.skip(count * (pictureOrderBits + 1))
        }
        try reader.skip(2)
    }

    /// §7.3.4.
    private static func skipScalingLists(_ reader: inout BitReader) throws(H26xError) {
        for size in 0..<4 {
            for _ in 0..<(size == 3 ? 2 : 6) {
                guard try reader.bit() else {
                    _ = try reader.unsigned()
                    continue
                }
                if size > 1 { _ = try reader.signed() }
                for _ in 0..<min(64, 1 << (4 + 2 * size)) { _ = try reader.signed() }
            }
        }
    }

    /// §7.3.7. A set may be told by its difference from the one before it.
    private static func skipReferencePictureSets(_ reader: inout BitReader) throws(H26xError) {
        let count = try reader.unsigned(max: 64, "num_short_term_ref_pic_sets")
        var pictures = 0
        for index in 0..<count {
            if index > 0, try reader.bit() {
                try reader.skip(1)
                _ = try reader.unsigned()
                var kept = 0
                for _ in 0...pictures {
                    let isUsed = try reader.bit()
                    let isKept = isUsed ? true : try reader.bit()
                    if isKept { kept += 1 }
                }
                pictures = kept
            } else {
                let negative = try reader.unsigned(max: 16, "num_negative_pics")
                let positive = try reader.unsigned(max: 16, "num_positive_pics")
                pictures = negative + positive
                for _ in 0..<pictures {
                    _ = try reader.unsigned()
                    try reader.skip(1)
                }
            }
            guard pictures <= 32 else {
                throw .invalidValue(field: "short-term pictures", offset: reader.byteOffset)
            }
        }
    }

    /// Reads annex E.2.1 as far as the frame rate.
    private mutating func readVUI(_ reader: inout BitReader) throws(H26xError) {
        guard try reader.bit() else { return }
        try reader.skipPictureDescription()
        try reader.skip(3)
        if try reader.bit() {
            for _ in 0..<4 { _ = try reader.unsigned() }
        }
        guard try reader.bit() else { return }
        let unitsInTick = try reader.bits(32)
        let timeScale = try reader.bits(32)
        if unitsInTick > 0, timeScale > 0 {
            framesPerSecond = Double(timeScale) / Double(unitsInTick)
        }
    }
}

/// The general part of `profile_tier_level` (H.265 §7.3.3).
package struct H265Profile: Hashable, Sendable {
    /// `general_profile_space`, two bits.
    package private(set) var space: UInt8 = 0
    /// `general_tier_flag`: the high tier.
    package private(set) var isHighTier = false
    /// `general_profile_idc`, five bits.
    package private(set) var indication: UInt8 = 0
    /// `general_profile_compatibility_flag[0…31]`, the first one in the highest bit.
    package private(set) var compatibility: UInt32 = 0
    /// The 48 bits of constraints, the first in bit 47.
    package private(set) var constraints: UInt64 = 0
    /// `general_level_idc`: thirty times the level number.
    package private(set) var level: UInt8 = 0

    init() {}

    init(_ reader: inout BitReader, highestLayer: Int) throws(H26xError) {
        space = UInt8(try reader.bits(2))
        isHighTier = try reader.bit()
        indication = UInt8(try reader.bits(5))
        compatibility = try reader.bits(32)
        constraints = UInt64(try reader.bits(24)) << 24 | UInt64(try reader.bits(24))
        level = UInt8(try reader.bits(8))
        guard highestLayer > 0 else { return }
        var layerBits = 0
        for _ in 0..<highestLayer {
            if try reader.bit() { layerBits += 88 }
            if try reader.bit() { layerBits += 8 }
        }
        try reader.skip(2 * (8 - highestLayer) + layerBits)
    }

    /// What follows `hvc1.` (ISO 14496-15 annex E.3): constraint bytes of zero at the end are left out.
    var codecParameters: String {
        let space = ["", "A", "B", "C"][Int(space & 3)]
        let reversed = (0..<32).reduce(UInt32(0)) { $0 << 1 | compatibility >> UInt32($1) & 1 }
        var bytes = stride(from: 40, through: 0, by: -8).map {
            UInt8(truncatingIfNeeded: constraints >> UInt64($0))
        }
        while bytes.last == 0 { bytes.removeLast() }
        let parts =
            [
                space + String(indication), String(reversed, radix: 16, uppercase: true),
                (isHighTier ? "H" : "L") + String(level),
            ] + bytes.map { String($0, radix: 16, uppercase: true) }
        return parts.joined(separator: ".")
    }
}
