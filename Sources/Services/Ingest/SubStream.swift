// A camera's second stream: connected while somebody needs it, and never recorded.
// SPDX-License-Identifier: Apache-2.0

import Domain
import NIOCore
import Synchronization

/// Makes a supervisor for the camera's other address when the stream is wanted, and drops it when it is
/// not. Who wants it decides how long it lingers. Created, used and dropped on the camera's event loop.
final class SubStream {
    /// How other threads reach it.
    struct Handle: Sendable {
        private let stream: NIOLoopBound<SubStream>
        private let supervised: Supervised

        init(_ stream: SubStream) {
            self.stream = NIOLoopBound(stream, eventLoop: stream.eventLoop)
            supervised = stream.supervised
        }

        /// On the camera's loop only.
        func end() { stream.value.end() }

        /// `nil` while nobody needs the stream.
        func state() -> SubStreamState? {
            supervised.status.withLock { $0 }.map { SubStreamState($0.read().stream) }
        }
    }

    /// The state of the present connection.
    private final class Supervised: Sendable {
        let status = Mutex<CameraStatus?>(nil)
    }

    private let camera: Camera
    private let shared: IngestShared
    private let eventLoop: any EventLoop
    private let supervised = Supervised()
    private var sink: FeedSink?
    private var supervisor: CameraSupervisor?

    init(camera: Camera, shared: IngestShared, eventLoop: any EventLoop) {
        self.camera = camera
        self.shared = shared
        self.eventLoop = eventLoop
    }

    func feed(_ sink: FeedSink) { self.sink = sink }

    /// Connects, or disconnects.
    func want(_ isWanted: Bool) {
        guard let sink, isWanted != (supervisor != nil) else { return }
        guard isWanted else { return drop() }
        let status = CameraStatus()
        // What ends with a connection is a pause for the consumer: the next viewer brings it back.
        let pausing = FeedSink(
            onAccessUnit: sink.onAccessUnit, onInterruption: sink.onInterruption,
            onEnd: { [world = shared.world] in sink.onInterruption(.sourceLost, world.now()) })
        let supervisor = CameraSupervisor(
            camera: camera, stream: .sub, status: status, sinks: [pausing], shared: shared,
            eventLoop: eventLoop)
        self.supervisor = supervisor
        supervised.status.withLock { $0 = status }
        supervisor.start()
    }

    /// The camera is given up.
    func end() {
        drop()
        sink?.onEnd()
        sink = nil
    }

    private func drop() {
        let dropped = supervisor
        supervisor = nil
        supervised.status.withLock { $0 = nil }
        dropped?.stop()
    }
}
