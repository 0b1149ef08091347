// A camera's stream as its viewers see it: the present group of pictures, and the loops that watch it.
// SPDX-License-Identifier: Apache-2.0

package import Domain
package import H26x
import NIOCore
package import Primitives
package import RTPFormats

/// Takes a camera's units on the camera's loop and gives them, packetized once, to each loop with
/// viewers. Nobody watching costs an array of references.
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
    private var cache = GOPCache(maxBytes: Limits.windowBytes, maxUnits: Limits.windowUnits)
    private var packetizer = BurstPacketizer(maxPayload: Limits.payloadBytes)
    private var window = BurstWindow()
    private var watchers: [LiveLoop.Handle] = []
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
        _ source: LiveSource, timeOffset: UInt32, main: LiveCamera? = nil,
        want: @escaping (Bool) -> Void = { _ in }, onEnd: @escaping () -> Void
    ) {
        self.source = source
        self.main = main
        self.want = want
        self.onEnd = onEnd
        self.timeOffset = timeOffset
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
        cache.add(unit)
        if let wallTime = unit.wallTime {
            let rtpTime = UInt32(truncatingIfNeeded: unit.decodeTime) &+ timeOffset
            pair = LiveClock(rtpTime: rtpTime, wallTime: wallTime)
        }
        guard !watchers.isEmpty else { return }
        let burst = packetizer.next(unit, parameterSets)
        window.append(burst)
        let source = source
        for watcher in watchers { watcher.run { $0.receive(burst, of: source) } }
    }

    package func receive(_ audio: AudioPacket, at now: Instant) {
        sound.receive(audio, of: source.camera, at: now)
    }

    package func interrupted(_ reason: GapReason, at now: Instant) {
        cache.removeAll()
        window.removeAll()
        isFirstOfConnection = true
        let source = source
        for watcher in watchers { watcher.run { $0.interrupted(source) } }
    }

    /// The camera is given up: its viewers are told.
    package func end() {
        let source = source
        for watcher in watchers { watcher.run { $0.ended(source) } }
        watchers = []
        sound.end()
        cache.removeAll()
        onEnd()
    }

    // MARK: Watching

    /// A loop has its first viewer of this camera: it gets what a viewer can start with, then all that comes.
    func watch(from loop: LiveLoop.Handle) {
        guard !watchers.contains(where: { $0.index == loop.index }) else { return }
        if watchers.isEmpty, let parameterSets {
            window.removeAll()
            for unit in cache.units { window.append(packetizer.next(unit, parameterSets)) }
        }
        watchers.append(loop)
        let window = window
        let source = source
        loop.run { $0.start(source, with: window) }
        if watchers.count == 1 { want(true) }
    }

    func listen(from loop: LiveLoop.Handle) { sound.listen(from: loop) }

    func unlisten(from loop: LiveLoop.Handle) { sound.unlisten(from: loop) }

    func unwatch(from loop: LiveLoop.Handle) {
        guard watchers.contains(where: { $0.index == loop.index }) else { return }
        watchers.removeAll { $0.index == loop.index }
        guard watchers.isEmpty else { return }
        window.removeAll()
        want(false)
    }
}
