// What is left after a kill: adopted, cut, or moved aside, and the same the second time.
// SPDX-License-Identifier: Apache-2.0

import Database
import Domain
import Foundation
import NIOCore
import Primitives
import Recording
import Testing

@Suite(.everyDatabase) struct RepairTests {
    private static let start = WallTime(microseconds: 1_748_736_000_250_000)

    /// A second folder and database, as after a restart.
    private struct Bench {
        let folder: TemporaryFolder
        let engine: any DatabaseEngine
        let index: RecordingIndex

        init() async throws {
            folder = try TemporaryFolder()
            engine = try await RecordingRig.database(in: folder)
            index = RecordingIndex(database: engine)
        }

        func repair(isDryRun: Bool = false) async throws -> RepairReport {
            try await SegmentRepair(dataFolder: folder.path, index: index, isDryRun: isDryRun)
                .run(at: RepairTests.start)
        }

        func gaps() async throws -> [Gap] {
            let range = try #require(
                TimeRange(start: WallTime(microseconds: 0), end: RepairTests.start + .seconds(1000))
            )
            return try await index.gaps(of: RecordingRig.camera().id, in: range)
        }

        /// The `damaged` column of the only row.
        func isDamaged() async throws -> Bool {
            try await engine.query(Statement("SELECT damaged FROM video_segments")).first?
                .integer("damaged") == 1
        }

        func segments() async throws -> [Segment] {
            let range = try #require(
                TimeRange(start: WallTime(microseconds: 0), end: RepairTests.start + .seconds(1000))
            )
            return try await index.segments(of: RecordingRig.camera().id, in: range)
        }
    }

    private func recorded() async throws -> (segment: Segment, file: ByteBuffer) {
        let rig = try await RecordingRig(start: Self.start, segmentDuration: .seconds(300))
        let units = TimedUnit.stream(
            0..<200, group: 25, start: Self.start, sets: try TimedUnit.sets())
        try await rig.feed(units)
        let segment = try #require(try await rig.finish().first)
        return (segment, try rig.folder.bytes(segment.path))
    }

    @Test("a whole file without a row is adopted as it was indexed")
    func adoptsWhole() async throws {
        let (segment, file) = try await recorded()
        let bench = try await Bench()
        try bench.folder.write(file.readableBytesView, to: segment.path)
        let report = try await bench.repair()
        #expect(report.adopted == [segment.path])
        #expect(report.trimmed.isEmpty && report.quarantined.isEmpty)
        #expect(try await bench.segments() == [segment])
        #expect(try await bench.repair() == RepairReport())
    }

    @Test(
        "a file cut anywhere keeps its whole fragments, with their hashes, and never loses a byte")
    func adoptsCut() async throws {
        let (segment, file) = try await recorded()
        let bytes = Array(file.readableBytesView)
        let last = try #require(segment.fragments.last)
        var random = SeededRandom(seed: 31)
        var cuts = (0..<25).map { _ in Int.random(in: 0..<bytes.count, using: &random) }
        cuts += [
            0, 1, Int(segment.initSize), Int(last.offset), Int(last.offset) + 1, bytes.count - 1,
        ]
        for cut in cuts {
            let bench = try await Bench()
            try bench.folder.write(bytes[..<cut], to: segment.path)
            let whole = segment.fragments.filter { $0.offset + UInt64($0.size) <= UInt64(cut) }
            let report = try await bench.repair()
            if let end = whole.last.map({ Int($0.offset) + Int($0.size) }) {
                #expect(report.adopted == [segment.path], "cut \(cut)")
                let found = try #require(try await bench.segments().first)
                #expect(found.fragments == whole, "cut \(cut)")
                #expect(found.id == segment.id && found.runID == segment.runID)
                #expect(
                    Array(try bench.folder.bytes(segment.path).readableBytesView)
                        == Array(bytes[..<end]))
                if end < cut {
                    let tail = try bench.folder.bytes("quarantine/\(segment.path).tail")
                    #expect(Array(tail.readableBytesView) == Array(bytes[end..<cut]))
                    #expect(report.trimmed == [segment.path: UInt64(cut - end)])
                }
            } else {
                #expect(report.adopted.isEmpty, "cut \(cut)")
                let moved = try bench.folder.bytes("quarantine/\(segment.path)")
                #expect(Array(moved.readableBytesView) == Array(bytes[..<cut]))
            }
            #expect(try await bench.repair() == RepairReport(), "cut \(cut)")
        }
    }

    @Test(
        "good fragments behind a damaged one play, and the hole is a gap",
        arguments: [0, 4, 28, 2000])
    func adoptsAround(_ position: Int) async throws {
        let (segment, file) = try await recorded()
        var bytes = Array(file.readableBytesView)
        let hole = segment.fragments[3]
        // A flipped byte in the head, or zeros where the pictures were.
        if position < 100 {
            bytes[Int(hole.offset) + position] ^= 0x40
        } else {
            for index in 600..<900 { bytes[Int(hole.offset) + index] = 0 }
        }
        let bench = try await Bench()
        try bench.folder.write(bytes, to: segment.path)
        let report = try await bench.repair()
        #expect(report.adopted == [segment.path] && report.damaged == [segment.path])
        #expect(report.trimmed.isEmpty)
        let found = try #require(try await bench.segments().first)
        #expect(found.fragments == segment.fragments.filter { $0.offset != hole.offset })
        #expect(found.end == segment.end)
        #expect(try await bench.isDamaged())
        let gap = Gap(
            start: segment.wallTime(of: hole), end: segment.end(of: hole), reason: .damaged)
        #expect(try await bench.gaps() == [gap])
        #expect(Array(try bench.folder.bytes(segment.path).readableBytesView) == bytes)
    }

    @Test("a file that cannot be repaired now is told, and holds up no other")
    func failedFile() async throws {
        let (segment, file) = try await recorded()
        let bench = try await Bench()
        try bench.folder.write(file.readableBytesView, to: segment.path)
        let other = segment.path.replacing("segment_", with: "segment_0")
        try bench.folder.write([1, 2, 3], to: other)
        // Where the quarantine's folder would be, there is a file.
        try bench.folder.write([1], to: "quarantine")
        let report = try await bench.repair()
        #expect(report.adopted == [segment.path])
        #expect(Array(report.failed.keys) == [other])
        #expect(report.quarantined.isEmpty)
        #expect(Array(try bench.folder.bytes(other).readableBytesView) == [1, 2, 3])
    }

    @Test("what a recorder is writing is left alone, and adopted segments end the restart's gap")
    func besideRecorder() async throws {
        let (segment, file) = try await recorded()
        let rig = try await RecordingRig(
            start: Self.start + .seconds(100), segmentDuration: .seconds(300),
            lastEnd: Self.start + .seconds(-50), seed: 3)
        try rig.folder.write(file.readableBytesView, to: segment.path)
        let sets = try TimedUnit.sets()
        let start = Self.start + .seconds(100)
        try await rig.feed(TimedUnit.stream(0..<60, group: 25, start: start, sets: sets))
        try await rig.settleDisk()
        let report = try await SegmentRepair(
            dataFolder: rig.folder.path, index: rig.index, shared: rig.shared
        ).run(at: Self.start)
        #expect(report.adopted == [segment.path])
        #expect(report.failed.isEmpty && report.quarantined.isEmpty && report.trimmed.isEmpty)
        try await rig.feed(TimedUnit.stream(60..<100, group: 25, start: start, sets: sets))
        let segments = try await rig.finish()
        #expect(segments.map(\.start) == [Self.start + .seconds(-60), Self.start, start])
        #expect(segments.last?.fragments.reduce(0) { $0 + Int($1.sampleCount) } == 100)
        #expect(
            try await rig.gaps() == [
                Gap(
                    start: Self.start + .seconds(-50), end: Self.start, reason: .restart),
                Gap(start: segment.end, end: start, reason: .restart),
            ])
    }

    @Test("rubbish is moved aside whole, and a dry run moves nothing")
    func quarantine() async throws {
        let (segment, _) = try await recorded()
        let bench = try await Bench()
        var random = SeededRandom(seed: 32)
        let rubbish = (0..<5000).map { _ in UInt8(truncatingIfNeeded: random.next()) }
        try bench.folder.write(rubbish, to: segment.path)
        try bench.folder.write(rubbish, to: "recordings/notes.mp4")
        try bench.folder.write(rubbish, to: "recordings/notes.txt")
        let dry = try await bench.repair(isDryRun: true)
        #expect(Set(dry.quarantined.keys) == [segment.path, "recordings/notes.mp4"])
        #expect(Array(try bench.folder.bytes(segment.path).readableBytesView) == rubbish)
        let report = try await bench.repair()
        #expect(report == dry)
        for path in report.quarantined.keys {
            #expect(
                Array(try bench.folder.bytes("quarantine/" + path).readableBytesView) == rubbish)
        }
        #expect(Array(try bench.folder.bytes("recordings/notes.txt").readableBytesView) == rubbish)
        #expect(try await bench.repair() == RepairReport())
    }

    @Test("bytes changed at random are adopted or moved aside, and never end the program")
    func mutated() async throws {
        let (segment, file) = try await recorded()
        var random = SeededRandom(seed: 33)
        for _ in 0..<15 {
            let bench = try await Bench()
            var bytes = Array(file.readableBytesView)
            for _ in 0..<Int.random(in: 1...40, using: &random) {
                bytes[.random(in: 0..<bytes.count, using: &random)] = UInt8(
                    truncatingIfNeeded: random.next())
            }
            try bench.folder.write(bytes, to: segment.path)
            let report = try await bench.repair()
            #expect(report.adopted.count + report.quarantined.count == 1)
            #expect(try await bench.repair() == RepairReport())
        }
    }

    @Test("a removal that was only begun is finished")
    func halfRemoved() async throws {
        let (segment, file) = try await recorded()
        let bench = try await Bench()
        try bench.folder.write(file.readableBytesView, to: segment.path)
        _ = try await bench.repair()
        try await markForRemoval(segment.id, in: bench.engine)
        #expect(try await bench.repair() == RepairReport())
        #expect(!FileManager.default.fileExists(atPath: bench.folder.path + "/" + segment.path))
        #expect(try await rowCount(in: bench.engine) == 0)
    }
}

@Suite struct SegmentStampTests {
    private static let stamp = SegmentStamp(
        segmentID: "3f2504e0-4f89-41d3-9a0c-0305e82c3301",
        runID: "00000000-0000-4000-8000-00000000000f", sequenceNumber: 4_000_000_000,
        start: WallTime(microseconds: 1_748_736_000_250_000))

    @Test("a stamp is found again as it was, in exactly its size")
    func roundTrip() {
        let bytes = Self.stamp.serialize()
        #expect(bytes.readableBytes == SegmentStamp.size)
        #expect(SegmentStamp(parsing: bytes) == Self.stamp)
    }

    @Test("cut bytes are no stamp, and a changed head is none either")
    func malformed() {
        let bytes = Array(Self.stamp.serialize().readableBytesView)
        for end in 0..<bytes.count {
            #expect(SegmentStamp(parsing: ByteBuffer(bytes: bytes[..<end])) == nil)
        }
        for position in 0..<25 {
            var changed = bytes
            changed[position] ^= 0x55
            #expect(SegmentStamp(parsing: ByteBuffer(bytes: changed)) == nil)
        }
        var random = SeededRandom(seed: 41)
        for _ in 0..<2000 {
            var changed = bytes
            changed[.random(in: 0..<bytes.count, using: &random)] = UInt8(
                truncatingIfNeeded: random.next())
            _ = SegmentStamp(parsing: ByteBuffer(bytes: changed))
        }
    }
}
