// RTP payloads in, H.264 access units out.
// SPDX-License-Identifier: Apache-2.0

package import H26x
import NIOCore
package import RTP

/// Why a packet, and with it its access unit, was dropped.
package enum DepacketizeError: Error, Equatable, Sendable {
    case emptyPayload
    /// A NAL unit type that modes 0 and 1 do not have (RFC 6184 §5.4).
    case unsupportedType(UInt8)
    /// An aggregate or a fragment shorter than it says, at this byte of the payload.
    case truncated(offset: Int)
    /// A fragment without its beginning, or one that never ended.
    case brokenFragment
    /// The access unit outgrew the limit.
    case tooLarge
    /// More slices of a unit that was already handed out, or whose first slice was lost.
    case missingStart
}

/// Rebuilds access units from RFC 6184 packets (single NAL unit, STAP-A, FU-A; modes 0 and 1).
///
/// Every payload byte is copied once, into the growing buffer of its access unit. A unit ends with the
/// marker or with the next timestamp. NAL units before the first slice never end a unit, because some
/// cameras set the marker on parameter sets too.
package struct H264Depacketizer: Sendable {
    /// The newest parameter sets, from SDP or in band.
    package private(set) var parameterSets: ParameterSets?

    private var current = Assembly()
    private var closed: AccessUnit?
    private var lastTime: Int64?
    private var state = State.intact
    /// The parameter sets of the pending unit; those of pictures by their id.
    private var newSPS: ByteBuffer?
    private var newPPS: [Int: ByteBuffer] = [:]

    private static let maxUnitBytes = 8 << 20

    private enum State {
        case intact
        /// Packets are missing: the next unit must prove that its first slice is there.
        case afterLoss
        /// The rest of the unit with this time is to be dropped.
        case dropping(Int64)
    }

    private struct Assembly {
        var bytes = ByteBuffer()
        var time: Int64 = 0
        var isIDR = false
        var hasSlice = false
        /// Where the length of the unfinished fragmented NAL unit goes.
        var fragmentStart: Int?
        var isEmpty: Bool { bytes.readableBytes == 0 }
    }

    package init(parameterSets: ParameterSets?) { self.parameterSets = parameterSets }

    /// Takes one packet in order; returns an access unit when one is complete.
    ///
    /// A packet that both ends the pending unit (by its new time) and is a whole unit itself returns the
    /// pending one; its own comes out with the next call. Throws when the packet cost the current unit.
    package mutating func push(
        _ packet: Packet, decodeTime: Int64
    ) throws(DepacketizeError) -> AccessUnit? {
        var finished = closed
        closed = nil
        let isNewTime = decodeTime != (current.isEmpty ? lastTime : current.time)
        if isNewTime, !current.isEmpty {
            // `closed` and a pending unit exclude each other, so nothing is overwritten here.
            if current.hasSlice, current.fragmentStart == nil {
                finished = close()
            } else if current.fragmentStart != nil {
                drop()
            }
        }
        if case .dropping(let time) = state {
            guard decodeTime != time else { return finished }
            state = .afterLoss
        }
        if current.isEmpty { begin() }
        current.time = decodeTime
        do throws(DepacketizeError) {
            try append(packet.payload, continuesClosed: !isNewTime)
        } catch {
            drop()
            state = .dropping(decodeTime)
            lastTime = decodeTime
            if let finished { return finished }
            throw error
        }
        lastTime = decodeTime
        guard packet.marker, current.hasSlice, current.fragmentStart == nil else { return finished }
        let unit = close()
        guard let finished else { return unit }
        closed = unit
        return finished
    }

    /// Packets are missing: the pending unit is given up, as is the next one if it lacks its start.
    package mutating func loss() {
        if current.isEmpty {
            state = .afterLoss
        } else {
            state = .dropping(current.time)
            drop()
        }
    }

    private mutating func begin() {
        // A guess that saves most of the regrowth without holding an IDR's memory for every unit.
        current.bytes = ByteBufferAllocator().buffer(capacity: 16 * 1024)
    }

    private mutating func drop() {
        current = Assembly()
        newSPS = nil
        newPPS = [:]
    }

    private mutating func close() -> AccessUnit {
        let unit = AccessUnit(
            avcc: current.bytes, decodeTime: current.time, isIDR: current.isIDR, wallTime: nil)
        current = Assembly()
        state = .intact
        if newSPS != nil || !newPPS.isEmpty { adoptParameterSets() }
        return unit
    }

    /// Puts the unit's parameter sets in force, each in the place of the one with its id.
    private mutating func adoptParameterSets() {
        let known = parameterSets
        // At the beginning the kinds may come in different units, and wait for each other.
        guard let sps = newSPS ?? known?.sps, known != nil || !newPPS.isEmpty else { return }
        let pictureSets = Array(newPPS.values)
        newSPS = nil
        newPPS = [:]
        var kept: [ByteBuffer] = []
        if let known, sps == known.sps {
            // Most units only repeat what is known.
            if pictureSets.allSatisfy(known.pictureParameterSets.contains) { return }
            kept = known.pictureParameterSets
        } else if let known, pictureSets.isEmpty {
            // A new sequence parameter set alone; one with others leaves behind what it did not bring.
            kept = known.pictureParameterSets
        }
        // Sets that do not parse leave the old ones in force; the bytes stay in the unit.
        if let sets = try? ParameterSets(sps: sps, pictureParameterSets: kept + pictureSets) {
            parameterSets = sets
        }
    }
}

// MARK: - Payload structures (RFC 6184 §5.6–5.8)

extension H264Depacketizer {
    private mutating func append(
        _ payload: ByteBuffer, continuesClosed: Bool
    ) throws(DepacketizeError) {
        guard let header = payload.getInteger(at: payload.readerIndex, as: UInt8.self) else {
            throw .emptyPayload
        }
        guard current.bytes.readableBytes + payload.readableBytes + 8 <= Self.maxUnitBytes else {
            throw .tooLarge
        }
        let type = header & 0x1F
        if current.fragmentStart != nil, type != 28 { throw .brokenFragment }
        switch type {
        case 1...23:
            try appendWhole(payload, continuesClosed)
        case 24:
            var rest = payload
            rest.moveReaderIndex(forwardBy: 1)
            while rest.readableBytes > 0 {
                let offset = rest.readerIndex - payload.readerIndex
                guard let nal = rest.readLengthPrefixedSlice(as: UInt16.self) else {
                    throw .truncated(offset: offset)
                }
                // Empty units are harmless padding of some encoders.
                if nal.readableBytes > 0 { try appendWhole(nal, continuesClosed) }
            }
        case 28:
            try appendFragment(payload, continuesClosed)
        default:
            throw .unsupportedType(type)
        }
    }

    private mutating func appendWhole(
        _ nal: ByteBuffer, _ continuesClosed: Bool
    ) throws(DepacketizeError) {
        guard let header = nal.getInteger(at: nal.readerIndex, as: UInt8.self) else { return }
        let next = nal.getInteger(at: nal.readerIndex + 1, as: UInt8.self)
        try note(header: header, firstByte: next, continuesClosed)
        let type = NALUnitType(header: header)
        if type == .sps { newSPS = Self.compact(nal) }
        // One whose id is unreadable serves no picture.
        if type == .pps, header & 0x80 == 0,
            let id = ParameterSets.pictureParameterSetID(of: nal)
        {
            newPPS[id] = Self.compact(nal)
        }
        current.bytes.writeInteger(UInt32(truncatingIfNeeded: nal.readableBytes))
        current.bytes.writeImmutableBuffer(nal)
    }

    /// FU-A: `|F|NRI|28|` `|S|E|R|type|` (RFC 6184 §5.8).
    private mutating func appendFragment(
        _ payload: ByteBuffer, _ continuesClosed: Bool
    ) throws(DepacketizeError) {
        var rest = payload
        guard let (indicator, header) = rest.readMultipleIntegers(as: (UInt8, UInt8).self) else {
            throw .truncated(offset: 1)
        }
        let start: Int
        if header & 0x80 != 0 {
            guard current.fragmentStart == nil else { throw .brokenFragment }
            let nalHeader = indicator & 0xE0 | header & 0x1F
            let next = rest.getInteger(at: rest.readerIndex, as: UInt8.self)
            try note(header: nalHeader, firstByte: next, continuesClosed)
            start = current.bytes.writerIndex
            current.bytes.writeMultipleIntegers(UInt32(0), nalHeader)
            current.fragmentStart = start
        } else {
            guard let begun = current.fragmentStart else { throw .brokenFragment }
            start = begun
        }
        current.bytes.writeBuffer(&rest)
        guard header & 0x40 != 0 else { return }
        let length = current.bytes.writerIndex - start - 4
        current.bytes.setInteger(UInt32(truncatingIfNeeded: length), at: start)
        current.fragmentStart = nil
    }

    /// Keeps what the NAL header says about the unit, and refuses slices whose unit lacks its start.
    private mutating func note(
        header: UInt8, firstByte: UInt8?, _ continuesClosed: Bool
    ) throws(DepacketizeError) {
        guard (1...5).contains(header & 0x1F) else { return }
        if !current.hasSlice, header & 0x1F != 3, header & 0x1F != 4 {
            // first_mb_in_slice is ue(v), so zero is a set first bit (H.264 §7.3.3).
            let isFirst = (firstByte ?? 0) & 0x80 != 0
            var mustBeFirst = continuesClosed
            if case .afterLoss = state { mustBeFirst = true }
            if mustBeFirst, !isFirst { throw .missingStart }
        }
        current.hasSlice = true
        if NALUnitType(header: header) == .idrSlice { current.isIDR = true }
    }

    /// A copy that does not keep the received chunk alive.
    private static func compact(_ nal: ByteBuffer) -> ByteBuffer {
        ByteBuffer(bytes: nal.readableBytesView)
    }
}
