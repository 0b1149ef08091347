// One file without a row, read: which of its fragments play, and what lies between and behind them.
// SPDX-License-Identifier: Apache-2.0

import Crypto
import Domain
import Glibc
import H26x
import MP4
import NIOCore
import Primitives

/// What a file is that no recording can be made of.
struct Unplayable: Error {
    var reason: String
}

/// A recording's file as it was found.
struct FileInspection: Sendable {
    /// The segment as its row will say it, with the fragments that play.
    var segment: Segment
    /// Times between fragments that play, without any.
    var holes: [TimeRange] = []
    /// Where the last fragment that plays ends.
    var playableLength: UInt64
    var fileLength: UInt64
    /// Whether something other than an unfinished end is wrong.
    var isDamaged: Bool

    /// Reads all fragments; changes nothing.
    static func read(_ path: String, below dataFolder: String) throws -> FileInspection {
        let parts = path.split(separator: "/")
        guard parts.count == 7, let source = Source(parts[1]), let cameraID = CameraID(parts[2])
        else { throw Unplayable(reason: "the path is not of the layout") }
        let descriptor = open(dataFolder + "/" + path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw FileError("open") }
        defer { close(descriptor) }
        let length = try SegmentFile.size(descriptor)
        let scan = try scan(descriptor, length: length)
        guard let initRange = scan.initSegment, let sets = scan.parameterSets else {
            throw Unplayable(reason: scan.damage ?? "no whole fragment")
        }
        let stamp = SegmentStamp(
            parsing: try SegmentFile.read(
                descriptor, offset: initRange.upperBound, count: SegmentStamp.size))
        guard let stamp else {
            throw Unplayable(
                reason: scan.fragments.isEmpty
                    ? scan.damage ?? "no whole fragment"
                    : "no segment stamp: not written by Marsad")
        }
        let entries = inOrder(try playable(scan, sets.codec, descriptor))
        guard let first = entries.first, let last = entries.last else {
            throw Unplayable(reason: scan.damage ?? "no whole fragment")
        }
        let begin = initRange.upperBound + UInt64(SegmentStamp.size)
        let start = stamp.start + lostBefore(first, entries, begin: begin)
        var found = FileInspection(
            segment: Segment(
                id: stamp.segmentID, runID: stamp.runID, cameraID: cameraID, source: source,
                sequenceNumber: stamp.sequenceNumber, start: start, end: start, path: path,
                initSize: UInt32(clamping: initRange.upperBound), fragments: entries,
                codec: sets.sequence.codecString, width: sets.sequence.width,
                height: sets.sequence.height),
            playableLength: last.offset + UInt64(last.size), fileLength: length,
            isDamaged: first.offset > begin || entries.count < scan.fragments.count
                || !scan.holes.isEmpty)
        found.segment.end = found.segment.end(of: last)
        if first.offset > begin, let lost = TimeRange(start: stamp.start, end: start) {
            found.holes.append(lost)
        }
        for (a, b) in zip(entries, entries.dropFirst()) where a.offset + UInt64(a.size) < b.offset {
            let (from, to) = (found.segment.end(of: a), found.segment.wallTime(of: b))
            if from < to, let hole = TimeRange(start: from, end: to) { found.holes.append(hole) }
        }
        return found
    }

    private static func scan(_ descriptor: Int32, length: UInt64) throws -> FileScanner.Scan {
        var scanner = FileScanner(fileLength: length)
        var step = scanner.next(nil)
        while true {
            switch step {
            case .need(let offset, let count):
                step = scanner.next(try SegmentFile.read(descriptor, offset: offset, count: count))
            case .done(let scan):
                return scan
            }
        }
    }

    /// The fragments whose pictures are whole, as far as their NAL units tell.
    private static func playable(
        _ scan: FileScanner.Scan, _ codec: Codec, _ descriptor: Int32
    ) throws -> [FragmentEntry] {
        var entries: [FragmentEntry] = []
        for fragment in scan.fragments {
            let bytes = try SegmentFile.read(
                descriptor, offset: fragment.offset, count: Int(clamping: fragment.size))
            guard let header = try? FragmentHeader.parse(bytes),
                header.holdsNALUnits(bytes, codec)
            else { continue }
            let hash = bytes.withUnsafeReadableBytes { SHA256.hash(data: $0) }
            entries.append(
                FragmentEntry(
                    offset: fragment.offset, size: UInt32(clamping: fragment.size),
                    decodeTime: fragment.baseDecodeTime,
                    duration: UInt32(clamping: fragment.duration),
                    sampleCount: UInt16(clamping: fragment.sampleCount),
                    startsWithSync: fragment.firstIsSync, hash: Array(hash)))
        }
        return entries
    }

    /// Leaves out fragments whose time cannot be: a flipped bit there would end the row in another
    /// century.
    private static func inOrder(_ entries: [FragmentEntry]) -> [FragmentEntry] {
        func follows(_ a: FragmentEntry, _ b: FragmentEntry) -> Bool {
            let (end, overflow) = a.decodeTime.addingReportingOverflow(Int64(a.duration))
            return !overflow && b.decodeTime >= end && b.decodeTime - end <= longestPause
        }
        var kept: [FragmentEntry] = []
        for (index, entry) in entries.enumerated() {
            guard Int64(entry.duration) <= longestPause else { continue }
            if let last = kept.last {
                if follows(last, entry) { kept.append(entry) }
            } else if index + 2 >= entries.count || follows(entry, entries[index + 1])
                || !follows(entries[index + 1], entries[index + 2])
            {
                kept.append(entry)
            }
        }
        return kept
    }

    /// An hour of media time.
    private static let longestPause: Int64 = 3600 * 90_000

    /// How much later than the file the first playable fragment begins. Where the head of the file
    /// is lost its time is too: the bytes are taken to last as long as those that play.
    private static func lostBefore(
        _ first: FragmentEntry, _ entries: [FragmentEntry], begin: UInt64
    ) -> Duration {
        guard first.offset > begin else { return .zero }
        let size = entries.reduce(1.0) { $0 + Double($1.size) }
        let ticks = entries.reduce(0.0) { $0 + Double($1.duration) }
        let lost = ticks * Double(first.offset - begin) / size
        return .ticks(Int64(min(max(lost, 0), Double(longestPause))))
    }
}
