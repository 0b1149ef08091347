// The pair of parameter sets a decoder needs before the first picture, and its MP4 record.
// SPDX-License-Identifier: Apache-2.0

package import NIOCore

/// One sequence and one picture parameter set that belong together.
package struct ParameterSets: Hashable, Sendable {
    /// The sequence parameter set as a NAL unit.
    package let sps: ByteBuffer
    /// The picture parameter set as a NAL unit.
    package let pps: ByteBuffer
    /// What the sequence parameter set says.
    package let sequence: SequenceParameterSet

    /// Takes two NAL units, header bytes included. They are copied: a slice would keep the whole
    /// network read alive for as long as the camera is connected.
    package init(sps: ByteBuffer, pps: ByteBuffer) throws(H26xError) {
        sequence = try SequenceParameterSet(parsing: sps)
        let header = pps.readableBytesView.first
        guard let header else { throw .truncated(offset: 0) }
        guard NALUnitType(header: header) == .pps, header & 0x80 == 0 else {
            throw .unexpectedNALUnit(type: NALUnitType(header: header).rawValue, offset: 0)
        }
        guard pps.readableBytes > 1 else { throw .truncated(offset: 1) }
        guard pps.readableBytes <= Limits.maxParameterSetBytes else {
            throw .invalidValue(field: "PPS size", offset: 0)
        }
        self.sps = ByteBuffer(bytes: sps.readableBytesView)
        self.pps = ByteBuffer(bytes: pps.readableBytesView)
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
        record.writeInteger(UInt8(1))
        record.writeInteger(UInt16(truncatingIfNeeded: pps.readableBytes))
        record.writeImmutableBuffer(pps)
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

    /// Reads a record; the first parameter set of each kind is taken.
    package init(avcC record: ByteBuffer) throws(H26xError) {
        var rest = record.slice()
        guard let version = rest.readInteger(as: UInt8.self) else { throw .truncated(offset: 0) }
        guard version == 1 else { throw .invalidValue(field: "avcC version", offset: 0) }
        rest.moveReaderIndex(forwardBy: min(3, rest.readableBytes))
        guard let lengthSize = rest.readInteger(as: UInt8.self) else { throw .truncated(offset: 4) }
        // All samples are handled with 4-byte lengths; another size would be misread silently.
        guard lengthSize & 3 == 3 else { throw .invalidValue(field: "NAL length size", offset: 4) }
        let sps = try Self.firstSet(&rest, countMask: 0x1F, "SPS count")
        let pps = try Self.firstSet(&rest, countMask: 0xFF, "PPS count")
        try self.init(sps: sps, pps: pps)
    }

    /// Reads a count and that many sets, each behind a 16-bit length; answers the first.
    private static func firstSet(
        _ rest: inout ByteBuffer, countMask: UInt8, _ field: String
    ) throws(H26xError) -> ByteBuffer {
        let start = rest.readerIndex
        guard let count = rest.readInteger(as: UInt8.self) else { throw .truncated(offset: start) }
        var first: ByteBuffer?
        for _ in 0..<(count & countMask) {
            let offset = rest.readerIndex
            guard let set = rest.readLengthPrefixedSlice(as: UInt16.self) else {
                throw .truncated(offset: offset)
            }
            if first == nil { first = set }
        }
        guard let first else { throw .invalidValue(field: field, offset: start) }
        return first
    }
}
