// The nouns: what is accepted as an id, how fragments are packed, where files lie.
// SPDX-License-Identifier: Apache-2.0

import Domain
import Primitives
import Testing

@Suite struct IdentityTests {
    @Test(
        "a camera's id is exactly a lower-case UUID",
        arguments: ["3f2504e0-4f89-41d3-9a0c-0305e82c3301", "00000000-0000-0000-0000-000000000000"])
    func validID(text: String) { #expect(CameraID(text)?.rawValue == text) }

    @Test(
        "other text is no camera's id",
        arguments: [
            "", "3F2504E0-4F89-41D3-9A0C-0305E82C3301", "3f2504e0-4f89-41d3-9a0c-0305e82c330",
            "3f2504e0-4f89-41d3-9a0c-0305e82c33011", "3f2504e0x4f89-41d3-9a0c-0305e82c3301",
            "../../../etc/passwd/../../../../../.", "3f2504e0-4f89-41d3-9a0c-0305e82c33/1",
            "3f2504e0-4f89-41d3-9a0c-0305e82c330g", "٣f2504e0-4f89-41d3-9a0c-0305e82c330",
        ])
    func invalidID(text: String) { #expect(CameraID(text) == nil) }

    @Test("a source is 1 to 32 upper-case letters, digits and underscores")
    func sources() {
        #expect(Source("DUBAI_POLICE")?.description == "DUBAI_POLICE")
        #expect(Source(String(repeating: "A", count: 32)) != nil)
        let refused = [
            "", "metro", "A-B", "A/B", "..", "A B", "Ä", String(repeating: "A", count: 33), "A\n",
        ]
        for text in refused { #expect(Source(text) == nil, "\(text)") }
    }

    @Test("a camera's printed form does not show its address")
    func addressIsHidden() throws {
        let camera = Camera(
            id: try #require(CameraID("3f2504e0-4f89-41d3-9a0c-0305e82c3301")), name: "Gate",
            nameArabic: "بوابة", source: try #require(Source("METRO")),
            address: Redacted("rtsp://user:secret@10.0.0.1/"), createdAt: WallTime(microseconds: 0))
        var dumped = ""
        dump(camera, to: &dumped)
        #expect(!"\(camera)\(dumped)".contains("secret"))
    }

    @Test("a new id is a version 4 UUID that is also a camera's id")
    func makeID() {
        let world = World(
            now: { Instant(nanoseconds: 0) }, wallTime: { WallTime(microseconds: 0) },
            random: { 0 },
            secureRandomBytes: { [UInt8](repeating: 0xFF, count: $0) })
        #expect(world.makeID() == "ffffffff-ffff-4fff-bfff-ffffffffffff")
        #expect(CameraID(world.makeID()) != nil)
        #expect([0x00, 0x0F, 0xA5, 0xFF].hex == "000fa5ff")
    }
}

@Suite struct TimeRangeTests {
    @Test("a range is half open and never backwards")
    func range() throws {
        func time(_ n: Int64) -> WallTime { WallTime(microseconds: n) }
        let range = try #require(TimeRange(start: time(10), end: time(20)))
        #expect(TimeRange(start: time(2), end: time(1)) == nil)
        #expect(range.contains(time(10)) && !range.contains(time(20)))
        let next = try #require(TimeRange(start: time(20), end: time(30)))
        #expect(!range.overlaps(next) && !next.overlaps(range))
        #expect(range.overlaps(try #require(TimeRange(start: time(19), end: time(21)))))
    }
}

@Suite struct FragmentIndexTests {
    /// Fragments with holes between them, as repair may leave them, and anything else at random.
    private func entries(_ count: Int, _ random: inout SeededRandom) -> [FragmentEntry] {
        var offset: UInt64 = 2000
        return (0..<count).map { _ in
            offset += .random(in: 0...5000, using: &random)
            let size = UInt32.random(in: 1...1 << 20, using: &random)
            defer { offset += UInt64(size) }
            return FragmentEntry(
                offset: offset, size: size,
                decodeTime: .random(in: -(1 << 52)...1 << 52, using: &random),
                duration: .random(in: 0 ... .max, using: &random),
                sampleCount: .random(in: 0 ... .max, using: &random),
                startsWithSync: random.next() & 1 == 1,
                hash: (0..<32).map { _ in UInt8(truncatingIfNeeded: random.next()) })
        }
    }

    @Test("any fragments are found again as they were")
    func roundTrip() throws {
        var random = SeededRandom(seed: 3)
        for count in [0, 1, 2, 300] {
            let entries = entries(count, &random)
            let bytes = FragmentIndex.serialize(initSize: 1234, entries)
            let parsed = try #require(FragmentIndex.parse(bytes))
            #expect(bytes.count == 5 + 59 * count)
            #expect(parsed.initSize == 1234)
            #expect(parsed.entries == entries)
        }
    }

    @Test("cut bytes are refused, or are the fragments before the cut")
    func cut() {
        var random = SeededRandom(seed: 4)
        let entries = entries(3, &random)
        let bytes = FragmentIndex.serialize(initSize: 9, entries)
        for end in 0..<bytes.count {
            let parsed = FragmentIndex.parse(Array(bytes[..<end]))
            if end >= 5, (end - 5) % 59 == 0 {
                #expect(parsed?.entries == Array(entries.prefix((end - 5) / 59)))
            } else {
                #expect(parsed == nil)
            }
        }
    }

    @Test("another version is refused, and changed bytes never trap")
    func mutated() {
        var random = SeededRandom(seed: 5)
        let bytes = FragmentIndex.serialize(initSize: 9, entries(3, &random))
        #expect(FragmentIndex.parse([2] + bytes.dropFirst()) == nil)
        for _ in 0..<2000 {
            var changed = bytes
            changed[.random(in: 1..<changed.count, using: &random)] = UInt8(
                truncatingIfNeeded: random.next())
            let parsed = FragmentIndex.parse(changed)
            #expect(parsed == nil || parsed?.entries.count == 3)
        }
    }

    @Test("fragments that overlap, fall back, are empty or lie beyond any file are refused")
    func impossible() {
        func parses(_ places: [(offset: UInt64, size: UInt32)], initSize: UInt32 = 9) -> Bool {
            let entries = places.map {
                FragmentEntry(
                    offset: $0.offset, size: $0.size, decodeTime: 0, duration: 1, sampleCount: 1,
                    startsWithSync: true, hash: [])
            }
            return FragmentIndex.parse(FragmentIndex.serialize(initSize: initSize, entries)) != nil
        }
        #expect(parses([(9, 10), (19, 10), (50, 1)]))
        #expect(!parses([(8, 10)]))
        #expect(!parses([(9, 10), (18, 10)]))
        #expect(!parses([(100, 10), (9, 10)]))
        #expect(!parses([(9, 0)]))
        #expect(!parses([(.max, 1)]))
        #expect(!parses([(9, 10), (.max - 5, .max)]))
        #expect(!parses([], initSize: .max))
    }

    @Test("decode times that would end the arithmetic are refused")
    func decodeTimes() {
        for time in [Int64.min, .max, 1 << 60] {
            let entry = FragmentEntry(
                offset: 9, size: 1, decodeTime: time, duration: 1, sampleCount: 1,
                startsWithSync: true, hash: [])
            #expect(FragmentIndex.parse(FragmentIndex.serialize(initSize: 9, [entry])) == nil)
        }
    }
}

@Suite struct SegmentTests {
    @Test(
        "files lie below source, camera and UTC day, and a fragment's moment follows its media time"
    )
    func layout() throws {
        let id = try #require(CameraID("3f2504e0-4f89-41d3-9a0c-0305e82c3301"))
        let source = try #require(Source("METRO"))
        let start = try #require(WallTime(iso8601: "2025-06-07T23:59:58.25Z"))
        let path = Segment.path(source: source, cameraID: id, start: start)
        #expect(path == "recordings/METRO/\(id)/2025/06/07/segment_20250607_235958.mp4")
        func entry(_ decodeTime: Int64) -> FragmentEntry {
            FragmentEntry(
                offset: 0, size: 1, decodeTime: decodeTime, duration: 90_000, sampleCount: 1,
                startsWithSync: true, hash: [])
        }
        let segment = Segment(
            id: "s", runID: "r", cameraID: id, source: source, sequenceNumber: 0, start: start,
            end: start + .seconds(2), path: path, initSize: 1,
            fragments: [entry(500_000), entry(590_000)], codec: "avc1.42C00A", width: 1, height: 1)
        #expect(segment.wallTime(of: segment.fragments[1]) == start + .seconds(1))
    }
}

@Suite struct CameraTests {
    private static func camera() throws -> Camera {
        Camera(
            id: try #require(CameraID("3f2504e0-4f89-41d3-9a0c-0305e82c3301")), name: "Gate",
            nameArabic: "", source: try #require(Source("METRO")),
            address: Redacted("rtsp://192.0.2.1/1"), createdAt: WallTime(microseconds: 1))
    }

    /// Every stored property, so that a new one has to say what it is.
    private static let changes:
        [(name: String, keepsStream: Bool, @Sendable (inout Camera) -> Void)] = [
            ("id", false, { $0.id = CameraID("3f2504e0-4f89-41d3-9a0c-0305e82c3302") ?? $0.id }),
            ("name", true, { $0.name = "Gate 2" }),
            ("nameArabic", true, { $0.nameArabic = "بوابة" }),
            ("source", false, { $0.source = Source("BUS") ?? $0.source }),
            ("folderID", true, { $0.folderID = FolderID("gates") }),
            ("externalID", true, { $0.externalID = "G-1" }),
            ("origin", false, { $0.origin = .whip }),
            ("address", false, { $0.address = Redacted("rtsp://192.0.2.1/2") }),
            ("subAddress", false, { $0.subAddress = Redacted("rtsp://192.0.2.1/3") }),
            ("hasAudio", false, { $0.hasAudio = true }),
            ("recordingMode", false, { $0.recordingMode = .off }),
            ("retentionDays", true, { $0.retentionDays = 3 }),
            ("publishTokenHash", false, { $0.publishTokenHash = "abc" }),
            ("createdAt", false, { $0.createdAt = WallTime(microseconds: 2) }),
            ("updatedAt", true, { $0.updatedAt = WallTime(microseconds: 2) }),
        ]

    @Test("what a stream is made of makes it anew, and nothing else does")
    func keepsStream() throws {
        let before = try Self.camera()
        #expect(before.keepsStream(of: before))
        let names = Set(Mirror(reflecting: before).children.compactMap(\.label))
        #expect(names == Set(Self.changes.map(\.name)))
        for (name, keeps, change) in Self.changes {
            var camera = before
            change(&camera)
            #expect(camera != before && camera.keepsStream(of: before) == keeps, "\(name)")
        }
    }
}
