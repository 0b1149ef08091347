// From a camera's RTP packets to its access units, without a socket.
// SPDX-License-Identifier: Apache-2.0

package import H26x
package import NIOCore
package import Primitives
package import RTP
import RTPFormats
package import RTSP

/// Why bytes of a camera were not used; each is counted.
package enum DiscardReason: String, CaseIterable, Sendable {
    case malformedPacket = "malformed_packet"
    case malformedPayload = "malformed_payload"
    case packetLoss = "packet_loss"
    case awaitingParameterSets = "awaiting_parameter_sets"
    case malformedReport = "malformed_report"
}

/// The packet path of one played track.
package struct VideoReception {
    /// What one packet brought about.
    package struct Outcome {
        package var unit: AccessUnit?
        /// Empty for nearly every packet, and then without memory of its own.
        package var discarded: [DiscardReason] = []
        /// The unit was given another time than the camera's, whose clock jumped or went back.
        package var isRestamped = false
    }

    /// The newest parameter sets; there are some with every unit that is handed out.
    package var parameterSets: ParameterSets? { depacketizer.parameterSets }

    private let track: VideoTrack
    private var depacketizer: Depacketizer
    private var receiver: Receiver
    private var unwrapper = TimestampUnwrapper()
    private var timeline = MediaTimeline()

    package init(track: VideoTrack) {
        self.track = track
        depacketizer = Depacketizer(codec: track.codec, parameterSets: track.parameterSets)
        receiver = Receiver(clockRate: track.clockRate)
    }

    package mutating func receive(rtp bytes: ByteBuffer, at now: Instant) -> Outcome {
        do {
            return receive(try Packet(validating: bytes), at: now)
        } catch {
            return Outcome(discarded: [.malformedPacket])
        }
    }

    package mutating func receive(_ packet: Packet, at now: Instant) -> Outcome {
        var outcome = Outcome()
        guard packet.payloadType == track.payloadType else { return outcome }
        switch receiver.receive(packet, at: now) {
        case .duplicate, .reordered:
            return outcome
        case .first, .inOrder:
            break
        case .gap, .restarted:
            // What a source that began anew still owed of its last unit never comes.
            depacketizer.loss()
            outcome.discarded.append(.packetLoss)
        }
        // Nothing but padding, by which senders probe a path: it has a number, and no more.
        guard packet.payload.readableBytes > 0 else { return outcome }
        do {
            let cameraTime = unwrapper.unwrap(packet.timestamp)
            guard var unit = try depacketizer.push(packet, decodeTime: cameraTime) else {
                return outcome
            }
            guard depacketizer.parameterSets != nil else {
                outcome.discarded.append(.awaitingParameterSets)
                return outcome
            }
            let restamped = timeline.restamped
            unit.decodeTime = timeline.decodeTime(for: inTicks(unit.decodeTime))
            outcome.isRestamped = timeline.restamped > restamped
            outcome.unit = unit
        } catch {
            outcome.discarded.append(.malformedPayload)
        }
        return outcome
    }

    /// Takes note of the camera's own reports; answers whether the bytes were readable.
    package mutating func receive(rtcp bytes: ByteBuffer, at now: Instant) -> Bool {
        do {
            for case .senderReport(let report) in try RTCPPacket.parse(compound: bytes) {
                receiver.receive(report, at: now)
            }
            return true
        } catch {
            return false
        }
    }

    /// What the camera is told about its packets; `nil` before the first one.
    package mutating func reportBlock(at now: Instant) -> ReportBlock? {
        receiver.reportBlock(at: now)
    }

    /// The camera's time in ticks of 90 kHz. RFC 6184 §8.2.1 and RFC 7798
    /// §7.1 have no other rate, some encoders do.
    private func inTicks(_ cameraTime: Int64) -> Int64 {
        let rate = Int64(max(track.clockRate, 1))
        guard rate != 90_000 else { return cameraTime }
        let (seconds, rest) = cameraTime.quotientAndRemainder(dividingBy: rate)
        // A rate is at most 32 bits, so only the seconds can leave the range.
        return seconds &* 90_000 &+ rest &* 90_000 / rate
    }
}
