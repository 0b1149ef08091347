// Files without a row: read, cut at the last whole fragment, and indexed. Never deleted.
// SPDX-License-Identifier: Apache-2.0

import Crypto
import Database
import Domain
import Glibc
import H26x
import MP4
import NIOCore
package import Primitives

/// What a repair found and did.
package struct RepairReport: Sendable, Equatable {
    /// Paths that got a row.
    package var adopted: [String] = []
    /// Paths whose unfinished end was moved aside, with the number of bytes.
    package var trimmed: [String: UInt64] = [:]
    /// Paths that hold nothing playable, moved below `quarantine/`.
    package var quarantined: [String: String] = [:]

    package init() {}
}

/// Brings the index and the folder of recordings together after a crash. Idempotent.
package struct SegmentRepair: Sendable {
    private let dataFolder: String
    private let index: RecordingIndex
    private let isDryRun: Bool

    package init(dataFolder: String, index: RecordingIndex, isDryRun: Bool = false) {
        self.dataFolder = dataFolder
        self.index = index
        self.isDryRun = isDryRun
    }

    package func run(at now: WallTime) async throws -> RepairReport {
        var report = RepairReport()
        for segment in try await index.halfRemoved() where !isDryRun {
            try SegmentFile.remove(dataFolder + "/" + segment.path)
            try await index.remove(segment.id)
        }
        let known = try await index.knownPaths()
        let paths = Set(known.values)
        let root = dataFolder + "/recordings"
        for file in SegmentFile.files(below: root) where file.hasSuffix(".mp4") {
            let path = "recordings/" + file
            guard !paths.contains(path) else { continue }
            do {
                let segment = try adopt(path, report: &report)
                if let indexed = known[segment.id] {
                    // Somebody copied or moved a file: the index follows a move, and a copy is put aside.
                    guard !SegmentFile.exists(dataFolder + "/" + indexed) else {
                        throw Unplayable(reason: "a copy of \(indexed)")
                    }
                    if !isDryRun { try await index.move(segment.id, to: path) }
                } else if !isDryRun {
                    try await index.add(
                        segment, cameraName: segment.cameraID.rawValue, damaged: false, at: now)
                }
                report.adopted.append(path)
            } catch let problem as Unplayable {
                report.quarantined[path] = problem.reason
                if !isDryRun { try quarantine(path) }
            }
        }
        return report
    }

    private struct Unplayable: Error {
        var reason: String
    }

    /// Scans one file; cuts what follows its last whole fragment, after keeping it aside.
    private func adopt(_ path: String, report: inout RepairReport) throws -> Segment {
        let parts = path.split(separator: "/")
        guard parts.count == 7, let source = Source(parts[1]), let cameraID = CameraID(parts[2])
        else { throw Unplayable(reason: "the path is not of the layout") }
        let full = dataFolder + "/" + path
        let descriptor = open(full, O_RDWR | O_CLOEXEC)
        guard descriptor >= 0 else { throw FileError("open") }
        defer { close(descriptor) }
        let length = try SegmentFile.size(descriptor)
        let scan = try Self.scan(descriptor, length: length)
        guard let initRange = scan.initSegment, let sets = scan.parameterSets,
            !scan.fragments.isEmpty
        else { throw Unplayable(reason: scan.damage ?? "no whole fragment") }
        let stamp = SegmentStamp(
            parsing: try SegmentFile.read(
                descriptor, offset: initRange.upperBound, count: SegmentStamp.size))
        guard let stamp else { throw Unplayable(reason: "no segment stamp: not written by Marsad") }
        if scan.validLength < length {
            report.trimmed[path] = length - scan.validLength
            if !isDryRun { try trim(descriptor, path: path, from: scan.validLength, to: length) }
        }
        return try segment(
            scan, stamp,
            sets: (sets.sequence.codecString, sets.sequence.width, sets.sequence.height),
            path: path, source: source, cameraID: cameraID,
            initSize: UInt32(clamping: initRange.upperBound), descriptor)
    }

    private func segment(
        _ scan: FileScanner.Scan, _ stamp: SegmentStamp, sets: (codec: String, Int, Int),
        path: String, source: Source, cameraID: CameraID, initSize: UInt32, _ descriptor: Int32
    ) throws -> Segment {
        var segment = Segment(
            id: stamp.segmentID, runID: stamp.runID, cameraID: cameraID, source: source,
            sequenceNumber: stamp.sequenceNumber, start: stamp.start, end: stamp.start, path: path,
            initSize: initSize, fragments: [], codec: sets.codec, width: sets.1, height: sets.2)
        for fragment in scan.fragments {
            let bytes = try SegmentFile.read(
                descriptor, offset: fragment.offset, count: Int(clamping: fragment.size))
            let hash = bytes.withUnsafeReadableBytes { SHA256.hash(data: $0) }
            let entry = FragmentEntry(
                offset: fragment.offset, size: UInt32(clamping: fragment.size),
                decodeTime: fragment.baseDecodeTime, duration: UInt32(clamping: fragment.duration),
                sampleCount: UInt16(clamping: fragment.sampleCount),
                startsWithSync: fragment.firstIsSync, hash: Array(hash))
            segment.fragments.append(entry)
            segment.end = segment.end(of: entry)
        }
        return segment
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

    /// Keeps the unfinished end below `quarantine/`, then cuts it off, so that strict players read the rest.
    private func trim(_ descriptor: Int32, path: String, from: UInt64, to end: UInt64) throws {
        let tail = try SegmentFile.read(descriptor, offset: from, count: Int(clamping: end - from))
        let target = dataFolder + "/quarantine/" + path + ".tail"
        try SegmentFile.makeFolders(of: target)
        let copy = open(target, O_CREAT | O_WRONLY | O_TRUNC | O_CLOEXEC, 0o640)
        guard copy >= 0 else { throw FileError("create") }
        try SegmentFile.write(tail, to: copy, at: 0)
        try SegmentFile.finish(copy, path: target)
        guard ftruncate(descriptor, Int(clamping: from)) == 0 else { throw FileError("truncate") }
        guard fdatasync(descriptor) == 0 else { throw FileError("fdatasync") }
    }

    private func quarantine(_ path: String) throws {
        let target = dataFolder + "/quarantine/" + path
        try SegmentFile.makeFolders(of: target)
        guard rename(dataFolder + "/" + path, target) == 0 else { throw FileError("rename") }
        try SegmentFile.syncFolder(of: target)
    }
}
