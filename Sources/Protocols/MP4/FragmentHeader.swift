// Reads a movie fragment's head: where each sample lies, and when it is decoded.
// SPDX-License-Identifier: Apache-2.0

package import H26x
package import NIOCore

/// The `moof` of a single-track fragment and the header of its `mdat`.
package struct FragmentHeader: Equatable, Sendable {
    /// One sample of the fragment.
    package struct Sample: Equatable, Sendable {
        /// Bytes from the start of the fragment (of its `moof`).
        package var offset: Int
        /// Bytes of the sample.
        package var size: Int
        /// 90 kHz ticks.
        package var duration: UInt32
        /// Whether decoding can start here.
        package var isSync: Bool
    }

    /// Bytes of `moof`.
    package private(set) var moofSize: Int
    /// Bytes of `mdat`, its header included.
    package private(set) var mdatSize: Int
    /// The fragment's number in its file.
    package private(set) var sequenceNumber: UInt32 = 0
    /// The decode time of the first sample.
    package private(set) var baseDecodeTime: Int64 = 0
    /// Where in the fragment the 64-bit base decode time lies.
    package private(set) var baseDecodeTimeOffset = 0
    /// The sum of the sample durations.
    package private(set) var duration: UInt64 = 0
    /// The samples in decoding order.
    package private(set) var samples: [Sample] = []

    /// Where in the fragment the 32-bit sequence number lies.
    private(set) var sequenceNumberOffset = 0

    /// Bytes of the whole fragment.
    package var size: Int { moofSize + mdatSize }
    /// Whether decoding can start at the fragment.
    package var firstIsSync: Bool { samples.first?.isSync ?? false }

    /// Whether the samples lie end to end and reach exactly to the end of `mdat`, as the recorder
    /// writes them: a damaged size would hide the next fragment in this one.
    package private(set) var fillsMediaData = false

    /// Whether each sample of the fragment consists of whole NAL units that can be coded pictures:
    /// a power cut leaves zeros where the file had grown and the bytes had not come yet.
    package func holdsNALUnits(_ fragment: ByteBuffer, _ codec: Codec) -> Bool {
        fragment.withUnsafeReadableBytes { bytes in
            samples.allSatisfy { sample in
                let (end, overflow) = sample.offset.addingReportingOverflow(sample.size)
                guard !overflow, sample.offset >= 0, sample.size > 0, end <= bytes.count else {
                    return false
                }
                let units = UnsafeRawBufferPointer(rebasing: bytes[sample.offset..<end])
                return Self.areNALUnits(units, codec)
            }
        }
    }

    private static func areNALUnits(_ sample: UnsafeRawBufferPointer, _ codec: Codec) -> Bool {
        var position = 0
        while position < sample.count {
            guard sample.count - position > 4 else { return false }
            let length = sample[position..<(position + 4)].reduce(0) { $0 << 8 | Int($1) }
            position += 4
            guard length >= codec.headerBytes, length <= sample.count - position,
                sample[position] & 0x80 == 0
            else { return false }
            // What zeros would say is not used: type 0 of H.264, temporal layer -1 of H.265.
            switch codec {
            case .h264: guard sample[position] & 0x1F != 0 else { return false }
            case .h265: guard sample[position + 1] & 7 != 0 else { return false }
            }
            let unit = sample[position..<(position + length)]
            guard !hasHole(UnsafeRawBufferPointer(rebasing: unit)) else { return false }
            position += length
        }
        return true
    }

    /// Looks at every n-th byte only: a run of 2n zeros holds at least one of them.
    private static func hasHole(_ bytes: UnsafeRawBufferPointer) -> Bool {
        let step = Limits.zerosOfAHole / 2
        var position = 0
        while position < bytes.count {
            if bytes[position] == 0 {
                var start = position
                while start > 0, bytes[start - 1] == 0 { start -= 1 }
                var end = position + 1
                while end < bytes.count, bytes[end] == 0, end - start < Limits.zerosOfAHole {
                    end += 1
                }
                if end - start >= Limits.zerosOfAHole { return true }
                position = max(position, end - 1)
            }
            position += step
        }
        return false
    }

    /// The defaults that `tfhd` gives to samples whose row does not say.
    private struct Defaults {
        var duration: UInt32 = 0
        var size: UInt32 = 0
        var flags: UInt32 = 0
    }

    /// Parses bytes that start with `moof` and reach at least to the end of the `mdat` header.
    package static func parse(_ moofAndOn: ByteBuffer) throws(MP4Error) -> FragmentHeader {
        try FragmentHeader(moofAndOn.slice())
    }

    private init(_ buffer: ByteBuffer) throws(MP4Error) {
        guard let moof = try BoxHeader(in: buffer, at: 0) else { throw .truncated(offset: 0) }
        guard moof.type == "moof" else { throw .missingBox("moof") }
        guard moof.size <= Limits.maxMovieFragmentBytes else {
            throw .invalidValue(field: "moof size", offset: 0)
        }
        moofSize = Int(moof.size)
        guard let mdat = try BoxHeader(in: buffer, at: moofSize) else {
            throw .truncated(offset: buffer.readableBytes)
        }
        guard mdat.type == "mdat" else { throw .missingBox("mdat") }
        guard mdat.size <= UInt64(2 * Limits.maxFragmentBytes) else {
            throw .invalidValue(field: "mdat size", offset: moofSize)
        }
        mdatSize = Int(mdat.size)
        let children = try Box.list(in: buffer, moof.headerSize..<moofSize)
        guard let mfhd = children.first(where: { $0.type == "mfhd" }) else {
            throw .missingBox("mfhd")
        }
        var fields = FieldReader(buffer, mfhd.body)
        _ = try fields.readVersionAndFlags()
        sequenceNumberOffset = fields.offset
        sequenceNumber = try fields.read(UInt32.self)
        let tracks = children.filter { $0.type == "traf" }
        guard let track = tracks.first else { throw .missingBox("traf") }
        guard tracks.count == 1 else { throw .unsupported("several tracks", offset: 0) }
        try readTrack(buffer, track, payload: (moofSize + mdat.headerSize)..<(moofSize + mdatSize))
    }

    private mutating func readTrack(
        _ buffer: ByteBuffer, _ track: Box, payload: Range<Int>
    ) throws(MP4Error) {
        var defaults: Defaults?
        var hasDecodeTime = false
        var nextOffset = payload.lowerBound
        for box in try Box.list(in: buffer, track.body) {
            var fields = FieldReader(buffer, box.body)
            switch box.type {
            case "tfhd":
                defaults = try Self.readDefaults(&fields)
            case "tfdt":
                try readDecodeTime(&fields)
                hasDecodeTime = true
            case "trun":
                guard let defaults else { throw .missingBox("tfhd") }
                try readRun(&fields, defaults, payload: payload, nextOffset: &nextOffset)
            default:
                break
            }
        }
        fillsMediaData =
            nextOffset == payload.upperBound
            && samples.reduce(0) { $0 &+ $1.size } == payload.count && !samples.isEmpty
        guard defaults != nil else { throw .missingBox("tfhd") }
        guard hasDecodeTime else { throw .missingBox("tfdt") }
    }

    private static func readDefaults(_ fields: inout FieldReader) throws(MP4Error) -> Defaults {
        let start = fields.offset
        let flags = try fields.readVersionAndFlags().flags
        _ = try fields.read(UInt32.self)
        // Offsets from the start of the file would break as soon as a fragment is served alone.
        guard flags & TrackFragmentFlags.baseDataOffset == 0,
            flags & TrackFragmentFlags.defaultBaseIsMoof != 0
        else { throw .unsupported("data offsets not from moof", offset: start) }
        var defaults = Defaults()
        if flags & TrackFragmentFlags.sampleDescription != 0 { try fields.skip(4) }
        if flags & TrackFragmentFlags.defaultDuration != 0 {
            defaults.duration = try fields.read(UInt32.self)
        }
        if flags & TrackFragmentFlags.defaultSize != 0 {
            defaults.size = try fields.read(UInt32.self)
        }
        if flags & TrackFragmentFlags.defaultFlags != 0 {
            defaults.flags = try fields.read(UInt32.self)
        }
        return defaults
    }

    private mutating func readDecodeTime(_ fields: inout FieldReader) throws(MP4Error) {
        let start = fields.offset
        guard try fields.readVersionAndFlags().version == 1 else {
            throw .unsupported("32-bit tfdt", offset: start)
        }
        baseDecodeTimeOffset = fields.offset
        baseDecodeTime = try fields.read(Int64.self)
        // The field is unsigned; its upper half would trap whoever adds to it, and no stream is
        // that old.
        guard baseDecodeTime >= 0 else {
            throw .invalidValue(field: "base decode time", offset: baseDecodeTimeOffset)
        }
    }

    private mutating func readRun(
        _ fields: inout FieldReader, _ defaults: Defaults, payload: Range<Int>,
        nextOffset: inout Int
    ) throws(MP4Error) {
        let start = fields.offset
        let flags = try fields.readVersionAndFlags().flags
        let count = try fields.read(UInt32.self)
        guard count <= Limits.maxSamplesPerFragment, samples.count <= Limits.maxSamplesPerFragment
        else { throw .invalidValue(field: "sample count", offset: start) }
        if flags & TrackRunFlags.dataOffset != 0 {
            nextOffset = Int(try fields.read(Int32.self))
        }
        var firstFlags: UInt32?
        if flags & TrackRunFlags.firstSampleFlags != 0 {
            firstFlags = try fields.read(UInt32.self)
        }
        for index in 0..<count {
            let row = fields.offset
            var sample = defaults
            if flags & TrackRunFlags.duration != 0 {
                sample.duration = try fields.read(UInt32.self)
            }
            if flags & TrackRunFlags.size != 0 { sample.size = try fields.read(UInt32.self) }
            if flags & TrackRunFlags.flags != 0 { sample.flags = try fields.read(UInt32.self) }
            if flags & TrackRunFlags.compositionOffset != 0 { try fields.skip(4) }
            if index == 0, let firstFlags { sample.flags = firstFlags }
            guard nextOffset >= payload.lowerBound,
                nextOffset + Int(sample.size) <= payload.upperBound
            else { throw .invalidValue(field: "sample position", offset: row) }
            samples.append(
                Sample(
                    offset: nextOffset, size: Int(sample.size), duration: sample.duration,
                    isSync: sample.flags & SampleFlags.isNonSync == 0))
            nextOffset += Int(sample.size)
            duration += UInt64(sample.duration)
        }
    }
}

/// Moves a fragment in time and renumbers it, in place: its bytes are otherwise untouched.
package func rewriteBaseDecodeTime(
    in fragment: inout ByteBuffer, to decodeTime: Int64, sequenceNumber: UInt32
) throws(MP4Error) {
    let header = try FragmentHeader.parse(fragment)
    guard decodeTime >= 0 else {
        throw .invalidValue(field: "base decode time", offset: header.baseDecodeTimeOffset)
    }
    let start = fragment.readerIndex
    fragment.setInteger(decodeTime, at: start + header.baseDecodeTimeOffset)
    fragment.setInteger(sequenceNumber, at: start + header.sequenceNumberOffset)
}
