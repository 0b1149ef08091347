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
        case waiting(Outage?)
        case recording(Run)
    }

    /// A segment handed to the spool, and what is known of it beside its row.
    private struct Handed {
        var segment: Segment
        /// The outage that is over when the segment's first fragment is in its file.
        var outage: Outage?
        /// Where it ends by the monotonic clock; known when it is cut.
        var cutAt: WallTime?
        var isOpened = false
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
        var lastStart: Instant
        var nextCut: WallTime
        var fragmentSequence: UInt32 = 1
        /// When the first unit of the open fragment came.
        var fragmentStart: Instant

        /// Wall time of the run, advanced by the monotonic clock since its start.
        func wallTime(at now: Instant) -> WallTime { startWall + (now - startInstant) }
    }

    private let camera: Camera
    private let shared: RecordingShared
    private let spool: SegmentSpool
    private var state: State
    /// The segments handed to the spool, oldest first: writes finish in this order.
    private var handed: [Handed] = []
    private var retryAt: Instant?
    private var hasEnded = false
    private var isPublished = false
    /// Tells this recorder's open segments from those of the camera's recorder before it.
    private let key: Int
    private var logger: Logger

    package init(camera: Camera, shared: RecordingShared, eventLoop: any EventLoop) {
        self.camera = camera
        self.shared = shared
        key = shared.makeKey()
        spool = SegmentSpool(
            pool: shared.pool, eventLoop: eventLoop, claims: shared.claims,
            root: shared.dataFolder)
        let outage = shared.takeOutage(of: camera.id)
        state = .waiting(outage)
        logger = shared.logger
        logger[metadataKey: "camera_id"] = "\(camera.id)"
        logger[metadataKey: "source"] = "\(camera.source)"
        // The spool keeps the recorder until its last write has been answered (see `finishOldest`).
        spool.onEvent = { event in self.handle(event) }
        if let outage { shared.record(.outage(camera.id, outage)) }
    }

    /// Bytes handed over that are not on the disk yet.
    package var queuedBytes: Int { spool.queuedBytes }

    // MARK: Inputs

    package func receive(_ unit: AccessUnit, _ parameterSets: ParameterSets, at now: Instant) {
        switch state {
        case .waiting(let outage):
            guard unit.isRandomAccessPoint, now >= retryAt ?? now,
                spool.queuedBytes <= Limits.queuedBytes / 2
            else { return }
            begin(with: unit, parameterSets, at: now, after: outage)
        case .recording(let run):
            guard spool.queuedBytes <= Limits.queuedBytes else {
                return pause(.storageSlow)
            }
            state = .waiting(nil)
            state = .recording(advance(run, with: unit, parameterSets, at: now))
        }
    }

    /// The camera is lost: what came is closed, and what does not come is a gap.
    package func interrupted(_ reason: GapReason, at now: Instant) { pause(reason) }

    /// The camera is given up or the program ends. What comes after is told by whoever records next.
    package func end() {
        hasEnded = true
        pause(.restart)
        if handed.isEmpty { spool.onEvent = { _ in } }
    }

    // MARK: Runs

    private func begin(
        with unit: AccessUnit, _ sets: ParameterSets, at now: Instant, after outage: Outage?
    ) {
        let wall = unit.wallTime ?? shared.world.wallTime()
        retryAt = nil
        let run = Run(
            id: shared.world.makeID(), parameterSets: sets, startInstant: now, startWall: wall,
            builder: FragmentBuilder(sequenceNumber: 1, baseDecodeTime: unit.decodeTime),
            pending: unit, lastArrival: now, lastStart: now, nextCut: wall, fragmentStart: now)
        state = .recording(openSegment(of: run, start: wall, after: outage))
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
        if unit.isRandomAccessPoint {
            closeFragment(&run, at: now)
            let wall = run.wallTime(at: now)
            if sets != run.parameterSets {
                run.parameterSets = sets
                run = nextRun(run, start: unit.wallTime ?? wall, at: now)
            } else if isNearestCut(run, wall: wall, at: now) {
                run = cut(run, with: unit, wall: wall, at: now)
            }
            run.lastStart = now
        } else if isFragmentFull(run, at: now) {
            closeFragment(&run, at: now)
        }
        return run
    }

    /// What a kill can cost is bounded by the camera's clock, by ours, and by bytes: the camera's
    /// clock alone may stand still.
    private func isFragmentFull(_ run: Run, at now: Instant) -> Bool {
        Int64(run.builder.duration) >= Limits.fragmentTicks
            || now - run.fragmentStart >= Limits.fragmentArrival
            || run.builder.byteCount >= Limits.fragmentBytes
    }

    /// Goes on in the next file of the run, or in a new run where the wall clock was set meanwhile.
    private func cut(_ run: Run, with unit: AccessUnit, wall: WallTime, at now: Instant) -> Run {
        if let told = unit.wallTime {
            let step = told - wall
            if step > Limits.clockStep || step < .zero - Limits.clockStep {
                // Time that was stepped over was recorded by nobody; a step back overlaps instead.
                let skipped = step > .zero ? Outage(since: wall, reason: .clock) : nil
                return nextRun(run, start: told, at: now, after: skipped)
            }
        }
        let reached = run.nextCut
        closeSegment(at: wall)
        var run = openSegment(of: run, start: wall, after: nil)
        // A cut just before its mark must not be made again for the same mark.
        if run.nextCut <= reached { run.nextCut = reached + shared.segmentDuration }
        return run
    }

    private func nextRun(
        _ previous: Run, start: WallTime, at now: Instant, after outage: Outage? = nil
    ) -> Run {
        var run = previous
        closeSegment(at: run.wallTime(at: now))
        run.id = shared.world.makeID()
        run.nextSequence = 0
        run.startInstant = now
        run.startWall = start
        return openSegment(of: run, start: start, after: outage)
    }

    /// Whether this keyframe is nearer to the mark than the next one will be.
    private func isNearestCut(_ run: Run, wall: WallTime, at now: Instant) -> Bool {
        let half = (now - run.lastStart) / 2
        return wall + half >= run.nextCut
    }

    private func append(_ run: inout Run, duration: UInt32) {
        if !run.builder.append(run.pending, duration: duration) {
            // The format's limit: what is there is closed and the unit begins the next fragment.
            submitFragment(&run, nextDecodeTime: run.pending.decodeTime)
            _ = run.builder.append(run.pending, duration: duration)
        }
    }

    private func closeFragment(_ run: inout Run, at now: Instant) {
        submitFragment(&run, nextDecodeTime: run.pending.decodeTime)
        run.fragmentStart = now
    }

    private func submitFragment(_ run: inout Run, nextDecodeTime: Int64) {
        guard !run.builder.isEmpty else { return }
        let fragment = run.builder.finish()
        spool.submit(.append(fragment, decodeTime: fragment.baseDecodeTime))
        run.fragmentSequence &+= 1
        run.builder = FragmentBuilder(
            sequenceNumber: run.fragmentSequence, baseDecodeTime: nextDecodeTime)
    }

    private func openSegment(of run: Run, start: WallTime, after outage: Outage?) -> Run {
        var run = run
        let interval = shared.segmentDuration.saturatingNanoseconds / 1000
        let mark = (start.microseconds / interval + 1) * interval
        run.nextCut = WallTime(microseconds: mark)
        let head = InitSegment.serialize(run.parameterSets)
        let segment = Segment(
            id: shared.world.makeID(), runID: run.id, cameraID: camera.id, source: camera.source,
            sequenceNumber: run.nextSequence, start: start, end: start,
            path: Segment.path(source: camera.source, cameraID: camera.id, start: start),
            initSize: UInt32(clamping: head.readableBytes), fragments: [],
            codec: run.parameterSets.sequence.codecString, width: run.parameterSets.sequence.width,
            height: run.parameterSets.sequence.height)
        var bytes = head
        var stamp = SegmentStamp(
            segmentID: segment.id, runID: run.id, sequenceNumber: run.nextSequence, start: start
        ).serialize()
        bytes.writeBuffer(&stamp)
        run.nextSequence += 1
        handed.append(Handed(segment: segment, outage: outage))
        publishOpen()
        // Two segments can begin within one second (a camera that flaps): the spool gives the later
        // the next free name.
        let (source, id) = (camera.source, camera.id)
        spool.submit(
            .open(
                name: { Segment.path(source: source, cameraID: id, start: start + .seconds($0)) },
                head: bytes))
        return run
    }

    /// `end` is the moment that the next segment or the gap continues.
    private func closeSegment(at end: WallTime) {
        if !handed.isEmpty { handed[handed.count - 1].cutAt = end }
        spool.submit(.close)
    }

    /// Ends the run: the last unit keeps its predecessor's duration.
    private func pause(_ reason: GapReason) {
        guard case .recording(var run) = state else { return }
        append(&run, duration: run.lastDuration)
        submitFragment(&run, nextDecodeTime: run.pending.decodeTime)
        let end = run.wallTime(at: run.lastArrival) + .ticks(Int64(run.lastDuration))
        closeSegment(at: end)
        wait(after: Outage(since: end, reason: reason))
    }

    private func wait(after outage: Outage) {
        state = .waiting(outage)
        publishRecording(false)
        if !hasEnded { shared.record(.outage(camera.id, outage)) }
    }

    // MARK: The spool's answers

    private func handle(_ event: SegmentSpool.Event) {
        guard !handed.isEmpty else { return }
        switch event {
        case .opened(let path):
            handed[0].segment.path = path
            handed[0].isOpened = true
        case .written(let entry):
            if let outage = handed[0].outage {
                handed[0].outage = nil
                shared.record(.outageOver(camera.id, outage, at: handed[0].segment.start))
            }
            handed[0].segment.fragments.append(entry)
            handed[0].segment.end = handed[0].segment.end(of: entry)
            publishOpen()
            if case .recording = state { publishRecording(true) }
        case .closed:
            // Media time runs by the camera's crystal: over minutes it ends beside our clock, and
            // the row would overlap the next one, or leave a hole before it.
            if let end = handed[0].cutAt, !handed[0].segment.fragments.isEmpty {
                handed[0].segment.end = max(end, handed[0].segment.start)
            }
            finishOldest(damaged: false)
        case .failed(let error):
            logger.error(
                "recording paused: the segment's file failed",
                metadata: ["event": "recording_failed", "error": "\(error)"])
            retryAt = shared.world.now() + Limits.retryAfterFailure
            lose(handed[0], because: error.gapReason)
            finishOldest(damaged: true)
        }
    }

    /// What the oldest segment does not hold, as an outage: it ends with the next segment that
    /// reaches the disk, queued or not yet begun.
    private func lose(_ lost: Handed, because reason: GapReason) {
        var outage = lost.outage ?? Outage(since: lost.segment.start, reason: reason)
        if !lost.segment.fragments.isEmpty {
            outage = Outage(since: lost.segment.end, reason: reason)
        }
        if handed.count > 1 {
            if outage.since < handed[1].segment.start { handed[1].outage = outage }
            return
        }
        switch state {
        case .recording:
            wait(after: outage)
        case .waiting(let present):
            guard let present else { return wait(after: outage) }
            if outage.since < present.since { wait(after: outage) }
        }
    }

    private func finishOldest(damaged: Bool) {
        let oldest = handed.removeFirst()
        let segment = oldest.segment
        let open = handed.map(\.segment)
        if segment.fragments.isEmpty {
            shared.publishOpen(open, of: camera.id, by: key)
            if oldest.isOpened { shared.claims.release(segment.path) }
        } else {
            shared.close(segment, camera, damaged: damaged, leaving: open, by: key)
        }
        if hasEnded, handed.isEmpty { spool.onEvent = { _ in } }
    }

    private func publishOpen() {
        shared.publishOpen(handed.map(\.segment), of: camera.id, by: key)
    }

    private func publishRecording(_ isRecording: Bool) {
        guard isRecording != isPublished else { return }
        isPublished = isRecording
        shared.publishRecording(isRecording, of: camera.id, by: key)
    }
}
