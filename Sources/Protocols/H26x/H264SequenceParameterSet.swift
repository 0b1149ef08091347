// What an H.264 sequence parameter set says about the pictures that follow.
// SPDX-License-Identifier: Apache-2.0

package import NIOCore

/// The fields of an H.264 sequence parameter set (§7.3.2.1.1, annex E) that a recorder needs.
package struct H264SequenceParameterSet: Hashable, Sendable {
    /// `profile_idc`.
    package private(set) var profileIndication: UInt8
    /// The `constraint_set` flags and reserved bits, as one byte.
    package private(set) var constraintFlags: UInt8
    /// `level_idc`: ten times the level number.
    package private(set) var levelIndication: UInt8
    /// `chroma_format_idc`; 1 (4:2:0) where the profile has no such field.
    package private(set) var chromaFormat: UInt8 = 1
    /// Bits of a luma sample.
    package private(set) var bitDepthLuma: UInt8 = 8
    /// Bits of a chroma sample.
    package private(set) var bitDepthChroma: UInt8 = 8
    /// Picture width in luma samples, after cropping.
    package private(set) var width = 0
    /// Picture height in luma samples, after cropping.
    package private(set) var height = 0
    /// The frame rate that the VUI announces, where it does (§E.2.1: two ticks a frame).
    package private(set) var framesPerSecond: Double?
    /// How many frames may precede one in decoding order and follow it in output order, where the
    /// VUI says so.
    package private(set) var maxNumReorderFrames: Int?

    /// The RFC 6381 name of the codec, such as `avc1.4D401F`.
    package var codecString: String {
        "avc1." + hex(profileIndication) + hex(constraintFlags) + hex(levelIndication)
    }

    /// The three bytes after the NAL header, as SDP names them (RFC 6184 §8.1).
    package var profileLevelID: UInt32 {
        UInt32(profileIndication) << 16 | UInt32(constraintFlags) << 8 | UInt32(levelIndication)
    }

    /// Whether `avcC` must end with chroma format and bit depths (ISO 14496-15 §5.3.3.1.2).
    var hasChromaExtension: Bool { Self.profilesWithChroma.contains(profileIndication) }

    private static let profilesWithChroma: Set<UInt8> = [
        44, 83, 86, 100, 110, 118, 122, 128, 134, 135, 138, 139, 144, 244,
    ]

    /// Parses a whole NAL unit, header byte included.
    package init(parsing nal: ByteBuffer) throws(H26xError) {
        let view = nal.readableBytesView
        guard let header = view.first else { throw .truncated(offset: 0) }
        guard NALUnitType(header: header) == .sps, header & 0x80 == 0 else {
            throw .unexpectedNALUnit(type: NALUnitType(header: header).rawValue, offset: 0)
        }
        guard view.count <= Limits.maxParameterSetBytes else {
            throw .invalidValue(field: "SPS size", offset: 0)
        }
        var reader = BitReader(RBSP.unescape(view))
        try reader.skip(8)
        profileIndication = UInt8(truncatingIfNeeded: try reader.bits(8))
        constraintFlags = UInt8(truncatingIfNeeded: try reader.bits(8))
        levelIndication = UInt8(truncatingIfNeeded: try reader.bits(8))
        _ = try reader.unsigned(max: 31, "seq_parameter_set_id")
        var separatePlanes = false
        if hasChromaExtension { separatePlanes = try readChroma(&reader) }
        try Self.skipPictureOrder(&reader)
        _ = try reader.unsigned(max: 16, "max_num_ref_frames")
        try reader.skip(1)
        try readDimensions(&reader, separatePlanes: separatePlanes)
        // Cameras send VUIs that are cut short or wrong; the picture decodes all the same, so what
        // was read up to the fault is kept and the rest stays unknown.
        do throws(H26xError) { try readVUI(&reader) } catch {}
    }

    /// Reads the fields of the high profiles; answers `separate_colour_plane_flag`.
    private mutating func readChroma(_ reader: inout BitReader) throws(H26xError) -> Bool {
        chromaFormat = UInt8(try reader.unsigned(max: 3, "chroma_format_idc"))
        let separatePlanes = chromaFormat == 3 ? try reader.bit() : false
        bitDepthLuma = 8 + UInt8(try reader.unsigned(max: 6, "bit_depth_luma_minus8"))
        bitDepthChroma = 8 + UInt8(try reader.unsigned(max: 6, "bit_depth_chroma_minus8"))
        try reader.skip(1)
        guard try reader.bit() else { return separatePlanes }
        for list in 0..<(chromaFormat == 3 ? 12 : 8) where try reader.bit() {
            try Self.skipScalingList(&reader, count: list < 6 ? 16 : 64)
        }
        return separatePlanes
    }

    private static func skipScalingList(
        _ reader: inout BitReader, count: Int
    ) throws(H26xError) {
        var last = 8
        var next = 8
        for _ in 0..<count {
            if next != 0 {
                // A delta outside -128…127 is forbidden; the mask keeps a hostile one harmless.
                next = (last + (try reader.signed()) + 256) & 0xFF
            }
            last = next == 0 ? last : next
        }
    }

    private static func skipPictureOrder(_ reader: inout BitReader) throws(H26xError) {
        _ = try reader.unsigned(max: 12, "log2_max_frame_num_minus4")
        switch try reader.unsigned(max: 2, "pic_order_cnt_type") {
        case 0:
            _ = try reader.unsigned(max: 12, "log2_max_pic_order_cnt_lsb_minus4")
        case 1:
            try reader.skip(1)
            _ = try reader.signed()
            _ = try reader.signed()
            let count = try reader.unsigned(max: 255, "num_ref_frames_in_pic_order_cnt_cycle")
            for _ in 0..<count { _ = try reader.signed() }
        default:
            break
        }
    }

    private mutating func readDimensions(
        _ reader: inout BitReader, separatePlanes: Bool
    ) throws(H26xError) {
        let start = reader.byteOffset
        let sideInBlocks = UInt32(Limits.maxPictureSide / 16 - 1)
        let widthInBlocks = try reader.unsigned(max: sideInBlocks, "pic_width_in_mbs_minus1") + 1
        let heightInUnits =
            try reader.unsigned(max: sideInBlocks, "pic_height_in_map_units_minus1") + 1
        let framesOnly = try reader.bit()
        if !framesOnly { try reader.skip(1) }
        try reader.skip(1)
        width = widthInBlocks * 16
        height = heightInUnits * 16 * (framesOnly ? 1 : 2)
        guard try reader.bit() else { return }
        // Cropping counts in chroma samples, and in field lines where fields may occur (7-19…7-22).
        let subsampled = !separatePlanes
        let unitX = subsampled && (chromaFormat == 1 || chromaFormat == 2) ? 2 : 1
        let unitY = (subsampled && chromaFormat == 1 ? 2 : 1) * (framesOnly ? 1 : 2)
        let side = UInt32(Limits.maxPictureSide)
        let left = try reader.unsigned(max: side, "frame_crop_left_offset")
        let right = try reader.unsigned(max: side, "frame_crop_right_offset")
        let top = try reader.unsigned(max: side, "frame_crop_top_offset")
        let bottom = try reader.unsigned(max: side, "frame_crop_bottom_offset")
        width -= (left + right) * unitX
        height -= (top + bottom) * unitY
        guard width > 0, height > 0 else {
            throw .invalidValue(field: "frame cropping", offset: start)
        }
    }

    /// Reads annex E.1.1 as far as the fields that matter here.
    private mutating func readVUI(_ reader: inout BitReader) throws(H26xError) {
        guard try reader.bit() else { return }
        try reader.skipPictureDescription()
        if try reader.bit() {
            let unitsInTick = try reader.bits(32)
            let timeScale = try reader.bits(32)
            try reader.skip(1)
            if unitsInTick > 0, timeScale > 0 {
                framesPerSecond = Double(timeScale) / (2 * Double(unitsInTick))
            }
        }
        let hasNALTiming = try reader.bit()
        if hasNALTiming { try Self.skipHypotheticalDecoder(&reader) }
        let hasVCLTiming = try reader.bit()
        if hasVCLTiming { try Self.skipHypotheticalDecoder(&reader) }
        if hasNALTiming || hasVCLTiming { try reader.skip(1) }
        try reader.skip(1)
        guard try reader.bit() else { return }
        try reader.skip(1)
        for _ in 0..<4 { _ = try reader.unsigned() }
        maxNumReorderFrames = try reader.unsigned(max: 16, "max_num_reorder_frames")
    }

    private static func skipHypotheticalDecoder(_ reader: inout BitReader) throws(H26xError) {
        let count = try reader.unsigned(max: 31, "cpb_cnt_minus1") + 1
        try reader.skip(8)
        for _ in 0..<count {
            _ = try reader.unsigned()
            _ = try reader.unsigned()
            try reader.skip(1)
        }
        try reader.skip(20)
    }
}
