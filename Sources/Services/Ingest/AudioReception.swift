// From a camera's audio packets to what viewers get, without a socket.
// SPDX-License-Identifier: Apache-2.0

package import NIOCore
package import Primitives
package import RTP
package import RTPFormats
package import RTSP

/// The packet path of a camera's audio track. Over TCP nothing is lost or comes out of order.
package struct AudioReception {
    private let track: AudioTrack
    private var unwrapper = TimestampUnwrapper()

    package init(track: AudioTrack) { self.track = track }

    /// `nil` for a packet of another type, and for one without sound in it.
    package mutating func receive(
        _ bytes: ByteBuffer, at wallTime: WallTime
    ) throws(RTPError) -> AudioPacket? {
        let packet = try Packet(validating: bytes)
        guard packet.payloadType == track.payloadType,
            (1...Limits.audioPayloadBytes).contains(packet.payload.readableBytes)
        else { return nil }
        return AudioPacket(
            codec: track.codec, payload: packet.payload,
            time: unwrapper.unwrap(packet.timestamp), marker: packet.marker, wallTime: wallTime)
    }
}
