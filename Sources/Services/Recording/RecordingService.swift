// The slow half of recording: rows, flushes and retention, beside the recorders on their loops.
// SPDX-License-Identifier: Apache-2.0

import Database
package import Domain
import Logging
import NIOPosix
import Observability
import Primitives

/// Rows, flushes and retention.
package struct RecordingService: Sendable {
    private let shared: RecordingShared
    private let index: RecordingIndex
    private let syncInterval: Duration
    private let defaultRetentionDays: Int
    private let reserve: SpaceReserve

    package init(
        shared: RecordingShared, index: RecordingIndex, syncInterval: Duration,
        defaultRetentionDays: Int
    ) {
        self.shared = shared
        self.index = index
        self.syncInterval = syncInterval
        self.defaultRetentionDays = defaultRetentionDays
        reserve = SpaceReserve(dataFolder: shared.dataFolder)
    }

    /// Learns where the camera's recording ended, so that the time until it goes on becomes a gap.
    /// What a recorder before wrote of the camera is waited for.
    package func prepare(_ camera: Camera) async {
        let deadline = shared.world.now() + Limits.settlePatience
        while !shared.isSettled(camera.id), shared.world.now() < deadline {
            do { try await Task.sleep(for: .milliseconds(10)) } catch { break }
        }
        // What a crash left unfinished is where the recording ended: repair takes the rest beside.
        await SegmentRepair(
            dataFolder: shared.dataFolder, index: index, shared: shared, pool: shared.pool
        ).adoptNewest(of: camera, at: shared.world.wallTime())
        let end = try? await index.lastEnd(of: camera.id)
        let lasting = try? await index.lastOutage(of: camera.id)
        var outage = end.map { Outage(since: $0, reason: .restart) }
        // An outage that had begun when the program before ended is still the reason.
        if let lasting, lasting.since >= end ?? lasting.since { outage = lasting }
        shared.setOutage(outage, of: camera.id)
    }

    /// Runs until `finish()`, and then until what the recorders handed over is indexed.
    package func run() async {
        await withTaskGroup(of: Void.self) { group in
            group.addTask { await syncVolume() }
            group.addTask { await keepRetention() }
            await writeIndex()
            group.cancelAll()
        }
    }

    /// Call when all recorders have ended: waits, at most `patience`, until their last bytes are indexed.
    package func finish(patience: Duration) async {
        let deadline = shared.world.now() + patience
        while !shared.isSettled, shared.world.now() < deadline {
            do { try await Task.sleep(for: .milliseconds(10)) } catch { break }
        }
        shared.giveUp()
        shared.finishEntries()
    }

    // MARK: Index

    private func writeIndex() async {
        for await entry in shared.entries {
            await write(entry)
            shared.settled(entry)
        }
    }

    /// A lost database is waited for until the program ends. An entry that the database refuses for
    /// good is put aside, so that the other cameras' entries go on: repair finds the file.
    private func write(_ entry: RecordingShared.Entry) async {
        var wait = Duration.milliseconds(200)
        var wasFull = false
        while true {
            do throws(DatabaseError) {
                try await writeOnce(entry)
                if wasFull { try? await makeRoom() }
                return
            } catch {
                if error == .full {
                    wasFull = true
                    reserve.release()
                }
                shared.logger.error(
                    "the index could not be written",
                    metadata: ["event": "index_failed", "error": "\(error)"])
                guard Self.mayPass(error), await pause(wait) else { return }
                wait = min(wait * 2, Limits.longestIndexWait)
            }
        }
    }

    private func writeOnce(_ entry: RecordingShared.Entry) async throws(DatabaseError) {
        switch entry {
        case .segment(let segment, let camera, let damaged):
            try await index.add(
                segment, cameraName: camera.name, damaged: damaged, at: shared.world.wallTime())
            shared.metrics.segments(camera.source).increment()
        case .outage(let id, let outage):
            try await index.begin(outage, of: id)
        case .outageOver(let id, let outage, let end):
            try await index.end(outage, of: id, at: end)
            shared.metrics.lost(outage.reason).add(max(0, (end - outage.since).inSeconds))
        }
    }

    /// False when there is no time left to wait.
    private func pause(_ wait: Duration) async -> Bool {
        var waited = Duration.zero
        while waited < wait {
            if shared.isGivenUp { return false }
            let slice = min(.milliseconds(100), wait - waited)
            do { try await Task.sleep(for: slice) } catch { return false }
            waited += slice
        }
        return !shared.isGivenUp
    }

    /// Whether the same statement can succeed later.
    private static func mayPass(_ error: DatabaseError) -> Bool {
        switch error {
        case .full, .unavailable, .other: true
        case .constraint, .corrupt, .expectationFailed, .missingColumn, .wrongType, .schemaTooNew,
            .schemaTooOld, .schemaMismatch:
            false
        }
    }

    // MARK: Flush

    private func syncVolume() async {
        while true {
            do { try await Task.sleep(for: syncInterval) } catch { return }
            do {
                let folder = shared.dataFolder
                try await shared.pool.runIfActive { try SegmentFile.syncVolume(of: folder) }
            } catch {
                shared.logger.error(
                    "the volume could not be flushed",
                    metadata: ["event": "sync_failed", "error": "\(error)"])
            }
        }
    }

    // MARK: Retention

    private func keepRetention() async {
        while true {
            do { try await Task.sleep(for: Limits.retentionInterval) } catch { return }
            for step in [removeExpired, makeRoom] {
                do {
                    try await step()
                } catch {
                    shared.logger.error(
                        "retention failed",
                        metadata: ["event": "retention_failed", "error": "\(error)"])
                    if error as? DatabaseError == .full { reserve.release() }
                }
            }
            let reserve = reserve
            try? await shared.pool.runIfActive { reserve.restore() }
        }
    }

    private func removeExpired() async throws {
        let expired = try await index.expired(
            at: shared.world.wallTime(), defaultDays: defaultRetentionDays,
            count: Limits.removalsAtOnce)
        for segment in expired { try await remove(segment, because: "past its retention") }
    }

    /// By measured free bytes, not by what the rows add up to: others write to the volume too.
    private func makeRoom() async throws {
        let folder = shared.dataFolder
        let pool = shared.pool
        func used() async throws -> (share: Double, used: UInt64, total: UInt64) {
            let space = try await pool.runIfActive { try SegmentFile.space(of: folder) }
            let used = space.total - min(space.free, space.total)
            return (Double(used) / Double(max(space.total, 1)), used, space.total)
        }
        var now = try await used()
        shared.metrics.storage(used: now.used, capacity: now.total)
        guard now.share >= Limits.cleanFromUsedShare else { return }
        for segment in try await index.oldest(count: Limits.removalsAtOnce) {
            guard now.share > Limits.cleanToUsedShare else { return }
            try await remove(segment, because: "the disk is full")
            now = try await used()
        }
    }

    /// Mark the row → unlink → fsync the folder → drop the row: a crash between any two is finished
    /// by the next repair.
    private func remove(_ segment: Segment, because reason: String) async throws {
        try await index.markForRemoval(segment.id)
        let path = shared.dataFolder + "/" + segment.path
        try await shared.pool.runIfActive { try SegmentFile.remove(path) }
        try await index.remove(segment.id)
        shared.logger.notice(
            "segment removed",
            metadata: [
                "event": "segment_removed", "camera_id": "\(segment.cameraID)",
                "source": "\(segment.source)", "path": "\(segment.path)", "reason": "\(reason)",
            ])
    }
}
