// HLS media playlists from an index (RFC 8216): text only, no file is opened.
// SPDX-License-Identifier: Apache-2.0

package import Primitives

/// A media playlist over fragmented MP4 (RFC 8216 §4.3). Video on demand when `isEnded`, live otherwise.
package struct HLSPlaylist: Sendable {
    /// One piece: consecutive fragments.
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

    package var mediaSequence: UInt64
    package var discontinuitySequence: UInt64
    package var isEnded: Bool
    /// Whether every piece begins at a random access point (§4.3.5.1).
    package var isIndependent: Bool
    /// The shortest target duration in seconds. It must not change while a playlist is live, so a live
    /// one names it, and only a piece that is longer raises it.
    package var target: Int64
    /// The lines of the pieces so far; the head is known when the longest of them is.
    private var body: [UInt8] = []
    private var isEmpty = true
    private var mapped: String?
    private var dates = DateLines()

    package init(
        mediaSequence: UInt64 = 0, discontinuitySequence: UInt64 = 0, isEnded: Bool,
        isIndependent: Bool = true, target: Int64 = 1
    ) {
        self.mediaSequence = mediaSequence
        self.discontinuitySequence = discontinuitySequence
        self.isEnded = isEnded
        self.isIndependent = isIndependent
        self.target = target
    }

    package init(
        segments: [MediaSegment], mediaSequence: UInt64 = 0, discontinuitySequence: UInt64 = 0,
        isEnded: Bool, isIndependent: Bool = true, target: Int64 = 1
    ) {
        self.init(
            mediaSequence: mediaSequence, discontinuitySequence: discontinuitySequence,
            isEnded: isEnded, isIndependent: isIndependent, target: target)
        for segment in segments { append(segment) }
    }

    /// A duration rounded to the nearest second, which the target must not fall below (§4.3.3.1).
    package static func target(for ticks: Int64) -> Int64 { max(1, (ticks &+ 45_000) / 90_000) }

    /// Adds a piece behind the others.
    package mutating func append(_ segment: MediaSegment) {
        target = max(target, Self.target(for: segment.duration))
        if segment.isDiscontinuous, !isEmpty { put("#EXT-X-DISCONTINUITY\n") }
        isEmpty = false
        if segment.initURI != mapped {
            put("#EXT-X-MAP:URI=\"")
            put(segment.initURI)
            put("\"\n")
            mapped = segment.initURI
        }
        dates.append(segment.wallTime, to: &body)
        put("#EXTINF:")
        // Seconds with five decimals, computed in integers: no locale, no rounding drift.
        let hundredThousandths = UInt64(max(0, segment.duration)) &* 10 / 9
        body.append(decimal: UInt(hundredThousandths / 100_000))
        body.append(UInt8(ascii: "."))
        putDigits(Int(hundredThousandths % 100_000), 5, to: &body)
        put(",\n")
        if let range = segment.byteRange {
            put("#EXT-X-BYTERANGE:\(range.length)@\(range.offset)\n")
        }
        put(segment.uri)
        body.append(UInt8(ascii: "\n"))
    }

    /// The playlist's text. Version 7: fragmented MP4 with EXT-X-MAP in a playlist of video (§7).
    package func serialize() -> String {
        var head = "#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-TARGETDURATION:\(target)\n"
        head += "#EXT-X-MEDIA-SEQUENCE:\(mediaSequence)\n"
        if discontinuitySequence > 0 {
            head += "#EXT-X-DISCONTINUITY-SEQUENCE:\(discontinuitySequence)\n"
        }
        if isEnded { head += "#EXT-X-PLAYLIST-TYPE:VOD\n" }
        if isIndependent { head += "#EXT-X-INDEPENDENT-SEGMENTS\n" }
        let tail = isEnded ? "#EXT-X-ENDLIST\n" : ""
        let size = head.utf8.count + body.count + tail.utf8.count
        return String(unsafeUninitializedCapacity: size) { bytes in
            var end = bytes.initialize(fromContentsOf: head.utf8)
            end = bytes[end...].initialize(fromContentsOf: body)
            return bytes[end...].initialize(fromContentsOf: tail.utf8)
        }
    }

    private mutating func put(_ text: String) { body.append(utf8: text) }
}

/// The lines with dates: a playlist of a day has thousands, on one day or two.
private struct DateLines: Sendable {
    private var day: Int64 = .min
    private var prefix: [UInt8] = []

    /// Milliseconds: players' date parsers are only sure to take three digits.
    mutating func append(_ time: WallTime, to body: inout [UInt8]) {
        let perDay: Int64 = 86_400_000_000
        let rest = time.microseconds % perDay
        let today = time.microseconds / perDay - (rest < 0 ? 1 : 0)
        if today != day {
            day = today
            let text = time.description
            prefix = Array("#EXT-X-PROGRAM-DATE-TIME:\(text.prefix { $0 != "T" })T".utf8)
        }
        body.append(contentsOf: prefix)
        let milliseconds = Int((rest < 0 ? rest + perDay : rest) / 1000)
        putDigits(milliseconds / 3_600_000, 2, to: &body)
        body.append(UInt8(ascii: ":"))
        putDigits(milliseconds / 60_000 % 60, 2, to: &body)
        body.append(UInt8(ascii: ":"))
        putDigits(milliseconds / 1000 % 60, 2, to: &body)
        body.append(UInt8(ascii: "."))
        putDigits(milliseconds % 1000, 3, to: &body)
        body.append(UInt8(ascii: "Z"))
        body.append(UInt8(ascii: "\n"))
    }
}

/// The last digits of a number that is not negative.
private func putDigits(_ value: Int, _ count: Int, to body: inout [UInt8]) {
    var divisor = 1
    for _ in 1..<count { divisor *= 10 }
    while divisor > 0 {
        body.append(UInt8(ascii: "0") + UInt8(value / divisor % 10))
        divisor /= 10
    }
}
