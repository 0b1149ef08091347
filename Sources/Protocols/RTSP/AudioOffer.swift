// The sound that a camera offers beside its video.
// SPDX-License-Identifier: Apache-2.0

package import RTP
import SDP

/// An audio track in a codec that viewers take as it is.
package struct AudioTrack: Equatable, Sendable {
    package var codec: AudioCodec
    package var payloadType: UInt8

    package init(codec: AudioCodec, payloadType: UInt8) {
        self.codec = codec
        self.payloadType = payloadType
    }
}

/// The audio track of a session description, and the URL to set it up with.
struct AudioOffer: Equatable, Sendable {
    var track: AudioTrack
    var url: RTSPURL

    /// `nil` without such a track, or for one that cannot be told from the video.
    init?(description: SessionDescription, baseURL: RTSPURL) {
        for media in description.media where media.kind == "audio" {
            guard let url = media.control.flatMap(baseURL.resolving) else { continue }
            for codec in AudioCodec.allCases {
                guard let type = Self.payloadType(of: codec, in: media) else { continue }
                track = AudioTrack(codec: codec, payloadType: type)
                self.url = url
                return
            }
        }
        return nil
    }

    private static func payloadType(
        of codec: AudioCodec, in media: SessionDescription.Media
    ) -> UInt8? {
        media.payloadTypes.first { type in
            guard let map = media.rtpmap[type] else { return type == codec.staticPayloadType }
            // Stereo G.711 is no type that viewers know.
            let isKnown = codec == .opus || map.channels <= 1
            return map.encoding.uppercased() == codec.encoding && map.clockRate == codec.clockRate
                && isKnown
        }
    }
}
