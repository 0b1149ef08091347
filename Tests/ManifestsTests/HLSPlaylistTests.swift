// Playlists compared with their whole text.
// SPDX-License-Identifier: Apache-2.0

import Manifests
import Primitives
import Testing

@Suite struct HLSPlaylistTests {
    private static let start = WallTime(microseconds: 1_735_787_045_678_901)

    private func piece(
        _ name: String, ticks: Int64, after seconds: Int64, newRun: Bool = false,
        initURI: String = "init-0.mp4", range: HLSPlaylist.MediaSegment.ByteRange? = nil
    ) -> HLSPlaylist.MediaSegment {
        .init(
            uri: name, byteRange: range, duration: ticks, wallTime: Self.start + .seconds(seconds),
            isDiscontinuous: newRun, initURI: initURI)
    }

    @Test("a recording with two runs is a VOD playlist with one discontinuity and two maps")
    func recorded() {
        let playlist = HLSPlaylist(
            segments: [
                piece("0.m4s", ticks: 180_000, after: 0, newRun: true),
                piece("1.m4s", ticks: 225_001, after: 2),
                piece("2.m4s", ticks: 90_000, after: 60, newRun: true, initURI: "init-2.mp4"),
            ], isEnded: true)
        #expect(
            playlist.serialize() == """
                #EXTM3U
                #EXT-X-VERSION:7
                #EXT-X-TARGETDURATION:3
                #EXT-X-MEDIA-SEQUENCE:0
                #EXT-X-PLAYLIST-TYPE:VOD
                #EXT-X-INDEPENDENT-SEGMENTS
                #EXT-X-MAP:URI="init-0.mp4"
                #EXT-X-PROGRAM-DATE-TIME:2025-01-02T03:04:05.678Z
                #EXTINF:2.00000,
                0.m4s
                #EXT-X-PROGRAM-DATE-TIME:2025-01-02T03:04:07.678Z
                #EXTINF:2.50001,
                1.m4s
                #EXT-X-DISCONTINUITY
                #EXT-X-MAP:URI="init-2.mp4"
                #EXT-X-PROGRAM-DATE-TIME:2025-01-02T03:05:05.678Z
                #EXTINF:1.00000,
                2.m4s
                #EXT-X-ENDLIST

                """)
    }

    @Test("a live playlist has its sequence numbers, byte ranges and no end")
    func live() {
        let playlist = HLSPlaylist(
            segments: [
                piece("a.mp4", ticks: 91_800, after: 0, range: .init(offset: 812, length: 4096))
            ], mediaSequence: 41, discontinuitySequence: 2, isEnded: false)
        #expect(
            playlist.serialize() == """
                #EXTM3U
                #EXT-X-VERSION:7
                #EXT-X-TARGETDURATION:1
                #EXT-X-MEDIA-SEQUENCE:41
                #EXT-X-DISCONTINUITY-SEQUENCE:2
                #EXT-X-INDEPENDENT-SEGMENTS
                #EXT-X-MAP:URI="init-0.mp4"
                #EXT-X-PROGRAM-DATE-TIME:2025-01-02T03:04:05.678Z
                #EXTINF:1.02000,
                #EXT-X-BYTERANGE:4096@812
                a.mp4

                """)
    }

    @Test("no duration, rounded, exceeds the target duration")
    func target() {
        var random = SeededRandom(seed: 21)
        for _ in 0..<500 {
            let ticks = Int64.random(in: 1...2_000_000, using: &random)
            let text = HLSPlaylist(segments: [piece("x", ticks: ticks, after: 0)], isEnded: true)
                .serialize()
            let lines = text.split(separator: "\n")
            let target = lines.first { $0.hasPrefix("#EXT-X-TARGETDURATION:") }
                .flatMap { Int($0.dropFirst(22)) }
            #expect((target ?? 0) >= max(1, Int((Double(ticks) / 90_000).rounded())))
        }
    }

    @Test("an empty playlist is still a playlist")
    func empty() {
        let text = HLSPlaylist(segments: [], isEnded: false).serialize()
        #expect(text.hasPrefix("#EXTM3U\n"))
        #expect(text.contains("#EXT-X-TARGETDURATION:1\n"))
    }

    @Test("a live playlist keeps its target while no piece is longer, and claims no keyframes")
    func fixedTarget() {
        func text(_ ticks: Int64) -> String {
            HLSPlaylist(
                segments: [piece("x", ticks: ticks, after: 0)], isEnded: false,
                isIndependent: false, target: 5
            ).serialize()
        }
        for ticks: Int64 in [1, 180_000, 450_000, 494_999] {
            #expect(text(ticks).contains("#EXT-X-TARGETDURATION:5\n"))
        }
        #expect(text(495_000).contains("#EXT-X-TARGETDURATION:6\n"))
        #expect(!text(1).contains("#EXT-X-INDEPENDENT-SEGMENTS"))
    }

    @Test("dates are right on both sides of midnight and before 1970")
    func dates() {
        var random = SeededRandom(seed: 22)
        var playlist = HLSPlaylist(isEnded: true)
        var expected: [String] = []
        for _ in 0..<500 {
            let time = WallTime(
                microseconds: .random(in: -1 << 50...1 << 52, using: &random))
            expected.append("#EXT-X-PROGRAM-DATE-TIME:\(time.description.dropLast(4))Z")
            playlist.append(
                .init(
                    uri: "x", duration: 1, wallTime: time, isDiscontinuous: false, initURI: "i"))
        }
        let lines = playlist.serialize().split(separator: "\n").map(String.init)
        #expect(lines.filter { $0.hasPrefix("#EXT-X-PROGRAM") } == expected)
    }
}
