// RTP payloads in, access units out.
// SPDX-License-Identifier: Apache-2.0

package import H26x
import NIOCore
package import RTP

/// Why a packet, and with it its access unit, was dropped.
package enum DepacketizeError: Error, Equatable, Sendable {
    case emptyPayload
    /// A payload structure that is not read here (RFC 6184 §5.4, RFC 7798 §4.4).
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

/// Rebuilds access units from the packets of RFC 6184 (single NAL unit, STAP-A, FU-A; modes 0 and 1) or
/// RFC 7798 (single NAL unit, aggregation packet, fragmentation unit; without decoding order numbers).
///
/// Every payload byte is copied once, into the growing buffer of its access unit. A unit ends with the
/// marker or with the next timestamp. NAL units before the first slice never end a unit, because some
/// cameras set the marker on parameter sets too.
package struct Depacketizer: Sendable {
    /// The newest parameter sets, from SDP or in band.
    package private(set) var parameterSets: ParameterSets?

    private var current: AccessUnitAssembly
    private var closed: AccessUnit?
    private var lastTime: Int64?
    private var state = State.intact

    private enum State {
        case intact
        /// Packets are missing: the next unit must prove that its first slice is there.
        case afterLoss
        /// The rest of the unit with this time is to be dropped.
        case dropping(Int64)
    }

    /// - Parameter parameterSets: of the same codec.
    package init(codec: Codec, parameterSets: ParameterSets?) {
        self.parameterSets = parameterSets
        current = AccessUnitAssembly(codec: codec)
    }

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
            if current.hasSlice, !current.isInFragment {
                finished = close()
            } else if current.isInFragment {
                current.drop()
            }
        }
        if case .dropping(let time) = state {
            guard decodeTime != time else { return finished }
            state = .afterLoss
        }
        current.begin(at: decodeTime)
        var mustProveStart = !isNewTime
        if case .afterLoss = state { mustProveStart = true }
        do throws(DepacketizeError) {
            try current.append(packet.payload, mustProveStart: mustProveStart)
        } catch {
            current.drop()
            state = .dropping(decodeTime)
            lastTime = decodeTime
            if let finished { return finished }
            throw error
        }
        lastTime = decodeTime
        guard packet.marker, current.hasSlice, !current.isInFragment else { return finished }
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
            current.drop()
        }
    }

    private mutating func close() -> AccessUnit {
        let unit = current.close()
        state = .intact
        if let sets = current.found.taken(over: parameterSets) { parameterSets = sets }
        return unit
    }
}
