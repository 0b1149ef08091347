// From a DESCRIBE answer to the one track that is played, with camera quirks in one place.
// SPDX-License-Identifier: Apache-2.0

import H26x
import NIOCore
import SDP

/// The video track of a session description, and the URLs to control it with.
struct TrackOffer: Equatable, Sendable {
    var track: VideoTrack
    var baseURL: RTSPURL
    var aggregateURL: RTSPURL
    var trackURL: RTSPURL

    /// `nil` without H.264 or H.265 video.
    init?(description: SessionDescription, headers: Headers, url: RTSPURL) {
        var found: (media: SessionDescription.Media, codec: Codec, type: UInt8)?
        for media in description.media where media.kind == "video" {
            if let type = media.payloadType(encoding: "H264") {
                found = (media, .h264, type)
                break
            }
            if let type = media.payloadType(encoding: "H265"), Self.isInDecodingOrder(media, type) {
                found = (media, .h265, type)
                break
            }
        }
        guard let (media, codec, type) = found else { return nil }
        let rate = media.rtpmap[type]?.clockRate ?? 90_000
        track = VideoTrack(
            codec: codec, payloadType: type, clockRate: rate,
            parameterSets: try? ParameterSets(
                among: media.spropParameterSets(payloadType: type), codec))
        baseURL = Self.base(headers) ?? url
        aggregateURL = description.control.flatMap(baseURL.resolving) ?? baseURL
        trackURL = media.control.flatMap(baseURL.resolving) ?? aggregateURL
    }

    /// The base of relative URLs (RFC 2326 §C.1.1). Anjvision cameras leave the scheme out; other
    /// unreadable values give way to the request's URL. It only names things on this connection: no
    /// other host is ever contacted because of it.
    private static func base(_ headers: Headers) -> RTSPURL? {
        for name in ["Content-Base", "Content-Location"] {
            guard let value = headers[name], !value.isEmpty else { continue }
            let parsed =
                (try? RTSPURL(inMessage: value)) ?? (try? RTSPURL(parsing: "rtsp://" + value))
            if let parsed { return parsed.with(credentials: nil) }
        }
        return nil
    }

    /// With a difference of decoding order numbers above 0 these numbers stand in every packet
    /// (RFC 7798 §4.4), which no known camera does.
    private static func isInDecodingOrder(
        _ media: SessionDescription.Media, _ type: UInt8
    ) -> Bool {
        media.fmtp[type]?["sprop-max-don-diff"].map { Int($0) == 0 } ?? true
    }
}
