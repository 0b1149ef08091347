// An access unit that grows packet by packet, in the payload structures of either codec.
// SPDX-License-Identifier: Apache-2.0

import H26x
import NIOCore

/// The access unit that a depacketizer is building.
struct AccessUnitAssembly: Sendable {
    private(set) var time: Int64 = 0
    /// Whether a part of a picture is there.
    private(set) var hasSlice = false
    /// What the unit, and units without a picture before it, brought of parameter sets.
    var found: InBandParameterSets

    private let codec: Codec
    private var bytes = ByteBuffer()
    private var isRandomAccessPoint = false
    /// Where the length of the unfinished fragmented NAL unit goes.
    private var fragmentStart: Int?

    private static let maxUnitBytes = 8 << 20

    var isEmpty: Bool { bytes.readableBytes == 0 }
    var isInFragment: Bool { fragmentStart != nil }

    init(codec: Codec) {
        self.codec = codec
        found = InBandParameterSets(codec: codec)
    }

    /// The next payload is of this time.
    mutating func begin(at time: Int64) {
        // A guess that saves most of the regrowth without holding a keyframe's memory for every unit.
        if isEmpty { bytes = ByteBufferAllocator().buffer(capacity: 16 * 1024) }
        self.time = time
    }

    /// Gives up what is there, parameter sets included.
    mutating func drop() { self = AccessUnitAssembly(codec: codec) }

    /// Hands out the unit; found parameter sets stay.
    mutating func close() -> AccessUnit {
        let unit = AccessUnit(
            avcc: bytes, decodeTime: time, isRandomAccessPoint: isRandomAccessPoint, wallTime: nil)
        let found = found
        drop()
        self.found = found
        return unit
    }

    /// Takes a payload.
    /// - Parameter mustProveStart: the first slice has to be the first of its picture.
    mutating func append(
        _ payload: ByteBuffer, mustProveStart: Bool
    ) throws(DepacketizeError) {
        guard let header = payload.readableBytesView.first else { throw .emptyPayload }
        guard bytes.readableBytes + payload.readableBytes + 8 <= Self.maxUnitBytes else {
            throw .tooLarge
        }
        let structure = PayloadStructure(header: header, codec)
        if isInFragment, structure != .fragment { throw .brokenFragment }
        switch structure {
        case .single:
            try appendWhole(payload, mustProveStart)
        case .aggregate:
            try appendAggregate(payload, mustProveStart)
        case .fragment:
            try appendFragment(payload, mustProveStart)
        case .unsupported(let type):
            throw .unsupportedType(type)
        }
    }

    private mutating func appendWhole(
        _ nal: ByteBuffer, _ mustProveStart: Bool
    ) throws(DepacketizeError) {
        guard let header = nal.readableBytesView.first else { return }
        let kind = codec.kind(header: header)
        let next = nal.getInteger(at: nal.readerIndex + codec.headerBytes, as: UInt8.self)
        try note(kind, firstByte: next, mustProveStart)
        found.note(nal, kind)
        bytes.writeInteger(UInt32(truncatingIfNeeded: nal.readableBytes))
        bytes.writeImmutableBuffer(nal)
    }

    /// STAP-A (RFC 6184 §5.7.1), aggregation packet (RFC 7798 §4.4.2): a header, then units behind
    /// their 16-bit lengths.
    private mutating func appendAggregate(
        _ payload: ByteBuffer, _ mustProveStart: Bool
    ) throws(DepacketizeError) {
        var rest = payload
        guard rest.readSlice(length: codec.headerBytes) != nil else { throw .truncated(offset: 1) }
        while rest.readableBytes > 0 {
            let offset = rest.readerIndex - payload.readerIndex
            guard let nal = rest.readLengthPrefixedSlice(as: UInt16.self) else {
                throw .truncated(offset: offset)
            }
            // Empty units are harmless padding of some encoders.
            if nal.readableBytes > 0 { try appendWhole(nal, mustProveStart) }
        }
    }

    /// FU-A: `|F|NRI|28|` `|S|E|R|type|` (RFC 6184 §5.8); fragmentation unit: `|F|49|LayerId|TID|`
    /// `|S|E|type|` (RFC 7798 §4.4.3).
    private mutating func appendFragment(
        _ payload: ByteBuffer, _ mustProveStart: Bool
    ) throws(DepacketizeError) {
        var rest = payload
        guard let nalHeader = rest.readSlice(length: codec.headerBytes),
            let indicator = nalHeader.readableBytesView.first,
            let header = rest.readInteger(as: UInt8.self)
        else { throw .truncated(offset: codec.headerBytes) }
        let start: Int
        if header & 0x80 != 0 {
            guard !isInFragment else { throw .brokenFragment }
            let first =
                switch codec {
                case .h264: indicator & 0xE0 | header & 0x1F
                case .h265: indicator & 0x81 | (header & 0x3F) << 1
                }
            let next = rest.getInteger(at: rest.readerIndex, as: UInt8.self)
            try note(codec.kind(header: first), firstByte: next, mustProveStart)
            start = bytes.writerIndex
            bytes.writeMultipleIntegers(UInt32(0), first)
            bytes.writeBytes(nalHeader.readableBytesView.dropFirst())
            fragmentStart = start
        } else {
            guard let begun = fragmentStart else { throw .brokenFragment }
            start = begun
        }
        bytes.writeBuffer(&rest)
        guard header & 0x40 != 0 else { return }
        let length = bytes.writerIndex - start - 4
        bytes.setInteger(UInt32(truncatingIfNeeded: length), at: start)
        fragmentStart = nil
    }

    /// Keeps what the NAL header says about the unit, and refuses slices whose unit lacks its start.
    private mutating func note(
        _ kind: Codec.NALUnitKind, firstByte: UInt8?, _ mustProveStart: Bool
    ) throws(DepacketizeError) {
        switch kind {
        case .slice, .randomAccessSlice:
            // H.264: first_mb_in_slice is ue(v), so zero is a set first bit (§7.3.3); H.265:
            // first_slice_segment_in_pic_flag (§7.3.6.1).
            let isFirst = (firstByte ?? 0) & 0x80 != 0
            if !hasSlice, mustProveStart, !isFirst { throw .missingStart }
            hasSlice = true
            if kind == .randomAccessSlice { isRandomAccessPoint = true }
        case .slicePartition:
            hasSlice = true
        case .videoParameterSet, .sequenceParameterSet, .pictureParameterSet, .delimiter, .sei,
            .other:
            break
        }
    }
}
