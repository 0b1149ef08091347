// From a DESCRIBE answer to the one track that is played, with camera quirks in one place.
// SPDX-License-Identifier: Apache-2.0

import H26x
import NIOCore
import SDP

/// The H.264 track of a session description, and the URLs to control it with.
struct TrackOffer: Equatable, Sendable {
    var track: VideoTrack
    var baseURL: RTSPURL
    var aggregateURL: RTSPURL
    var trackURL: RTSPURL

    /// `nil` without H.264 video.
    init?(description: SessionDescription, headers: Headers, url: RTSPURL) {
        var found: (media: SessionDescription.Media, type: UInt8)?
        for media in description.media where media.kind == "video" {
            if let type = media.payloadType(encoding: "H264") {
                found = (media, type)
                break
            }
        }
        guard let (media, type) = found else { return nil }
        let rate = media.rtpmap[type]?.clockRate ?? 90_000
        track = VideoTrack(
            payloadType: type, clockRate: rate,
            parameterSets: Self.parameterSets(in: media.spropParameterSets(payloadType: type)))
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

    private static func parameterSets(in nalUnits: [ByteBuffer]) -> ParameterSets? {
        func all(_ type: NALUnitType) -> [ByteBuffer] {
            nalUnits.filter { nal in
                nal.readableBytesView.first.map(NALUnitType.init(header:)) == type
            }
        }
        guard let sps = all(.sps).first else { return nil }
        return try? ParameterSets(sps: sps, pictureParameterSets: all(.pps))
    }
}
