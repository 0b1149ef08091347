// Parameter sets as the record that MP4 files keep them in: `avcC` and `hvcC`.
// SPDX-License-Identifier: Apache-2.0

package import NIOCore

extension ParameterSets {
    /// The decoder configuration record of the codec (ISO 14496-15), with 4-byte NAL unit lengths.
    package func decoderConfiguration() -> ByteBuffer {
        switch sequence {
        case .h264(let sequence): avcC(sequence)
        case .h265(let sequence): hvcC(sequence)
        }
    }

    /// Reads the record of a codec.
    package init(decoderConfiguration record: ByteBuffer, _ codec: Codec) throws(H26xError) {
        switch codec {
        case .h264: try self.init(avcC: record)
        case .h265: try self.init(hvcC: record)
        }
    }

    // MARK: H.264 (`AVCDecoderConfigurationRecord`, ISO 14496-15 §5.3.3.1.2)

    private func avcC(_ sequence: H264SequenceParameterSet) -> ByteBuffer {
        var record = ByteBuffer()
        record.writeInteger(UInt8(1))
        record.writeInteger(sequence.profileIndication)
        record.writeInteger(sequence.constraintFlags)
        record.writeInteger(sequence.levelIndication)
        record.writeInteger(UInt8(0xFC | 3))
        record.writeInteger(UInt8(0xE0 | 1))
        record.writeSet(sps)
        record.writeInteger(UInt8(truncatingIfNeeded: pictureParameterSets.count))
        for pps in pictureParameterSets { record.writeSet(pps) }
        // ffmpeg and players write and read this tail for every profile that has the fields, not
        // only for the four that the standard names.
        if sequence.hasChromaExtension {
            record.writeInteger(0xFC | sequence.chromaFormat)
            record.writeInteger(0xF8 | (sequence.bitDepthLuma - 8))
            record.writeInteger(0xF8 | (sequence.bitDepthChroma - 8))
            record.writeInteger(UInt8(0))
        }
        return record
    }

    /// Its first sequence parameter set, and all picture parameter sets.
    private init(avcC record: ByteBuffer) throws(H26xError) {
        var rest = record.slice()
        guard let version = rest.readInteger(as: UInt8.self) else { throw .truncated(offset: 0) }
        guard version == 1 else { throw .invalidValue(field: "avcC version", offset: 0) }
        rest.moveReaderIndex(forwardBy: min(3, rest.readableBytes))
        try Self.readLengthSize(&rest, at: 4)
        let start = rest.readerIndex
        guard let spsCount = rest.readInteger(as: UInt8.self) else {
            throw .truncated(offset: start)
        }
        let sps = try Self.readSets(&rest, count: Int(spsCount & 0x1F))
        let ppsStart = rest.readerIndex
        guard let ppsCount = rest.readInteger(as: UInt8.self) else {
            throw .truncated(offset: ppsStart)
        }
        let pps = try Self.readSets(&rest, count: Int(ppsCount))
        guard let sps = sps.first else { throw .invalidValue(field: "SPS count", offset: start) }
        guard let first = pps.first else {
            throw .invalidValue(field: "PPS count", offset: ppsStart)
        }
        // Recordings stay readable when something odd follows the set that matters most.
        let further = pps.dropFirst().filter {
            (try? Self.check($0, is: .pictureParameterSet, .h264)) != nil
        }
        try self.init(sps: sps, pictureParameterSets: [first] + further)
    }

    // MARK: H.265 (`HEVCDecoderConfigurationRecord`, ISO 14496-15 §8.3.3.1.2)

    private func hvcC(_ sequence: H265SequenceParameterSet) -> ByteBuffer {
        var record = ByteBuffer()
        let profile = sequence.profile
        record.writeInteger(UInt8(1))
        record.writeInteger(
            profile.space << 6 | (profile.isHighTier ? 0x20 : 0) | profile.indication)
        record.writeInteger(profile.compatibility)
        record.writeInteger(UInt16(truncatingIfNeeded: profile.constraints >> 32))
        record.writeInteger(UInt32(truncatingIfNeeded: profile.constraints))
        record.writeInteger(profile.level)
        // No smallest segment and no parallelism are promised.
        record.writeInteger(UInt16(0xF000))
        record.writeInteger(UInt8(0xFC))
        record.writeInteger(0xFC | sequence.chromaFormat)
        record.writeInteger(0xF8 | (sequence.bitDepthLuma - 8))
        record.writeInteger(0xF8 | (sequence.bitDepthChroma - 8))
        record.writeInteger(UInt16(0))
        record.writeInteger(
            sequence.temporalLayers << 3 | (sequence.isTemporallyNested ? 4 : 0) | 3)
        let groups = [vps.map { [$0] } ?? [], [sps], pictureParameterSets]
        record.writeInteger(UInt8(groups.count))
        for (type, group) in zip(UInt8(32)..., groups) {
            // Complete: pictures need no others.
            record.writeInteger(0x80 | type)
            record.writeInteger(UInt16(truncatingIfNeeded: group.count))
            for set in group { record.writeSet(set) }
        }
        return record
    }

    private init(hvcC record: ByteBuffer) throws(H26xError) {
        var rest = record.slice()
        guard let version = rest.readInteger(as: UInt8.self) else { throw .truncated(offset: 0) }
        guard version == 1 else { throw .invalidValue(field: "hvcC version", offset: 0) }
        rest.moveReaderIndex(forwardBy: min(20, rest.readableBytes))
        try Self.readLengthSize(&rest, at: 21)
        guard let arrays = rest.readInteger(as: UInt8.self) else { throw .truncated(offset: 22) }
        var all: [ByteBuffer] = []
        for _ in 0..<arrays {
            let start = rest.readerIndex
            guard let (_, count) = rest.readMultipleIntegers(as: (UInt8, UInt16).self) else {
                throw .truncated(offset: start)
            }
            all += try Self.readSets(&rest, count: Int(count))
        }
        try self.init(among: all, .h265)
    }

    // MARK: Both

    private static func readLengthSize(
        _ rest: inout ByteBuffer, at offset: Int
    ) throws(H26xError) {
        guard let byte = rest.readInteger(as: UInt8.self) else { throw .truncated(offset: offset) }
        // All samples are handled with 4-byte lengths; another size would be misread silently.
        guard byte & 3 == 3 else { throw .invalidValue(field: "NAL length size", offset: offset) }
    }

    /// Reads sets, each behind a 16-bit length.
    private static func readSets(
        _ rest: inout ByteBuffer, count: Int
    ) throws(H26xError) -> [ByteBuffer] {
        var sets: [ByteBuffer] = []
        for _ in 0..<count {
            let offset = rest.readerIndex
            guard let set = rest.readLengthPrefixedSlice(as: UInt16.self) else {
                throw .truncated(offset: offset)
            }
            sets.append(set)
        }
        return sets
    }
}

extension ByteBuffer {
    fileprivate mutating func writeSet(_ set: ByteBuffer) {
        writeInteger(UInt16(truncatingIfNeeded: set.readableBytes))
        writeImmutableBuffer(set)
    }
}
