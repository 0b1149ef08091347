// From access units to files and rows: where fragments and segments are cut, and what gaps say.
// SPDX-License-Identifier: Apache-2.0

import Domain
import Foundation
import H26x
import MP4
import NIOCore
import Primitives
import Recording
import Testing

@Suite struct RecorderTests {
    /// A moment on a mark of every segment duration used here.
    private static let mark = WallTime(microseconds: 1_748_736_000_000_000)

    /// Records `pictures` of 25 a second that begin `offset` after a mark; four-second segments.
    private func record(
        _ pictures: Int, group: Int, offset: Duration
    ) async throws -> (rig: RecordingRig, units: [TimedUnit], segments: [Segment]) {
        let start = Self.mark + offset
        let rig = try await RecordingRig(start: start, segmentDuration: .seconds(4))
        let units = TimedUnit.stream(
            0..<pictures, group: group, start: start, sets: try TimedUnit.sets())
        try await rig.feed(units)
        return (rig, units, try await rig.finish())
    }

    private func starts(_ segments: [Segment]) -> [Double] {
        segments.map { ($0.start - Self.mark).inSeconds }
    }

    @Test("segments are cut at the keyframe after a mark where that one is the nearest")
    func cutAfterMark() async throws {
        let (_, _, segments) = try await record(375, group: 25, offset: .milliseconds(1200))
        #expect(starts(segments) == [1.2, 4.2, 8.2, 12.2])
        #expect(segments.map(\.sequenceNumber) == [0, 1, 2, 3])
        #expect(Set(segments.map(\.runID)).count == 1)
        for (a, b) in zip(segments, segments.dropFirst()) { #expect(a.end == b.start) }
    }

    @Test("a cut just before its mark is the only cut for that mark")
    func cutBeforeMark() async throws {
        let (_, _, segments) = try await record(375, group: 25, offset: .milliseconds(700))
        #expect(starts(segments) == [0.7, 3.7, 7.7, 11.7])
    }

    @Test("fragments begin at keyframes and last at most a second in long groups of pictures")
    func fragments() async throws {
        let (_, _, segments) = try await record(180, group: 60, offset: .zero)
        let entries = segments.flatMap(\.fragments)
        #expect(entries.reduce(0) { $0 + Int($1.sampleCount) } == 180)
        #expect(entries.allSatisfy { $0.duration <= 90_000 + 3600 })
        #expect(entries.filter(\.startsWithSync).map(\.decodeTime) == [0, 216_000, 432_000])
        for (a, b) in zip(entries, entries.dropFirst()) {
            #expect(a.decodeTime + Int64(a.duration) == b.decodeTime)
        }
    }

    @Test("every unit is found again byte for byte, and the index is what the files say")
    func bytes() async throws {
        let (rig, units, segments) = try await record(375, group: 25, offset: .milliseconds(1200))
        var found: [ByteBuffer] = []
        for segment in segments {
            let file = try rig.folder.bytes(segment.path)
            let scan = scan(file)
            #expect(scan.damage == nil)
            #expect(scan.validLength == UInt64(file.readableBytes))
            #expect(scan.parameterSets == (try TimedUnit.sets()))
            #expect(scan.initSegment == 0..<UInt64(segment.initSize))
            #expect(scan.fragments.map(\.offset) == segment.fragments.map(\.offset))
            #expect(scan.fragments.map(\.baseDecodeTime) == segment.fragments.map(\.decodeTime))
            #expect(scan.fragments.map { UInt32($0.size) } == segment.fragments.map(\.size))
            found += try samples(file)
        }
        #expect(found == units.map(\.unit.avcc))
        #expect(rig.shared.unindexedSegments(of: rig.camera.id).isEmpty)
    }

    @Test("nothing is recorded before the first keyframe")
    func waitsForKeyframe() async throws {
        let rig = try await RecordingRig(start: Self.mark, segmentDuration: .seconds(4))
        let units = TimedUnit.stream(
            10..<100, group: 25, start: Self.mark, sets: try TimedUnit.sets())
        try await rig.feed(units)
        let segments = try await rig.finish()
        #expect(segments.first?.start == Self.mark + .seconds(1))
        #expect(segments.flatMap(\.fragments).reduce(0) { $0 + Int($1.sampleCount) } == 75)
    }

    @Test("an interruption ends the run, and the gap until the next keyframe has its reason")
    func interruption() async throws {
        let rig = try await RecordingRig(start: Self.mark, segmentDuration: .seconds(60))
        let sets = try TimedUnit.sets()
        try await rig.feed(TimedUnit.stream(0..<50, group: 25, start: Self.mark, sets: sets))
        try await rig.interrupt(.sourceLost)
        try await rig.feed(TimedUnit.stream(260..<300, group: 25, start: Self.mark, sets: sets))
        let segments = try await rig.finish()
        #expect(starts(segments) == [0, 11])
        #expect(Set(segments.map(\.runID)).count == 2)
        let gap = Gap(
            start: Self.mark + .seconds(2), end: Self.mark + .seconds(11), reason: .sourceLost)
        #expect(try await rig.gaps() == [gap])
    }

    @Test("the time since the last recording of the program before is a gap by restart")
    func restart() async throws {
        let end = Self.mark + .seconds(-90)
        let rig = try await RecordingRig(
            start: Self.mark, segmentDuration: .seconds(4), lastEnd: end)
        let units = TimedUnit.stream(
            0..<25, group: 25, start: Self.mark, sets: try TimedUnit.sets())
        try await rig.feed(units)
        _ = try await rig.finish()
        #expect(try await rig.gaps() == [Gap(start: end, end: Self.mark, reason: .restart)])
    }

    @Test("other parameter sets begin a new run at their keyframe, without a gap")
    func parameterChange() async throws {
        let rig = try await RecordingRig(start: Self.mark, segmentDuration: .seconds(60))
        let first = try TimedUnit.sets()
        let second = try TimedUnit.sets(1)
        try await rig.feed(TimedUnit.stream(0..<50, group: 25, start: Self.mark, sets: first))
        try await rig.feed(TimedUnit.stream(50..<100, group: 25, start: Self.mark, sets: second))
        let segments = try await rig.finish()
        #expect(starts(segments) == [0, 2])
        #expect(segments.map(\.sequenceNumber) == [0, 0])
        #expect(Set(segments.map(\.runID)).count == 2)
        #expect(segments.first?.end == segments.last?.start)
        #expect(try await rig.gaps().isEmpty)
        for (segment, sets) in zip(segments, [first, second]) {
            #expect(scan(try rig.folder.bytes(segment.path)).parameterSets == sets)
        }
    }

    @Test("runs within one second get names of their own, also while the disk is slow")
    func sameSecond() async throws {
        let rig = try await RecordingRig(start: Self.mark, segmentDuration: .seconds(60))
        let sets = try TimedUnit.sets()
        let runs = [0, 10, 20].map { first in
            TimedUnit.stream(first..<(first + 5), group: 10, start: Self.mark, sets: sets)
        }
        try await rig.feed(runs: runs, interruptedBy: .sourceLost)
        let segments = try await rig.finish()
        #expect(segments.count == 3)
        #expect(Set(segments.map(\.path)).count == 3)
        for segment in segments { #expect(try samples(rig.folder.bytes(segment.path)).count == 5) }
    }

    @Test("where the folder cannot be made, nothing is indexed, and it goes on once it can")
    func failedFolder() async throws {
        let rig = try await RecordingRig(start: Self.mark, segmentDuration: .seconds(60))
        let sets = try TimedUnit.sets()
        try rig.folder.write([1], to: "recordings")
        try await rig.feed(TimedUnit.stream(0..<25, group: 25, start: Self.mark, sets: sets))
        // The loop hears of the failure before the feed that follows the spool's answer.
        while !rig.shared.unindexedSegments(of: rig.camera.id).isEmpty { await Task.yield() }
        try FileManager.default.removeItem(atPath: rig.folder.path + "/recordings")
        try await rig.feed(TimedUnit.stream(250..<300, group: 25, start: Self.mark, sets: sets))
        let segments = try await rig.finish()
        #expect(starts(segments) == [10])
        #expect(try await rig.gaps().map(\.reason) == [.damaged])
    }
}
