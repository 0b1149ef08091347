// One camera's recorder: access units to fragments, fragments to segments cut on the clock.
// SPDX-License-Identifier: Apache-2.0

package import Domain
package import H26x
import Logging
import MP4
package import NIOCore
package import Primitives

/// Records one camera. Lives on the camera's event loop; nothing here blocks.
package final class Recorder {
    /// What is being recorded: nothing until a keyframe comes, then a run of segments without a gap.
    private enum State {
        case waiting(since: WallTime?, GapReason)
        case recording(Run)
    }

    /// A run: continuous media time, one set of parameter sets.
    private struct Run {
        var id: String
        var parameterSets: ParameterSets
        var startInstant: Instant
        var startWall: WallTime
        var nextSequence = 0
        var builder: FragmentBuilder
        /// The newest unit: its duration is known when its successor is.
        var pending: AccessUnit
        var lastDuration: UInt32 = 3600
        var lastArrival: Instant
        var lastIDR: Instant
        var nextCut: WallTime
        var fragmentSequence: UInt32 = 1

        /// Wall time of the run, advanced by the monotonic clock since its start.
        func wallTime(at now: Instant) -> WallTime { startWall + (now - startInstant) }
    }

    private let camera: Camera
    private let shared: RecordingShared
    private let spool: SegmentSpool
    private var state: State
    /// The segments handed to the spool, oldest first: writes finish in this order.
    private var segments: [Segment] = []
    private var retryAt: Instant?
    private var hasEnded = false
    private var logger: Logger

    package init(camera: Camera, shared: RecordingShared, eventLoop: any EventLoop) {
        self.camera = camera
        self.shared = shared
        spool = SegmentSpool(pool: shared.pool, eventLoop: eventLoop)
        state = .waiting(since: shared.lastEnd(of: camera.id), .restart)
        logger = shared.logger
        logger[metadataKey: "camera_id"] = "\(camera.id)"
        logger[metadataKey: "source"] = "\(camera.source)"
        // The spool keeps the recorder until its last write has been answered (see `finishOldest`).
        spool.onEvent = { event in self.handle(event) }
    }

    /// Bytes handed over that are not on the disk yet.
    package var queuedBytes: Int { spool.queuedBytes }

    // MARK: Inputs

    package func receive(_ unit: AccessUnit, _ parameterSets: ParameterSets, at now: Instant) {
        switch state {
        case .waiting(let since, let reason):
            guard unit.isIDR, now >= retryAt ?? now,
                spool.queuedBytes <= Limits.queuedBytes / 2
            else { return }
            begin(with: unit, parameterSets, at: now, gapSince: since, reason)
        case .recording(let run):
            guard spool.queuedBytes <= Limits.queuedBytes else {
                return pause(.storageSlow, at: now)
            }
            state = .waiting(since: nil, .restart)
            state = .recording(advance(run, with: unit, parameterSets, at: now))
        }
    }

    /// The camera is lost: what came is closed, and what does not come is a gap.
    package func interrupted(_ reason: GapReason, at now: Instant) { pause(reason, at: now) }

    /// The camera is given up or the program ends.
    package func end() {
        hasEnded = true
        pause(.restart, at: shared.world.now())
        if segments.isEmpty { spool.onEvent = { _ in } }
    }

    // MARK: Runs

    private func begin(
        with unit: AccessUnit, _ sets: ParameterSets, at now: Instant, gapSince: WallTime?,
        _ reason: GapReason
    ) {
        let wall = unit.wallTime ?? shared.world.wallTime()
        if let gapSince, gapSince < wall {
            let gap = Gap(start: gapSince, end: wall, reason: reason)
            shared.record(.gap(camera.id, gap))
        }
        retryAt = nil
        let run = Run(
            id: shared.world.makeID(), parameterSets: sets, startInstant: now, startWall: wall,
            builder: FragmentBuilder(sequenceNumber: 1, baseDecodeTime: unit.decodeTime),
            pending: unit, lastArrival: now, lastIDR: now, nextCut: wall)
        state = .recording(openSegment(of: run, start: wall))
    }

    private func advance(
        _ previous: Run, with unit: AccessUnit, _ sets: ParameterSets, at now: Instant
    ) -> Run {
        var run = previous
        let ticks = unit.decodeTime &- run.pending.decodeTime
        let duration = UInt32(clamping: min(max(ticks, 1), Limits.longestSampleTicks))
        append(&run, duration: duration)
        run.lastDuration = duration
        run.lastArrival = now
        run.pending = unit
        if unit.isIDR {
            closeFragment(&run)
            let wall = run.wallTime(at: now)
            if sets != run.parameterSets {
                run.parameterSets = sets
                spool.submit(.close)
                run.id = shared.world.makeID()
                run.nextSequence = 0
                run.startInstant = now
                run.startWall = unit.wallTime ?? wall
                run = openSegment(of: run, start: run.startWall)
            } else if isNearestCut(run, wall: wall, at: now) {
                let reached = run.nextCut
                spool.submit(.close)
                run = openSegment(of: run, start: wall)
                // A cut just before its mark must not be made again for the same mark.
                if run.nextCut <= reached {
                    run.nextCut = reached + shared.segmentDuration
                }
            }
            run.lastIDR = now
        } else if Int64(run.builder.duration) >= Limits.fragmentTicks {
            closeFragment(&run)
        }
        return run
    }

    /// Whether this keyframe is nearer to the mark than the next one will be.
    private func isNearestCut(_ run: Run, wall: WallTime, at now: Instant) -> Bool {
        let half = (now - run.lastIDR) / 2
        return wall + half >= run.nextCut
    }

    private func append(_ run: inout Run, duration: UInt32) {
        if !run.builder.append(run.pending, duration: duration) {
            // The format's limit: what is there is closed and the unit begins the next fragment.
            submitFragment(&run, nextDecodeTime: run.pending.decodeTime)
            _ = run.builder.append(run.pending, duration: duration)
        }
    }

    private func closeFragment(_ run: inout Run) {
        submitFragment(&run, nextDecodeTime: run.pending.decodeTime)
    }

    private func submitFragment(_ run: inout Run, nextDecodeTime: Int64) {
        guard !run.builder.isEmpty else { return }
        let fragment = run.builder.finish()
        spool.submit(.append(fragment, decodeTime: fragment.baseDecodeTime))
        run.fragmentSequence &+= 1
        run.builder = FragmentBuilder(
            sequenceNumber: run.fragmentSequence, baseDecodeTime: nextDecodeTime)
    }

    private func openSegment(of run: Run, start: WallTime) -> Run {
        var run = run
        let interval = shared.segmentDuration.saturatingNanoseconds / 1000
        let mark = (start.microseconds / interval + 1) * interval
        run.nextCut = WallTime(microseconds: mark)
        var named = start
        // Two segments can begin within one second (a camera that flaps): the later takes the next name.
        // A file that the spool has not made yet is not on the disk.
        let queued = Set(segments.map(\.path))
        while queued.contains(path(named)) || shared.isTaken(path(named)) {
            named = named + .seconds(1)
        }
        let head = InitSegment.serialize(run.parameterSets)
        let segment = Segment(
            id: shared.world.makeID(), runID: run.id, cameraID: camera.id, source: camera.source,
            sequenceNumber: run.nextSequence, start: start, end: start, path: path(named),
            initSize: UInt32(clamping: head.readableBytes), fragments: [],
            codec: run.parameterSets.sequence.codecString, width: run.parameterSets.sequence.width,
            height: run.parameterSets.sequence.height)
        var bytes = head
        var stamp = SegmentStamp(
            segmentID: segment.id, runID: run.id, sequenceNumber: run.nextSequence, start: start
        ).serialize()
        bytes.writeBuffer(&stamp)
        run.nextSequence += 1
        segments.append(segment)
        publishOpen()
        spool.submit(.open(path: shared.dataFolder + "/" + segment.path, head: bytes))
        return run
    }

    private func path(_ start: WallTime) -> String {
        Segment.path(source: camera.source, cameraID: camera.id, start: start)
    }

    /// Ends the run: the last unit keeps its predecessor's duration.
    private func pause(_ reason: GapReason, at now: Instant) {
        guard case .recording(var run) = state else { return }
        append(&run, duration: run.lastDuration)
        submitFragment(&run, nextDecodeTime: run.pending.decodeTime)
        spool.submit(.close)
        let end = run.wallTime(at: run.lastArrival) + .ticks(Int64(run.lastDuration))
        state = .waiting(since: end, reason)
    }

    // MARK: The spool's answers

    private func handle(_ event: SegmentSpool.Event) {
        guard !segments.isEmpty else { return }
        switch event {
        case .written(let entry):
            segments[0].fragments.append(entry)
            // Media time and the clock agree within a frame over five minutes; the row's end is what
            // the next segment's start continues.
            segments[0].end = segments[0].end(of: entry)
            publishOpen()
        case .closed:
            finishOldest(damaged: false)
        case .failed(let error):
            _ = shared.metrics.lost(error.gapReason)
            logger.error(
                "recording paused: the segment's file failed",
                metadata: ["event": "recording_failed", "error": "\(error)"])
            let now = shared.world.now()
            retryAt = now + Limits.retryAfterFailure
            let end = segments[0].end
            if case .recording = state, segments.count == 1 {
                state = .waiting(since: end, error.gapReason)
            }
            finishOldest(damaged: true)
        }
    }

    private func finishOldest(damaged: Bool) {
        let segment = segments.removeFirst()
        if !segment.fragments.isEmpty { shared.record(.segment(segment, camera, damaged: damaged)) }
        publishOpen()
        if hasEnded, segments.isEmpty { spool.onEvent = { _ in } }
    }

    private func publishOpen() { shared.publishOpen(segments, of: camera.id) }
}
