// A packet of a camera's sound on its way to viewers.
// SPDX-License-Identifier: Apache-2.0

package import NIOCore
package import Primitives
package import RTP

/// The payload of one RTP packet of audio, untouched.
package struct AudioPacket: Sendable {
    package var codec: AudioCodec
    package var payload: ByteBuffer
    /// In ticks of the codec's clock rate, unwrapped.
    package var time: Int64
    /// The first packet after a silence (RFC 3551 §4.1).
    package var marker: Bool
    /// When it came.
    package var wallTime: WallTime

    package init(
        codec: AudioCodec, payload: ByteBuffer, time: Int64, marker: Bool, wallTime: WallTime
    ) {
        self.codec = codec
        self.payload = payload
        self.time = time
        self.marker = marker
        self.wallTime = wallTime
    }
}
