// Reception statistics of one RTP source.
// SPDX-License-Identifier: Apache-2.0

package import Primitives

/// Counts what arrives from one source and writes receiver reports (RFC 3550 §6.4, §A.3, §A.8).
///
/// It reorders nothing: interleaved TCP keeps the sender's order, so a missing number is lost for good.
package struct Receiver: Sendable {
    /// How a packet stands to the ones before it.
    package enum Arrival: Equatable, Sendable {
        case first
        case inOrder
        /// This many packets before it never came.
        case gap(lost: Int)
        case duplicate
        /// Older than the newest one.
        case reordered
        /// The source began anew: another SSRC, or a jump too far to be loss (RFC 3550 §A.1).
        case restarted
    }

    package private(set) var received = 0
    package private(set) var lost = 0
    package private(set) var duplicated = 0
    package private(set) var reordered = 0
    package private(set) var restarts = 0
    /// Interarrival jitter in timestamp units (RFC 3550 §A.8).
    package private(set) var jitter: Double = 0

    private let clockRate: Int
    private var ssrc: SSRC?
    private var sequence = SequenceUnwrapper()
    private var highest: Int64 = 0
    private var base: Int64 = 0
    private var receivedOfRun: Int64 = 0
    private var lastTransit: Int64?
    private var prior: (expected: Int64, received: Int64) = (0, 0)
    private var senderReport: (middle: UInt32, at: Instant)?

    private static let maxDropout = 3000
    private static let maxMisorder = 100

    package init(clockRate: Int = 90_000) { self.clockRate = max(clockRate, 1) }

    /// Takes note of a packet.
    package mutating func receive(_ packet: Packet, at now: Instant) -> Arrival {
        received &+= 1
        guard ssrc == packet.ssrc else {
            let isFirst = ssrc == nil
            begin(with: packet, at: now)
            if !isFirst { restarts &+= 1 }
            return isFirst ? .first : .restarted
        }
        let newest = SequenceNumber(rawValue: UInt16(truncatingIfNeeded: highest))
        let step = packet.sequenceNumber.distance(from: newest)
        if step > Self.maxDropout || step < -Self.maxMisorder {
            begin(with: packet, at: now)
            restarts &+= 1
            return .restarted
        }
        receivedOfRun &+= 1
        updateJitter(packet, at: now)
        if step == 0 {
            duplicated &+= 1
            return .duplicate
        }
        if step < 0 {
            reordered &+= 1
            return .reordered
        }
        highest = sequence.unwrap(packet.sequenceNumber)
        guard step > 1 else { return .inOrder }
        lost &+= step - 1
        return .gap(lost: step - 1)
    }

    /// Takes note of the source's own report, to be echoed in the next report block.
    package mutating func receive(_ report: SenderReport, at now: Instant) {
        senderReport = (report.ntpTime.middle32, now)
    }

    /// The report block about this source since the one before; `nil` before the first packet.
    package mutating func reportBlock(at now: Instant? = nil) -> ReportBlock? {
        guard let ssrc else { return nil }
        let expected = highest - base + 1
        let expectedNow = expected - prior.expected
        let lostNow = expectedNow - (receivedOfRun - prior.received)
        prior = (expected, receivedOfRun)
        let fraction = expectedNow > 0 && lostNow > 0 ? min(lostNow * 256 / expectedNow, 255) : 0
        var block = ReportBlock(
            ssrc: ssrc, fractionLost: UInt8(truncatingIfNeeded: fraction),
            cumulativeLost: Int32(clamping: expected - receivedOfRun),
            extendedHighestSequence: UInt32(truncatingIfNeeded: highest),
            jitter: UInt32(clamping: Int64(min(jitter, 4e9))))
        if let senderReport, let now {
            let elapsed = max((now - senderReport.at).inSeconds, 0)
            block.lastSenderReport = senderReport.middle
            block.delaySinceLastSenderReport = UInt32(clamping: Int64(min(elapsed * 65536, 4e9)))
        }
        return block
    }

    private mutating func begin(with packet: Packet, at now: Instant) {
        ssrc = packet.ssrc
        sequence = SequenceUnwrapper()
        highest = sequence.unwrap(packet.sequenceNumber)
        base = highest
        receivedOfRun = 1
        prior = (0, 0)
        jitter = 0
        lastTransit = nil
        senderReport = nil
        updateJitter(packet, at: now)
    }

    private mutating func updateJitter(_ packet: Packet, at now: Instant) {
        let arrival = (now.nanoseconds / 1000) &* Int64(clockRate)
        let transit = (arrival / 1_000_000) &- Int64(packet.timestamp.rawValue)
        if let lastTransit {
            // The difference is taken in 32 bits, as the timestamp wraps in them.
            let change = Int32(truncatingIfNeeded: transit &- lastTransit)
            jitter += (Double(change.magnitude) - jitter) / 16
        }
        lastTransit = transit
    }
}
