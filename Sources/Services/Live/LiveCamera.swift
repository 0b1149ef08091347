// A camera's stream as its viewers see it: its times, and what of it those get who take one codec.
// SPDX-License-Identifier: Apache-2.0

package import Domain
package import H26x
import NIOCore
package import Primitives
package import RTPFormats

/// Takes a camera's units on the camera's loop and gives them, packetized once, to each loop with
/// viewers; and turns H.265 into H.264 for those who take only that, while they watch.
package final class LiveCamera {
    /// How other threads reach a camera.
    struct Handle: Sendable {
        let timeOffset: UInt32
        /// Tells a camera from the one that takes its place after a change of its address.
        let serial: UInt64
        let eventLoop: any EventLoop
        private let camera: NIOLoopBound<LiveCamera>

        /// On its own loop only.
        var value: LiveCamera { camera.value }

        init(_ camera: LiveCamera, serial: UInt64, on eventLoop: any EventLoop) {
            self.serial = serial
            timeOffset = camera.timeOffset
            self.eventLoop = eventLoop
            self.camera = NIOLoopBound(camera, eventLoop: eventLoop)
        }

        func run(_ work: @escaping @Sendable (LiveCamera) -> Void) {
            if eventLoop.inEventLoop { return work(camera.value) }
            eventLoop.execute { [camera] in work(camera.value) }
        }

        func submit<T: Sendable>(_ work: @escaping @Sendable (LiveCamera) -> T) async throws -> T {
            try await eventLoop.submit { [camera] in work(camera.value) }.get()
        }
    }

    let source: LiveSource
    /// What the camera's times are moved by for its viewers (RFC 3550 §5.1: a random start).
    let timeOffset: UInt32
    private(set) var parameterSets: ParameterSets?
    private let h264: LiveRendition
    private let h265: LiveRendition
    private let transcode: Transcode
    private var clock = Clock()
    /// The camera's other stream, whose times this one's are to go with.
    private let main: LiveCamera?
    /// Is told when the first loop watches, and when none does any more.
    private let want: (Bool) -> Void
    private let onEnd: () -> Void
    private var isFirstOfConnection = true
    private(set) var sound = LiveSound()
    /// The newest unit's RTP time, as viewers get it, and its wall time.
    private(set) var pair: LiveClock?

    /// Keeps times going on where a camera's connection, and with it its times, began anew; and brings a
    /// sub-stream's times to those of the main stream.
    private struct Clock {
        typealias Mark = (time: Int64, at: Instant)
        var offset: Int64 = 0
        var last: Mark?

        mutating func time(
            _ decodeTime: Int64, isFirst: Bool, leader: Mark?, at now: Instant
        ) -> Int64 {
            if isFirst, let last = leader ?? last {
                offset = last.time &+ (now - last.at).inTicks &- decodeTime
            }
            let time = decodeTime &+ offset
            last = (time, now)
            return time
        }
    }

    init(
        _ source: LiveSource, shared: LiveShared, on eventLoop: any EventLoop,
        timeOffset: UInt32, main: LiveCamera? = nil,
        want: @escaping (Bool) -> Void = { _ in }, onEnd: @escaping () -> Void
    ) {
        self.source = source
        self.main = main
        self.want = want
        self.onEnd = onEnd
        self.timeOffset = timeOffset
        h264 = LiveRendition(.init(source: source, codec: .h264))
        h265 = LiveRendition(.init(source: source, codec: .h265))
        transcode = Transcode(into: h264, shared: shared, on: eventLoop)
    }

    // MARK: The feed

    package func receive(_ unit: AccessUnit, _ parameterSets: ParameterSets, at now: Instant) {
        // Whoever watches the main stream was told that it has none; a sub-stream with B-frames is as
        // if it were not there.
        let isInOrder = (parameterSets.sequence.maxNumReorderFrames ?? 0) == 0
        guard source.stream == .main || isInOrder else { return }
        var unit = unit
        unit.decodeTime = clock.time(
            unit.decodeTime, isFirst: isFirstOfConnection, leader: main?.clock.last, at: now)
        isFirstOfConnection = false
        self.parameterSets = parameterSets
        if let wallTime = unit.wallTime {
            let rtpTime = UInt32(truncatingIfNeeded: unit.decodeTime) &+ timeOffset
            pair = LiveClock(rtpTime: rtpTime, wallTime: wallTime)
        }
        switch parameterSets.codec {
        case .h264:
            transcode.stop()
            h264.receive(unit, parameterSets)
        case .h265:
            h265.receive(unit, parameterSets)
            if transcode.isRunning {
                transcode.receive(unit, parameterSets, at: now)
            } else if unit.isRandomAccessPoint, h264.isWatched {
                // Viewers stay while a camera changes its codec; and where all places were taken, one
                // may have become free.
                try? startTranscode(at: now)
            }
        }
    }

    package func receive(_ audio: AudioPacket, at now: Instant) {
        sound.receive(audio, of: source.camera, at: now)
    }

    package func interrupted(_ reason: GapReason, at now: Instant) {
        isFirstOfConnection = true
        h264.interrupted()
        h265.interrupted()
        transcode.interrupted()
    }

    /// The camera is given up: its viewers are told.
    package func end() {
        transcode.stop()
        h264.end()
        h265.end()
        sound.end()
        onEnd()
    }

    // MARK: Watching

    private func rendition(_ codec: Codec) -> LiveRendition {
        switch codec {
        case .h264: h264
        case .h265: h265
        }
    }

    func listen(from loop: LiveLoop.Handle) { sound.listen(from: loop) }

    func unlisten(from loop: LiveLoop.Handle) { sound.unlisten(from: loop) }

    /// Makes sure that H.264 is there for a viewer who is about to come.
    func startTranscode(at now: Instant) throws(MarsadError) {
        guard let parameterSets else { throw .noPicture }
        try transcode.start(with: h265.units, parameterSets, at: now)
    }

    /// A loop has its first viewer of this stream who takes that codec.
    func watch(_ codec: Codec, from loop: LiveLoop.Handle) {
        let isFirst = !h264.isWatched && !h265.isWatched
        rendition(codec).watch(from: loop)
        if isFirst { want(true) }
    }

    func unwatch(_ codec: Codec, from loop: LiveLoop.Handle) {
        guard rendition(codec).isWatched else { return }
        rendition(codec).unwatch(from: loop)
        if !h264.isWatched { transcode.stop() }
        if !h264.isWatched, !h265.isWatched { want(false) }
    }
}
