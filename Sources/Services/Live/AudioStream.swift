// The sound that one viewer is sent: the camera's packets, numbered and sealed for this viewer alone.
// SPDX-License-Identifier: Apache-2.0

import NIOCore
import Primitives
import RTP
import RTPFormats
import WebRTC

/// How the answer says the viewer's audio packets look.
struct AudioFormat: Sendable {
    var codec: AudioCodec
    var payloadType: UInt8
    var ssrc: SSRC
}

/// One viewer's RTP stream of audio. Lives on the viewer's loop, beside the `ViewerStream` of its video.
/// A lost packet is not resent: twenty milliseconds are concealed sooner.
final class AudioStream {
    var path: MediaPath
    let format: AudioFormat
    private let sealer: SRTPSealer
    private let scratch: UnsafeMutableRawBufferPointer
    private let timeOffset: UInt32
    private var nextIndex: UInt64
    private var packetsSent: UInt32 = 0
    private var bytesSent: UInt32 = 0
    private var newest: (time: UInt32, at: WallTime)?

    /// - Parameters:
    ///   - scratch: the loop's buffer; see `ViewerStream`.
    ///   - random: of which this stream's first number and the offset of its times are made.
    init(
        format: AudioFormat, keys: KeyingMaterial, path: MediaPath,
        scratch: UnsafeMutableRawBufferPointer, random: UInt64
    ) throws(SRTPError) {
        self.format = format
        self.path = path
        self.scratch = scratch
        timeOffset = UInt32(truncatingIfNeeded: random >> 32)
        // Below 2^15, so that both ends agree on the first roll-over.
        nextIndex = random & 0x7FFF
        sealer = try SRTPSealer(profile: keys.profile, keys: keys.local)
    }

    func send(_ packet: AudioPacket) {
        guard packet.codec == format.codec, let base = scratch.baseAddress,
            packet.payload.readableBytes <= Limits.payloadBytes
        else { return }
        let time = UInt32(truncatingIfNeeded: packet.time) &+ timeOffset
        let written = packet.payload.withUnsafeReadableBytes { payload in
            sealer.seal(
                marker: packet.marker || packetsSent == 0, payloadType: format.payloadType,
                index: nextIndex, timestamp: time, ssrc: format.ssrc.rawValue, payload: payload,
                into: base)
        }
        guard written > 0 else { return }
        nextIndex &+= 1
        packetsSent &+= 1
        bytesSent &+= UInt32(truncatingIfNeeded: packet.payload.readableBytes)
        newest = (time, packet.wallTime)
        // What a full socket does not take is lost; the next packet is another chance.
        _ = path.send(UnsafeRawBufferPointer(start: base, count: written), segment: 0)
    }

    /// By which the viewer brings sound and picture together (RFC 3550 §6.4.1): both streams' reports
    /// tell the wall time at which a packet came here.
    var senderReport: RTCPPacket? {
        newest.map { newest in
            .senderReport(
                SenderReport(
                    ssrc: format.ssrc, ntpTime: NTPTimestamp(newest.at),
                    rtpTime: RTPTimestamp(rawValue: newest.time), packetCount: packetsSent,
                    octetCount: bytesSent))
        }
    }
}
