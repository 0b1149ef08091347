// The parameter sets a decoder needs before the first picture, and its MP4 record.
// SPDX-License-Identifier: Apache-2.0

package import NIOCore

/// One sequence parameter set and the picture parameter sets that belong to it.
///
/// Pictures name their picture parameter set by its id, and some encoders use several in turn: all of
/// them count, so that a stream that alternates them stays one stream.
package struct ParameterSets: Hashable, Sendable {
    /// The sequence parameter set as a NAL unit.
    package let sps: ByteBuffer
    /// The picture parameter sets as NAL units, one for each id, by rising id; never empty.
    package let pictureParameterSets: [ByteBuffer]
    /// What the sequence parameter set says.
    package let sequence: SequenceParameterSet

    /// `avcC` counts picture parameter sets in 8 bits.
    private static let maxPictureParameterSets = 255
    /// Of an id; the largest is 255 (H.264 §7.4.2.2).
    private static let maxPictureParameterSetID: UInt32 = 255

    /// The picture parameter set with the lowest id.
    package var pps: ByteBuffer { pictureParameterSets[0] }

    /// All sets in the order in which they go before a picture.
    package var inBand: [ByteBuffer] { [sps] + pictureParameterSets }

    /// Takes two NAL units, header bytes included. They are copied: a slice would keep the whole
    /// network read alive for as long as the camera is connected.
    package init(sps: ByteBuffer, pps: ByteBuffer) throws(H26xError) {
        try self.init(sps: sps, pictureParameterSets: [pps])
    }

    /// Takes NAL units, header bytes included; of picture parameter sets with one id the last counts.
    package init(sps: ByteBuffer, pictureParameterSets all: [ByteBuffer]) throws(H26xError) {
        sequence = try SequenceParameterSet(parsing: sps)
        var byID: [Int: ByteBuffer] = [:]
        for pps in all {
            try Self.checkPPS(pps)
            // One whose id is unreadable is of no use beside others, and must not cost the stream.
            byID[Self.pictureParameterSetID(of: pps) ?? 0] = pps
        }
        guard !byID.isEmpty else { throw .truncated(offset: 0) }
        let bytes = byID.values.reduce(0) { $0 + $1.readableBytes }
        guard byID.count <= Self.maxPictureParameterSets, bytes <= Limits.maxParameterSetBytes
        else { throw .invalidValue(field: "PPS size", offset: 0) }
        self.sps = ByteBuffer(bytes: sps.readableBytesView)
        pictureParameterSets = byID.sorted { $0.key < $1.key }
            .map { ByteBuffer(bytes: $0.value.readableBytesView) }
    }

    /// The id by which slices name a picture parameter set; `nil` when it cannot be read.
    package static func pictureParameterSetID(of pps: ByteBuffer) -> Int? {
        // An id of up to 255 takes 17 bits, and one emulation prevention byte may lie between.
        var reader = BitReader(RBSP.unescape(pps.readableBytesView.dropFirst().prefix(5)))
        return try? reader.unsigned(max: maxPictureParameterSetID, "pic_parameter_set_id")
    }

    private static func checkPPS(_ pps: ByteBuffer) throws(H26xError) {
        guard let header = pps.readableBytesView.first else { throw .truncated(offset: 0) }
        guard NALUnitType(header: header) == .pps, header & 0x80 == 0 else {
            throw .unexpectedNALUnit(type: NALUnitType(header: header).rawValue, offset: 0)
        }
        guard pps.readableBytes > 1 else { throw .truncated(offset: 1) }
    }

    /// The `AVCDecoderConfigurationRecord` (ISO 14496-15 §5.3.3.1.2), with 4-byte NAL unit lengths.
    package func avcC() -> ByteBuffer {
        var record = ByteBuffer()
        record.writeInteger(UInt8(1))
        record.writeInteger(sequence.profileIndication)
        record.writeInteger(sequence.constraintFlags)
        record.writeInteger(sequence.levelIndication)
        record.writeInteger(UInt8(0xFC | 3))
        record.writeInteger(UInt8(0xE0 | 1))
        record.writeInteger(UInt16(truncatingIfNeeded: sps.readableBytes))
        record.writeImmutableBuffer(sps)
        record.writeInteger(UInt8(truncatingIfNeeded: pictureParameterSets.count))
        for pps in pictureParameterSets {
            record.writeInteger(UInt16(truncatingIfNeeded: pps.readableBytes))
            record.writeImmutableBuffer(pps)
        }
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

    /// Reads a record: its first sequence parameter set, and all picture parameter sets.
    package init(avcC record: ByteBuffer) throws(H26xError) {
        var rest = record.slice()
        guard let version = rest.readInteger(as: UInt8.self) else { throw .truncated(offset: 0) }
        guard version == 1 else { throw .invalidValue(field: "avcC version", offset: 0) }
        rest.moveReaderIndex(forwardBy: min(3, rest.readableBytes))
        guard let lengthSize = rest.readInteger(as: UInt8.self) else { throw .truncated(offset: 4) }
        // All samples are handled with 4-byte lengths; another size would be misread silently.
        guard lengthSize & 3 == 3 else { throw .invalidValue(field: "NAL length size", offset: 4) }
        let sps = try Self.sets(&rest, countMask: 0x1F, "SPS count")
        let pps = try Self.sets(&rest, countMask: 0xFF, "PPS count")
        // Recordings stay readable when something odd follows the set that matters most.
        let further = pps.dropFirst().filter { (try? Self.checkPPS($0)) != nil }
        try self.init(sps: sps[0], pictureParameterSets: [pps[0]] + further)
    }

    /// Reads a count and that many sets, each behind a 16-bit length; at least one.
    private static func sets(
        _ rest: inout ByteBuffer, countMask: UInt8, _ field: String
    ) throws(H26xError) -> [ByteBuffer] {
        let start = rest.readerIndex
        guard let count = rest.readInteger(as: UInt8.self) else { throw .truncated(offset: start) }
        var sets: [ByteBuffer] = []
        for _ in 0..<(count & countMask) {
            let offset = rest.readerIndex
            guard let set = rest.readLengthPrefixedSlice(as: UInt16.self) else {
                throw .truncated(offset: offset)
            }
            sets.append(set)
        }
        guard !sets.isEmpty else { throw .invalidValue(field: field, offset: start) }
        return sets
    }
}
