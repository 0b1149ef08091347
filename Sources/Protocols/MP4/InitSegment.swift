// The head of every recording and live stream: what the track is, before any picture.
// SPDX-License-Identifier: Apache-2.0

package import H26x
package import NIOCore

/// A CMAF header (ISO 23000-19 §7.3.1): `ftyp`, and a `moov` that announces fragments.
package struct InitSegment {
    /// The unit of all times in the file.
    package static let timescale: UInt32 = 90_000

    private static let trackID: UInt32 = 1
    /// 1.0 in 16.16, the rest of the identity matrix in between (ISO 14496-12 §8.2.2).
    private static let identityMatrix: [UInt32] = [
        0x1_0000, 0, 0, 0, 0x1_0000, 0, 0, 0, 0x4000_0000,
    ]

    /// Writes the header for one track.
    package static func serialize(_ parameterSets: ParameterSets) -> ByteBuffer {
        var file = ByteBuffer()
        file.writeBox("ftyp") { box in
            let names = SampleEntryNames(parameterSets.codec)
            let brands: [FourCC] = ["iso6", "cmfc", names.entry, "mp41"]
            box.writeInteger(FourCC("iso6").rawValue)
            box.writeInteger(UInt32(0))
            for brand in brands { box.writeInteger(brand.rawValue) }
        }
        file.writeBox("moov") { moov in
            writeMovieHeader(&moov)
            moov.writeBox("trak") { writeTrack(&$0, parameterSets) }
            moov.writeBox("mvex") { mvex in
                mvex.writeFullBox("trex") { box in
                    box.writeInteger(trackID)
                    box.writeInteger(UInt32(1))
                    box.writeZeros(12)
                }
            }
        }
        return file
    }

    private static func writeMovieHeader(_ moov: inout ByteBuffer) {
        moov.writeFullBox("mvhd") { box in
            // No creation time: the same camera settings give the same bytes, so that players and
            // tests can compare headers.
            box.writeZeros(8)
            box.writeInteger(timescale)
            box.writeInteger(UInt32(0))
            box.writeInteger(UInt32(0x1_0000))
            box.writeInteger(UInt16(0x100))
            box.writeZeros(10)
            for value in identityMatrix { box.writeInteger(value) }
            box.writeZeros(24)
            box.writeInteger(trackID + 1)
        }
    }

    private static func writeTrack(_ trak: inout ByteBuffer, _ parameterSets: ParameterSets) {
        let enabledAndInMovie: UInt32 = 3
        trak.writeFullBox("tkhd", flags: enabledAndInMovie) { box in
            box.writeZeros(8)
            box.writeInteger(trackID)
            box.writeZeros(24)
            for value in identityMatrix { box.writeInteger(value) }
            // 16.16 fixed point.
            box.writeInteger(UInt32(truncatingIfNeeded: parameterSets.sequence.width) << 16)
            box.writeInteger(UInt32(truncatingIfNeeded: parameterSets.sequence.height) << 16)
        }
        trak.writeBox("mdia") { mdia in
            mdia.writeFullBox("mdhd") { box in
                box.writeZeros(8)
                box.writeInteger(timescale)
                box.writeInteger(UInt32(0))
                // "und" in three five-bit letters.
                box.writeInteger(UInt16(0x55C4))
                box.writeZeros(2)
            }
            mdia.writeFullBox("hdlr") { box in
                box.writeZeros(4)
                box.writeInteger(FourCC("vide").rawValue)
                box.writeZeros(12)
                box.writeBytes("Video\0".utf8)
            }
            mdia.writeBox("minf") { writeMediaInformation(&$0, parameterSets) }
        }
    }

    private static func writeMediaInformation(
        _ minf: inout ByteBuffer, _ parameterSets: ParameterSets
    ) {
        minf.writeFullBox("vmhd", flags: 1) { $0.writeZeros(8) }
        minf.writeBox("dinf") { dinf in
            dinf.writeFullBox("dref") { dref in
                dref.writeInteger(UInt32(1))
                let sameFile: UInt32 = 1
                dref.writeFullBox("url ", flags: sameFile) { _ in }
            }
        }
        minf.writeBox("stbl") { stbl in
            stbl.writeFullBox("stsd") { stsd in
                stsd.writeInteger(UInt32(1))
                let names = SampleEntryNames(parameterSets.codec)
                stsd.writeBox(names.entry) { writeSampleEntry(&$0, parameterSets) }
            }
            stbl.writeFullBox("stts") { $0.writeZeros(4) }
            stbl.writeFullBox("stsc") { $0.writeZeros(4) }
            stbl.writeFullBox("stsz") { $0.writeZeros(8) }
            stbl.writeFullBox("stco") { $0.writeZeros(4) }
        }
    }

    /// The fixed part of a `VisualSampleEntry` (ISO 14496-12 §12.1.3), then the decoder's record.
    private static func writeSampleEntry(
        _ entry: inout ByteBuffer, _ parameterSets: ParameterSets
    ) {
        entry.writeZeros(6)
        entry.writeInteger(UInt16(1))
        entry.writeZeros(16)
        entry.writeInteger(UInt16(truncatingIfNeeded: parameterSets.sequence.width))
        entry.writeInteger(UInt16(truncatingIfNeeded: parameterSets.sequence.height))
        let dotsPerInch72: UInt32 = 0x48_0000
        entry.writeInteger(dotsPerInch72)
        entry.writeInteger(dotsPerInch72)
        entry.writeZeros(4)
        entry.writeInteger(UInt16(1))
        entry.writeZeros(32)
        entry.writeInteger(UInt16(24))
        entry.writeInteger(UInt16.max)
        let names = SampleEntryNames(parameterSets.codec)
        entry.writeBox(names.record) {
            $0.writeImmutableBuffer(parameterSets.decoderConfiguration())
        }
    }

    /// Finds the parameter sets of the first track of a known codec.
    package static func parameterSets(in header: ByteBuffer) throws(MP4Error) -> ParameterSets {
        let buffer = header.slice()
        let top = try Box.list(in: buffer, 0..<buffer.readableBytes)
        guard let moov = top.first(where: { $0.type == "moov" }) else {
            throw .missingBox("moov")
        }
        for trak in try Box.list(in: buffer, moov.body) where trak.type == "trak" {
            if let (record, codec) = try decoderRecord(in: buffer, track: trak) {
                do throws(H26xError) {
                    return try ParameterSets(decoderConfiguration: record, codec)
                } catch {
                    throw .parameterSets(error)
                }
            }
        }
        throw .missingBox("avcC or hvcC")
    }

    /// Walks down to the decoder's record; `nil` where the track is not video of a known codec.
    private static func decoderRecord(
        in buffer: ByteBuffer, track: Box
    ) throws(MP4Error) -> (ByteBuffer, Codec)? {
        let path: [FourCC] = ["mdia", "minf", "stbl", "stsd"]
        var box = track
        for type in path {
            guard let child = try Box.list(in: buffer, box.body).first(where: { $0.type == type })
            else { return nil }
            box = child
        }
        let entriesOffset = 8
        guard box.body.count >= entriesOffset else { throw .truncated(offset: box.body.upperBound) }
        let entries = try Box.list(
            in: buffer, (box.body.lowerBound + entriesOffset)..<box.body.upperBound)
        var found: (entry: Box, codec: Codec)?
        for entry in entries where found == nil {
            found = SampleEntryNames.codec(of: entry.type).map { (entry, $0) }
        }
        guard let (entry, codec) = found else { return nil }
        let visualEntryBytes = 78
        guard entry.body.count >= visualEntryBytes else {
            throw .truncated(offset: entry.body.upperBound)
        }
        let children = try Box.list(
            in: buffer, (entry.body.lowerBound + visualEntryBytes)..<entry.body.upperBound)
        let names = SampleEntryNames(codec)
        guard let record = children.first(where: { $0.type == names.record }) else { return nil }
        return buffer.getSlice(at: record.body.lowerBound, length: record.body.count)
            .map { ($0, codec) }
    }
}

/// The boxes that say which codec a track has (ISO 14496-15 §5.4.2, §8.4.1).
private struct SampleEntryNames {
    var entry: FourCC
    var record: FourCC

    init(_ codec: Codec) {
        switch codec {
        case .h264: (entry, record) = ("avc1", "avcC")
        case .h265: (entry, record) = ("hvc1", "hvcC")
        }
    }

    static func codec(of entry: FourCC) -> Codec? {
        if entry == "avc1" || entry == "avc3" { return .h264 }
        if entry == "hvc1" || entry == "hev1" { return .h265 }
        return nil
    }
}
