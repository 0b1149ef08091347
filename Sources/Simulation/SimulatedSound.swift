// A simulated camera's sound: a tone in G.711, paced by the same clock as its pictures.
// SPDX-License-Identifier: Apache-2.0

import Foundation
import NIOCore
import Primitives
import RTP

/// 440 Hz for every camera, in packets of 20 ms; one loop of them, made once.
struct SimulatedSound {
    static let codec = AudioCodec.pcmu
    static let payloadType: UInt8 = 0
    private static let samples = 160
    private static let period = Duration.milliseconds(20)

    /// A tenth of a second holds 44 whole waves, so that the loop has no seam.
    private static let payloads: [ByteBuffer] = (0..<5).map { packet in
        ByteBuffer(
            bytes: (0..<samples).map { sample in
                let angle = Double(packet * samples + sample) * 440 / 8000 * 2 * .pi
                return muLaw(Int(sin(angle) * 8000))
            })
    }

    private let start: WallTime
    private let ssrc: SSRC
    private var next: Int64 = 0

    init(start: WallTime, seed: UInt64) {
        self.start = start
        ssrc = SSRC(rawValue: UInt32(truncatingIfNeeded: seed ^ 0x5A5A_5A5A))
    }

    /// When the next packet is due.
    var nextWallTime: WallTime { start + Self.period * Int(next) }

    /// Leaves out what was due before a moment.
    mutating func skip(to now: WallTime) {
        let due = (now - start).saturatingNanoseconds / Self.period.saturatingNanoseconds
        next = max(next, due)
    }

    /// The next packet (RFC 3550 §5.1, RFC 3551 §4.5.14) and moves on to the one after it.
    mutating func packet() -> ByteBuffer {
        defer { next += 1 }
        return Packet.serialize(
            marker: false, payloadType: Self.payloadType,
            sequenceNumber: SequenceNumber(rawValue: UInt16(truncatingIfNeeded: next)),
            timestamp: RTPTimestamp(
                rawValue: UInt32(truncatingIfNeeded: next &* Int64(Self.samples))),
            ssrc: ssrc, payload: Self.payloads[Int(next % Int64(Self.payloads.count))])
    }

    /// A sample of 14 bits' worth of loudness in 16, as μ-law (ITU-T G.711, table 2a).
    static func muLaw(_ sample: Int) -> UInt8 {
        let magnitude = min(abs(sample), 32_635) + 132
        let exponent = max(0, 7 - (UInt16(magnitude).leadingZeroBitCount - 1))
        let mantissa = (magnitude >> (exponent + 3)) & 0x0F
        return ~(UInt8(sample < 0 ? 0x80 : 0) | UInt8(exponent << 4) | UInt8(mantissa))
    }
}
