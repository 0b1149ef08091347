// H.264 of a camera's H.265: made once for all viewers who need it, and only while one watches.
// SPDX-License-Identifier: Apache-2.0

import Decoding
import Domain
import H26x
import NIOCore
import Primitives

/// Lives on the camera's loop; the work is done on a thread of its own. Its result is a rendition like
/// any other, with viewers, a group of pictures and a window from which lost pictures are answered.
final class Transcode {
    /// Where its units go.
    private let output: LiveRendition
    private let shared: LiveShared
    private let eventLoop: any EventLoop
    private var run: Run?
    private var generation: UInt64 = 0

    /// From start to stop.
    private struct Run {
        var worker: TranscodeWorker
        var startedAt: Instant
        /// Units handed to the worker whose answers have not come.
        var pending = 0
        /// Units are left out until the next random access point.
        var isSkipping = false
        /// When the pictures under way were taken.
        var wallTimes: CircularBuffer<(decodeTime: Int64, wallTime: WallTime)> = []
    }

    init(into output: LiveRendition, shared: LiveShared, on eventLoop: any EventLoop) {
        self.output = output
        self.shared = shared
        self.eventLoop = eventLoop
    }

    deinit { if run != nil { shared.endTranscode() } }

    // MARK: Starting and stopping

    var isRunning: Bool { run != nil }

    /// Begins with the present group of pictures, whose last one is the first that is shown. It ends by
    /// itself when nobody has come to watch after a while.
    func start(with past: [AccessUnit], _ sets: ParameterSets, at now: Instant) throws(MarsadError)
    {
        guard run == nil, sets.codec != output.id.codec else { return }
        guard Transcoder.canTranscode(from: sets.codec) else {
            throw MarsadError(
                .unprocessable, details: ["reason": "NO_H264_ENCODER", "use": "hls"])
        }
        try shared.beginTranscode()
        var run = Run(
            worker: TranscodeWorker(
                from: sets.codec, framesPerSecond: sets.sequence.framesPerSecond),
            startedAt: now)
        run.isSkipping = past.isEmpty
        generation &+= 1
        for (index, unit) in past.enumerated() {
            // The past is decoded as fast as it goes and has no part in what may wait.
            submit(unit, sets, to: &run, isShown: index == past.count - 1, counts: 0)
        }
        self.run = run
    }

    func stop() {
        guard run != nil else { return }
        run = nil
        generation &+= 1
        output.interrupted()
        shared.endTranscode()
    }

    // MARK: The camera

    /// Takes the camera's next unit, its times as viewers get them.
    func receive(_ unit: AccessUnit, _ sets: ParameterSets, at now: Instant) {
        guard var run else { return }
        guard output.isWatched || now - run.startedAt < Limits.idleGroup else { return stop() }
        if run.isSkipping {
            guard unit.isRandomAccessPoint, run.pending <= Limits.transcodeQueue / 2 else {
                return shared.metrics.transcodeDropped()
            }
            run.isSkipping = false
        } else if run.pending >= Limits.transcodeQueue {
            // What is left out here is lost to the whole group of pictures.
            self.run?.isSkipping = true
            return shared.metrics.transcodeDropped()
        }
        submit(unit, sets, to: &run, isShown: true, counts: 1)
        self.run = run
    }

    func interrupted() {
        guard run != nil else { return }
        // Answers that are still to come are of before the interruption.
        generation &+= 1
        run?.pending = 0
        run?.wallTimes.removeAll()
        run?.isSkipping = true
        run?.worker.flush()
        if !output.isWatched { stop() }
    }

    // MARK: The worker

    private func submit(
        _ unit: AccessUnit, _ sets: ParameterSets, to run: inout Run, isShown: Bool, counts: Int
    ) {
        run.pending += counts
        if isShown, let wallTime = unit.wallTime {
            run.wallTimes.append((unit.decodeTime, wallTime))
        }
        let bound = NIOLoopBound(self, eventLoop: eventLoop)
        let (eventLoop, generation) = (eventLoop, generation)
        run.worker.submit(unit, sets, isShown: isShown) { answer in
            eventLoop.execute { bound.value.finish(answer, counts: counts, of: generation) }
        }
    }

    private func finish(_ answer: TranscodeWorker.Answer, counts: Int, of generation: UInt64) {
        guard generation == self.generation, run != nil else { return }
        run?.pending -= counts
        switch answer {
        case .success(let outputs):
            for made in outputs {
                var unit = made.unit
                unit.wallTime = wallTime(at: unit.decodeTime)
                output.receive(unit, made.parameterSets)
            }
        case .failure:
            shared.metrics.transcodeFailed()
        }
    }

    /// Of the picture of this time; earlier ones will not come any more.
    private func wallTime(at decodeTime: Int64) -> WallTime? {
        while let first = run?.wallTimes.first, first.decodeTime <= decodeTime {
            run?.wallTimes.removeFirst()
            if first.decodeTime == decodeTime { return first.wallTime }
        }
        return nil
    }
}
