// What is told of a recording while it fails, stands still, changes hands or meets a clock that was set.
// SPDX-License-Identifier: Apache-2.0

import Database
import Domain
import Foundation
import H26x
import NIOCore
import Primitives
import Recording
import Testing

@Suite(.everyDatabase) struct OutageTests {
    private static let mark = WallTime(microseconds: 1_748_736_000_000_000)

    private func starts(_ segments: [Segment]) -> [Double] {
        segments.map { ($0.start - Self.mark).inSeconds }
    }

    /// Rows of gaps as they are, those without an end among them.
    private func rows(_ rig: RecordingRig) async throws -> [(start: Int64, end: Int64?)] {
        try await rig.engine.query(
            Statement("SELECT start_time, end_time FROM gaps ORDER BY start_time")
        ).map { (try $0.integer("start_time"), try $0.optionalInteger("end_time")) }
    }

    @Test("an outage has a row without an end while it lasts, and the next program goes on with it")
    func lasting() async throws {
        let rig = try await RecordingRig(start: Self.mark, segmentDuration: .seconds(60))
        let sets = try TimedUnit.sets()
        try await rig.feed(TimedUnit.stream(0..<50, group: 25, start: Self.mark, sets: sets))
        try await rig.interrupt(.sourceLost)
        _ = try await rig.finish()
        let since = (Self.mark + .seconds(2)).microseconds
        let open = try await rows(rig)
        #expect(open.map(\.start) == [since])
        #expect(open.map(\.end) == [nil])

        let next = try await RecordingRig(
            start: Self.mark + .seconds(30), segmentDuration: .seconds(60), continuing: rig)
        let start = Self.mark + .seconds(30)
        try await next.feed(TimedUnit.stream(0..<25, group: 25, start: start, sets: sets))
        _ = try await next.finish()
        let gap = Gap(start: Self.mark + .seconds(2), end: start, reason: .sourceLost)
        #expect(try await next.gaps() == [gap])
        #expect(try await rows(next).map(\.end) == [start.microseconds])
    }

    @Test("a clock set forward begins a run at the next cut, with a gap; set back, without one")
    func clockStep() async throws {
        for step in [Duration.seconds(600), .seconds(-600), .milliseconds(800)] {
            let rig = try await RecordingRig(start: Self.mark, segmentDuration: .seconds(4))
            let sets = try TimedUnit.sets()
            var units = TimedUnit.stream(0..<200, group: 25, start: Self.mark, sets: sets)
            for index in 60..<200 {
                let wall = try #require(units[index].unit.wallTime)
                units[index].unit.wallTime = wall + step
            }
            try await rig.feed(units)
            let segments = try await rig.finish()
            let stepped = Self.mark + .seconds(4) + step
            if step == .milliseconds(800) {
                #expect(starts(segments) == [0, 4])
                #expect(Set(segments.map(\.runID)).count == 1)
            } else {
                #expect(Set(segments.map(\.start)).contains(stepped))
                #expect(Set(segments.map(\.runID)).count == 2)
            }
            let gap = Gap(start: Self.mark + .seconds(4), end: stepped, reason: .clock)
            #expect(try await rig.gaps() == (step == .seconds(600) ? [gap] : []))
        }
    }

    @Test("a fragment ends after a second of arrival though the camera's clock stands still")
    func frozenClock() async throws {
        let rig = try await RecordingRig(start: Self.mark, segmentDuration: .seconds(60))
        let sets = try TimedUnit.sets()
        var units = TimedUnit.stream(0..<101, group: 1000, start: Self.mark, sets: sets)
        for index in units.indices { units[index].unit.decodeTime = Int64(index) }
        try await rig.feed(units)
        let entries = try await rig.finish().flatMap(\.fragments)
        #expect(entries.count == 5)
        #expect(entries.reduce(0) { $0 + Int($1.sampleCount) } == 101)
    }

    @Test("a fragment ends after eight megabytes")
    func largePictures() async throws {
        let rig = try await RecordingRig(start: Self.mark, segmentDuration: .seconds(60))
        let sets = try TimedUnit.sets()
        var units = TimedUnit.stream(0..<10, group: 1000, start: Self.mark, sets: sets)
        for index in units.indices {
            let nal = [UInt8](repeating: 0x41, count: 1 << 20)
            units[index].unit.avcc = AVCC.serialize([ByteBuffer(bytes: nal)])
        }
        try await rig.feed(units)
        let entries = try await rig.finish().flatMap(\.fragments)
        #expect(entries.map(\.sampleCount) == [8, 2])
    }

    @Test("rows of a run never overlap, however the camera's crystal runs")
    func drift() async throws {
        for ticks in [3570, 3630] as [Int64] {
            let rig = try await RecordingRig(start: Self.mark, segmentDuration: .seconds(4))
            var units = TimedUnit.stream(
                0..<375, group: 25, start: Self.mark, sets: try TimedUnit.sets())
            for index in units.indices { units[index].unit.decodeTime = Int64(index) * ticks }
            try await rig.feed(units)
            let segments = try await rig.finish()
            #expect(segments.count == 4)
            for (a, b) in zip(segments, segments.dropFirst()) { #expect(a.end == b.start) }
        }
    }

    @Test("a recorder's last word takes nothing from the recorder after it")
    func changesHands() async throws {
        let rig = try await RecordingRig(start: Self.mark, segmentDuration: .seconds(60))
        let sets = try TimedUnit.sets()
        try await rig.feed(TimedUnit.stream(0..<50, group: 25, start: Self.mark, sets: sets))
        try await rig.replaceRecorder()
        try await rig.feed(TimedUnit.stream(50..<110, group: 25, start: Self.mark, sets: sets))
        try await rig.settleDisk()
        while rig.shared.unindexedSegments(of: rig.camera.id).last?.fragments.isEmpty ?? true {
            await Task.yield()
        }
        #expect(rig.shared.unindexedSegments(of: rig.camera.id).count == 2)
        #expect(rig.shared.recordingCameras() == [rig.camera.id])
        let segments = try await rig.finish()
        #expect(starts(segments) == [0, 2])
        #expect(rig.shared.recordingCameras().isEmpty)
    }

    @Test("a failed volume is one outage, and the state says that nothing is recorded")
    func failedVolume() async throws {
        let rig = try await RecordingRig(start: Self.mark, segmentDuration: .seconds(60))
        let sets = try TimedUnit.sets()
        try rig.folder.write([1], to: "recordings")
        for attempt in 0..<4 {
            let first = attempt * 250
            let pictures = TimedUnit.stream(
                first..<(first + 25), group: 25, start: Self.mark, sets: sets)
            try await rig.feed(pictures)
            while !rig.shared.unindexedSegments(of: rig.camera.id).isEmpty { await Task.yield() }
            #expect(rig.shared.recordingCameras().isEmpty)
        }
        try FileManager.default.removeItem(atPath: rig.folder.path + "/recordings")
        try await rig.feed(TimedUnit.stream(1000..<1050, group: 25, start: Self.mark, sets: sets))
        #expect(starts(try await rig.finish()) == [40])
        #expect(
            try await rig.gaps() == [
                Gap(start: Self.mark, end: Self.mark + .seconds(40), reason: .damaged)
            ])
    }

    @Test("with a lost database the program ends")
    func lostDatabase() async throws {
        let rig = try await RecordingRig(start: Self.mark, segmentDuration: .seconds(60))
        let units = TimedUnit.stream(
            0..<50, group: 25, start: Self.mark, sets: try TimedUnit.sets())
        try await rig.feed(units)
        try await rig.engine.close()
        try await rig.end()
        async let indexing: Void = rig.service.run()
        await rig.service.finish(patience: .zero)
        await indexing
        while !rig.shared.unindexedSegments(of: rig.camera.id).isEmpty { await Task.yield() }
    }

    @Test("a segment that the database refuses holds up no other, and its file stays")
    func refusedRow() async throws {
        let rig = try await RecordingRig(start: Self.mark, segmentDuration: .seconds(4))
        let (refuse, admit) =
            switch rig.engine.dialect {
            case .sqlite:
                (
                    """
                    CREATE TRIGGER refuse BEFORE INSERT ON video_segments
                    WHEN NEW.sequence_number = 1 BEGIN SELECT RAISE(ABORT, 'refused'); END
                    """, "DROP TRIGGER refuse"
                )
            case .postgresql:
                (
                    "ALTER TABLE video_segments ADD CONSTRAINT refuse CHECK (sequence_number <> 1)",
                    "ALTER TABLE video_segments DROP CONSTRAINT refuse"
                )
            }
        try await rig.engine.execute(Statement(refuse))
        let units = TimedUnit.stream(
            0..<300, group: 25, start: Self.mark, sets: try TimedUnit.sets())
        try await rig.feed(units)
        #expect(starts(try await rig.finish()) == [0, 8])
        try await rig.engine.execute(Statement(admit))
        let report = try await SegmentRepair(
            dataFolder: rig.folder.path, index: rig.index, shared: rig.shared
        ).run(at: Self.mark)
        #expect(report.adopted.count == 1 && report.damaged.isEmpty)
        #expect(try await rig.gaps().isEmpty)
    }
}
