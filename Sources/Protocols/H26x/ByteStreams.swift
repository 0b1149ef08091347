// The two ways of laying NAL units end to end: start codes (Annex B) and lengths (AVCC).
// SPDX-License-Identifier: Apache-2.0

package import NIOCore

/// NAL units between start codes (H.264 annex B).
package enum AnnexB {
    /// Splits a byte stream; bytes before the first start code and zero bytes after a unit are not
    /// part of any unit. The units are slices.
    package static func nalUnits(in stream: ByteBuffer) -> [ByteBuffer] {
        let view = stream.readableBytesView
        var units: [ByteBuffer] = []
        var unitStart: Int?
        var zeros = 0
        /// Ends the open unit before the zeros that were counted (§B.1.1, trailing_zero_8bits).
        func close(at end: Int) {
            guard let start = unitStart, end > start,
                let unit = stream.getSlice(at: start, length: end - start)
            else { return }
            units.append(unit)
        }
        var index = view.startIndex
        for byte in view {
            if byte == 0 {
                zeros += 1
            } else {
                if byte == 1, zeros >= 2 {
                    close(at: index - zeros)
                    unitStart = index + 1
                }
                zeros = 0
            }
            index += 1
        }
        close(at: index - zeros)
        return units
    }

    /// Writes each unit behind a 4-byte start code.
    package static func serialize(_ nalUnits: [ByteBuffer]) -> ByteBuffer {
        var stream = ByteBuffer()
        stream.reserveCapacity(nalUnits.reduce(0) { $0 + 4 + $1.readableBytes })
        for unit in nalUnits {
            stream.writeInteger(UInt32(1))
            stream.writeImmutableBuffer(unit)
        }
        return stream
    }
}

/// NAL units behind 4-byte big-endian lengths, the form of an MP4 sample (ISO 14496-15 §5.3.2).
package enum AVCC {
    /// Writes each unit behind its length.
    package static func serialize(_ nalUnits: [ByteBuffer]) -> ByteBuffer {
        var sample = ByteBuffer()
        sample.reserveCapacity(nalUnits.reduce(0) { $0 + 4 + $1.readableBytes })
        for unit in nalUnits {
            sample.writeInteger(UInt32(truncatingIfNeeded: unit.readableBytes))
            sample.writeImmutableBuffer(unit)
        }
        return sample
    }

    /// Splits a sample into slices; a length that is zero or reaches past the end is an error.
    package static func nalUnits(in sample: ByteBuffer) throws(H26xError) -> [ByteBuffer] {
        var rest = sample.slice()
        var units: [ByteBuffer] = []
        while rest.readableBytes > 0 {
            let offset = rest.readerIndex
            guard let unit = rest.readLengthPrefixedSlice(as: UInt32.self) else {
                throw .truncated(offset: offset)
            }
            guard unit.readableBytes > 0 else {
                throw .invalidValue(field: "NAL unit length", offset: offset)
            }
            units.append(unit)
        }
        return units
    }
}
