// The wrapping numbers of RTP, and how they are unwrapped into ones that only grow.
// SPDX-License-Identifier: Apache-2.0

/// A 16-bit packet number that wraps (RFC 3550 §5.1).
package struct SequenceNumber: RawRepresentable, Hashable, Sendable {
    package var rawValue: UInt16

    package init(rawValue: UInt16) { self.rawValue = rawValue }

    /// The number of the packet `count` later (or earlier).
    package func advanced(by count: Int) -> SequenceNumber {
        SequenceNumber(rawValue: rawValue &+ UInt16(truncatingIfNeeded: count))
    }

    /// How far `self` lies after `other`, the short way round: −32768…32767.
    package func distance(from other: SequenceNumber) -> Int {
        Int(Int16(bitPattern: rawValue &- other.rawValue))
    }
}

/// A 32-bit media time that wraps (RFC 3550 §5.1); 90 kHz for video.
package struct RTPTimestamp: RawRepresentable, Hashable, Sendable {
    package var rawValue: UInt32

    package init(rawValue: UInt32) { self.rawValue = rawValue }

    /// The timestamp `ticks` later (or earlier).
    package func advanced(by ticks: Int64) -> RTPTimestamp {
        RTPTimestamp(rawValue: rawValue &+ UInt32(truncatingIfNeeded: ticks))
    }

    /// How far `self` lies after `other`, the short way round.
    package func distance(from other: RTPTimestamp) -> Int64 {
        Int64(Int32(bitPattern: rawValue &- other.rawValue))
    }
}

/// The identifier of a synchronization source (RFC 3550 §3).
package struct SSRC: RawRepresentable, Hashable, Sendable {
    package var rawValue: UInt32

    package init(rawValue: UInt32) { self.rawValue = rawValue }
}

/// Turns wrapping timestamps into 64-bit times; the first one keeps its value.
package struct TimestampUnwrapper: Sendable {
    private var last: (timestamp: RTPTimestamp, unwrapped: Int64)?

    package init() {}

    /// The 64-bit time of `timestamp`, taken as the nearest one to the newest time seen so far.
    package mutating func unwrap(_ timestamp: RTPTimestamp) -> Int64 {
        guard let last else {
            let first = Int64(timestamp.rawValue)
            self.last = (timestamp, first)
            return first
        }
        let step = timestamp.distance(from: last.timestamp)
        let unwrapped = last.unwrapped &+ step
        // An old timestamp must not move the reference back, or two old ones could cross half the ring.
        if step > 0 { self.last = (timestamp, unwrapped) }
        return unwrapped
    }
}

/// Turns wrapping sequence numbers into 64-bit packet indices; the first one keeps its value.
package struct SequenceUnwrapper: Sendable {
    private var last: (number: SequenceNumber, unwrapped: Int64)?

    package init() {}

    /// The 64-bit index of `number`, taken as the nearest one to the newest index seen so far.
    package mutating func unwrap(_ number: SequenceNumber) -> Int64 {
        guard let last else {
            let first = Int64(number.rawValue)
            self.last = (number, first)
            return first
        }
        let step = Int64(number.distance(from: last.number))
        let unwrapped = last.unwrapped &+ step
        if step > 0 { self.last = (number, unwrapped) }
        return unwrapped
    }
}
