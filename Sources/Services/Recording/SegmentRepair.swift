// Files without a row: read, cut at the last whole fragment, and indexed. Never deleted.
// SPDX-License-Identifier: Apache-2.0

import Database
import Domain
import Glibc
import NIOCore
package import NIOPosix
package import Primitives

/// What a repair found and did.
package struct RepairReport: Sendable, Equatable {
    /// Paths that got a row.
    package var adopted: [String] = []
    /// Paths whose unfinished end was moved aside, with the number of bytes.
    package var trimmed: [String: UInt64] = [:]
    /// Paths that hold nothing playable, moved below `quarantine/`.
    package var quarantined: [String: String] = [:]
    /// Adopted paths that have holes; their good fragments play.
    package var damaged: [String] = []
    /// Paths that could not be repaired, and why; they are as they were, for the next start.
    package var failed: [String: String] = [:]

    package init() {}
}

/// Brings the index and the folder of recordings together after a crash. Idempotent. It goes folder
/// by folder, so that it can run beside the recorders for as long as it takes.
package struct SegmentRepair: Sendable {
    private let dataFolder: String
    private let index: RecordingIndex
    private let isDryRun: Bool
    private let shared: RecordingShared?
    private let pool: NIOThreadPool?

    /// - Parameters:
    ///   - shared: what recorders of this process write is theirs; `nil` where there are none.
    ///   - pool: where files are read; `nil` reads them on the caller's thread.
    package init(
        dataFolder: String, index: RecordingIndex, isDryRun: Bool = false,
        shared: RecordingShared? = nil, pool: NIOThreadPool? = nil
    ) {
        self.dataFolder = dataFolder
        self.index = index
        self.isDryRun = isDryRun
        self.shared = shared
        self.pool = pool
    }

    /// Throws only when it is cancelled; what it did by then is whole.
    package func run(at now: WallTime) async throws(CancellationError) -> RepairReport {
        var report = RepairReport()
        await finishRemovals(&report)
        var folders = ["recordings"]
        while let folder = folders.popLast() {
            if Task.isCancelled { throw CancellationError() }
            let root = dataFolder
            do {
                let found = try await blocking { try SegmentFile.list(root + "/" + folder) }
                // The stack gives the last one first: sorted, days come in the order of time.
                folders += found.folders.sorted(by: >).map { folder + "/" + $0 }
                let paths = found.files.filter { $0.hasSuffix(".mp4") }
                    .map { folder + "/" + $0 }.sorted()
                await repair(paths, in: folder, at: now, &report)
            } catch {
                report.failed[folder] = "\(error)"
            }
        }
        return report
    }

    /// The camera's newest folder alone: what it was recording when the program before ended.
    func adoptNewest(of camera: Camera, at now: WallTime) async {
        var folder = "recordings/\(camera.source)/\(camera.id)"
        let root = dataFolder
        var report = RepairReport()
        // …/yyyy/mm/dd
        for _ in 0..<3 {
            let place = root + "/" + folder
            let newest = try? await blocking { try SegmentFile.list(place).folders.max() }
            guard let newest else { return }
            folder += "/" + newest
        }
        let place = root + "/" + folder
        guard let found = try? await blocking({ try SegmentFile.list(place).files }) else {
            return
        }
        let paths = found.filter { $0.hasSuffix(".mp4") }.map { folder + "/" + $0 }.sorted()
        await repair(paths, in: folder, at: now, &report)
    }

    private func blocking<T: Sendable>(_ work: @escaping @Sendable () throws -> T) async throws -> T
    {
        guard let pool else { return try work() }
        return try await pool.runIfActive(work)
    }

    private func finishRemovals(_ report: inout RepairReport) async {
        let halfRemoved = isDryRun ? [] : (try? await index.halfRemoved()) ?? []
        for segment in halfRemoved {
            let path = dataFolder + "/" + segment.path
            do {
                try await blocking { try SegmentFile.remove(path) }
                try await index.remove(segment.id)
            } catch {
                report.failed[segment.path] = "\(error)"
            }
        }
    }

    /// The files of one folder, oldest first; one that fails does not hold up the others.
    private func repair(
        _ paths: [String], in folder: String, at now: WallTime, _ report: inout RepairReport
    ) async {
        // First what is claimed, then what is known: a file passes from the one to the other.
        let free = paths.filter { !(shared?.claims.contains($0) ?? false) }
        guard !free.isEmpty else { return }
        let known: Set<String>
        do {
            known = try await knownPaths(in: folder)
        } catch {
            report.failed[folder] = "\(error)"
            return
        }
        for path in free where !known.contains(path) && !Task.isCancelled {
            do {
                try await adopt(path, at: now, &report)
            } catch let problem as Unplayable {
                report.quarantined[path] = problem.reason
                guard !isDryRun else { continue }
                do {
                    try await blocking { try quarantine(path) }
                } catch {
                    report.quarantined[path] = nil
                    report.failed[path] = "\(error)"
                }
            } catch let error as FileError where error.errorNumber == ENOENT {
                // Retention was faster.
            } catch {
                report.failed[path] = "\(error)"
            }
        }
    }

    /// The rows of the folder's day; what lies elsewhere than its time says is found by its id.
    private func knownPaths(in folder: String) async throws(DatabaseError) -> Set<String> {
        let parts = folder.split(separator: "/")
        guard parts.count == 6, let camera = CameraID(parts[2]),
            let day = WallTime(iso8601: "\(parts[3])-\(parts[4])-\(parts[5])T00:00:00Z")
        else { return [] }
        return try await index.paths(
            of: camera, from: day + .seconds(-3600), to: day + .seconds(25 * 3600))
    }

    private func adopt(
        _ path: String, at now: WallTime, _ report: inout RepairReport
    ) async throws {
        let root = dataFolder
        let found = try await blocking { try FileInspection.read(path, below: root) }
        var segment = found.segment
        if let indexed = try await index.path(ofSegment: segment.id) {
            if indexed == path { return }
            // Somebody copied or moved a file: the index follows a move, and a copy is put aside.
            guard !SegmentFile.exists(dataFolder + "/" + indexed) else {
                throw Unplayable(reason: "a copy of \(indexed)")
            }
            if !isDryRun { try await index.move(segment.id, to: path) }
            report.adopted.append(path)
            return
        }
        let next = try await index.nextStart(inRun: segment.runID, after: segment.sequenceNumber)
        if let next, next > segment.start { segment.end = min(segment.end, next) }
        if found.playableLength < found.fileLength {
            if !isDryRun {
                try await blocking {
                    try trim(path, from: found.playableLength, to: found.fileLength)
                }
            }
            report.trimmed[path] = found.fileLength - found.playableLength
        }
        if found.isDamaged { report.damaged.append(path) }
        report.adopted.append(path)
        guard !isDryRun else { return }
        do {
            try await index.add(
                segment, cameraName: segment.cameraID.rawValue, damaged: found.isDamaged, at: now)
        } catch {
            report.adopted.removeLast()
            throw error
        }
        try await writeGaps(of: segment, found, next: next)
    }

    /// What the holes cost; the end of a file that was the camera's last is the restart's gap.
    private func writeGaps(
        of segment: Segment, _ found: FileInspection, next: WallTime?
    ) async throws {
        var gaps = found.holes.map { Gap(start: $0.start, end: $0.end, reason: .damaged) }
        if let next, next - segment.end > .seconds(1) {
            gaps.append(Gap(start: segment.end, end: next, reason: .damaged))
        }
        // The segment before may have been adopted before this one was known.
        if let end = try await index.end(
            inRun: segment.runID, number: segment.sequenceNumber - 1),
            segment.start - end > .seconds(1), found.segment.start == segment.start
        {
            gaps.append(Gap(start: end, end: segment.start, reason: .damaged))
        }
        for gap in gaps { try await index.add(gap, of: segment.cameraID) }
        try await index.uncover(segment.cameraID, from: segment.start, to: segment.end)
    }

    /// Keeps the unfinished end below `quarantine/`, then cuts it off, so that strict players read the
    /// rest. Copied in parts: a tail can be as long as the file.
    private func trim(_ path: String, from: UInt64, to end: UInt64) throws {
        let descriptor = open(dataFolder + "/" + path, O_RDWR | O_CLOEXEC)
        guard descriptor >= 0 else { throw FileError("open") }
        defer { close(descriptor) }
        let target = dataFolder + "/quarantine/" + path + ".tail"
        try copy(descriptor, from: from, to: end, into: target)
        guard ftruncate(descriptor, Int(clamping: from)) == 0 else { throw FileError("truncate") }
        guard fdatasync(descriptor) == 0 else { throw FileError("fdatasync") }
    }

    private func copy(
        _ source: Int32, from: UInt64, to end: UInt64, into target: String
    ) throws {
        try SegmentFile.makeFolders(of: target)
        let copy = open(target, O_CREAT | O_WRONLY | O_TRUNC | O_CLOEXEC, 0o640)
        guard copy >= 0 else { throw FileError("create") }
        do {
            var position = from
            while position < end {
                let part = try SegmentFile.read(
                    source, offset: position, count: Int(min(end - position, 4 << 20)))
                guard part.readableBytes > 0 else { break }
                try SegmentFile.write(part, to: copy, at: position - from)
                position += UInt64(part.readableBytes)
            }
        } catch {
            SegmentFile.closeQuietly(copy)
            throw error
        }
        try SegmentFile.finish(copy, path: target)
    }

    private func quarantine(_ path: String) throws {
        let target = dataFolder + "/quarantine/" + path
        let source = dataFolder + "/" + path
        try SegmentFile.makeFolders(of: target)
        if rename(source, target) == 0 { return try SegmentFile.syncFolder(of: target) }
        guard errno == EXDEV else { throw FileError("rename") }
        // The quarantine is a volume of its own: the file goes only after its copy is safe.
        let descriptor = open(source, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw FileError("open") }
        defer { close(descriptor) }
        try copy(descriptor, from: 0, to: try SegmentFile.size(descriptor), into: target)
        try SegmentFile.remove(source)
    }
}
