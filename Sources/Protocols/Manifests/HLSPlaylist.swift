// HLS media playlists from an index (RFC 8216): text only, no file is opened.
// SPDX-License-Identifier: Apache-2.0

package import Primitives

/// A media playlist over fragmented MP4 (RFC 8216 §4.3). Video on demand when `isEnded`, live otherwise.
package struct HLSPlaylist: Sendable {
    /// One piece: consecutive fragments that begin at a random access point.
    package struct MediaSegment: Sendable, Equatable {
        /// A byte range of the resource at `uri` (§4.3.2.2).
        package struct ByteRange: Sendable, Equatable {
            package var offset: UInt64
            package var length: UInt64

            package init(offset: UInt64, length: UInt64) {
                self.offset = offset
                self.length = length
            }
        }

        package var uri: String
        package var byteRange: ByteRange?
        /// 90 kHz ticks.
        package var duration: Int64
        package var wallTime: WallTime
        /// Whether its timestamps or parameter sets do not follow from the piece before (§4.3.2.3).
        package var isDiscontinuous: Bool
        /// The initialization section it needs (§4.3.2.5); written where it differs from the one before.
        package var initURI: String

        package init(
            uri: String, byteRange: ByteRange? = nil, duration: Int64, wallTime: WallTime,
            isDiscontinuous: Bool, initURI: String
        ) {
            self.uri = uri
            self.byteRange = byteRange
            self.duration = duration
            self.wallTime = wallTime
            self.isDiscontinuous = isDiscontinuous
            self.initURI = initURI
        }
    }

    package var segments: [MediaSegment]
    package var mediaSequence: UInt64
    package var discontinuitySequence: UInt64
    package var isEnded: Bool

    package init(
        segments: [MediaSegment], mediaSequence: UInt64 = 0, discontinuitySequence: UInt64 = 0,
        isEnded: Bool
    ) {
        self.segments = segments
        self.mediaSequence = mediaSequence
        self.discontinuitySequence = discontinuitySequence
        self.isEnded = isEnded
    }

    /// The playlist's text. Version 7: fragmented MP4 with EXT-X-MAP in a playlist of video (§7).
    package func serialize() -> String {
        // §4.3.3.1: each duration, rounded to the nearest integer, must not exceed the target.
        let longest = segments.map(\.duration).max() ?? 90_000
        let target = max(1, (longest + 45_000) / 90_000)
        var text = "#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-TARGETDURATION:\(target)\n"
        text += "#EXT-X-MEDIA-SEQUENCE:\(mediaSequence)\n"
        if discontinuitySequence > 0 {
            text += "#EXT-X-DISCONTINUITY-SEQUENCE:\(discontinuitySequence)\n"
        }
        if isEnded { text += "#EXT-X-PLAYLIST-TYPE:VOD\n" }
        text += "#EXT-X-INDEPENDENT-SEGMENTS\n"
        var mapped: String?
        for (index, segment) in segments.enumerated() {
            if segment.isDiscontinuous, index > 0 { text += "#EXT-X-DISCONTINUITY\n" }
            if segment.initURI != mapped {
                text += "#EXT-X-MAP:URI=\"\(segment.initURI)\"\n"
                mapped = segment.initURI
            }
            text += "#EXT-X-PROGRAM-DATE-TIME:\(Self.dateTime(segment.wallTime))\n"
            text += "#EXTINF:\(Self.seconds(segment.duration)),\n"
            if let range = segment.byteRange {
                text += "#EXT-X-BYTERANGE:\(range.length)@\(range.offset)\n"
            }
            text += segment.uri + "\n"
        }
        if isEnded { text += "#EXT-X-ENDLIST\n" }
        return text
    }

    /// Milliseconds: players' date parsers are only sure to take three digits.
    private static func dateTime(_ time: WallTime) -> String {
        String(time.description.dropLast(4)) + "Z"
    }

    /// Seconds with five decimals, computed in integers: no locale, no rounding drift.
    private static func seconds(_ ticks: Int64) -> String {
        let hundredThousandths = Int(ticks) * 10 / 9
        return "\(hundredThousandths / 100_000).\(padded(hundredThousandths % 100_000, 5))"
    }
}
