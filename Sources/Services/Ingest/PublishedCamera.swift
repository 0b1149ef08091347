// A camera that comes to this server: nothing to connect to, and for the rest a camera like any other.
// SPDX-License-Identifier: Apache-2.0

import Domain
import H26x
import Logging
package import NIOCore
import Observability
package import Primitives
package import RTP
import RTSP

/// Owns the feed of one published camera. Created, used and dropped on one event loop.
final class PublishedCamera: AssignedCamera {
    private let camera: Camera
    private let feed: CameraFeed
    private let status: CameraStatus
    private let shared: IngestShared
    private let eventLoop: any EventLoop
    private var wall: WallAnchor
    private var reception: VideoReception?
    private var lastFrame: Instant?
    private var timer: Scheduled<Void>?
    private var isStopped = false
    private var logger: Logger
    private let bytesReceived: Counter

    init(
        camera: Camera, status: CameraStatus, sinks: [FeedSink], shared: IngestShared,
        eventLoop: any EventLoop
    ) {
        self.camera = camera
        self.status = status
        self.shared = shared
        self.eventLoop = eventLoop
        feed = CameraFeed(status: status, sinks: sinks)
        wall = WallAnchor(world: shared.world)
        logger = shared.logger
        bytesReceived = shared.metrics.bytes(camera.source)
        logger[metadataKey: "camera_id"] = "\(camera.id)"
        logger[metadataKey: "source"] = "\(camera.source)"
    }

    func start() {
        status.update { $0.stream.lastFailure = CameraFailure(.unpublished, "nobody publishes") }
    }

    func stop() {
        isStopped = true
        timer?.cancel()
        reception = nil
        feed.end()
        status.update { $0.stream.status = .failed }
    }

    // MARK: The publisher

    /// A publisher came; what follows is no continuation of what came before.
    func begin(payloadType: UInt8, clockRate: Int) {
        guard !isStopped else { return }
        reception = VideoReception(
            track: VideoTrack(
                codec: .h264, payloadType: payloadType, clockRate: clockRate, parameterSets: nil))
    }

    /// Takes the publisher's packets in order; a missing number is a lost packet.
    func receive(_ packet: Packet, at now: Instant) {
        guard let outcome = reception?.receive(packet, at: now) else { return }
        for reason in outcome.discarded {
            shared.metrics.discarded(camera.source, reason).increment()
        }
        if outcome.isRestamped { shared.metrics.restamped(camera.source).increment() }
        guard var unit = outcome.unit, let parameterSets = reception?.parameterSets else { return }
        unit.wallTime = wall.wallTime(at: now)
        bytesReceived.increment(by: UInt64(unit.avcc.readableBytes))
        let wasActive = lastFrame != nil
        lastFrame = now
        feed.publish(unit, parameterSets, at: now)
        guard !wasActive else { return }
        status.update {
            $0.stream.status = .active
            $0.stream.connectedAt = unit.wallTime
            $0.stream.lastFailure = nil
        }
        logger.info("camera is delivering", metadata: ["event": "camera_active"])
        armTimer(Limits.readTimeout)
    }

    /// The publisher left.
    func end(at now: Instant) {
        reception = nil
        interrupted(CameraFailure(.closed, "the publisher left"), at: now)
    }

    // MARK: Silence

    /// The timer is not moved with each frame, but armed again when it fires.
    private func armTimer(_ wait: Duration) {
        timer?.cancel()
        let bound = NIOLoopBound(self, eventLoop: eventLoop)
        timer = eventLoop.scheduleTask(in: .nanoseconds(wait.saturatingNanoseconds)) {
            bound.value.lookAtClock()
        }
    }

    func lookAtClock() {
        guard let lastFrame, !isStopped else { return }
        let now = shared.world.now()
        let left = lastFrame + Limits.readTimeout - now
        guard left <= .zero else { return armTimer(left) }
        interrupted(CameraFailure(.silent, "the publisher sends no picture"), at: now)
    }

    private func interrupted(_ failure: CameraFailure, at now: Instant) {
        guard lastFrame != nil, !isStopped else { return }
        lastFrame = nil
        timer?.cancel()
        shared.metrics.failures(camera.source, failure.kind).increment()
        feed.interrupted(.sourceLost, at: now)
        status.update {
            $0.stream.status = .connecting
            $0.stream.lastFailure = failure
        }
        logger.info(
            "camera failed",
            metadata: [
                "event": "camera_failed", "error": "\(failure.reason)",
                "reason": "\(failure.kind.rawValue)",
            ])
    }
}

/// How a publisher's session reaches its camera: at once on the camera's own loop, else in order in its
/// next turns.
package struct PublishedFeed: Sendable {
    package let eventLoop: any EventLoop
    private let camera: NIOLoopBound<PublishedCamera>

    init(_ camera: PublishedCamera, on eventLoop: any EventLoop) {
        self.eventLoop = eventLoop
        self.camera = NIOLoopBound(camera, eventLoop: eventLoop)
    }

    package func begin(payloadType: UInt8, clockRate: Int) {
        run { $0.begin(payloadType: payloadType, clockRate: clockRate) }
    }

    package func receive(_ packet: Packet, at now: Instant) { run { $0.receive(packet, at: now) } }

    package func end(at now: Instant) { run { $0.end(at: now) } }

    /// What the camera's timer does when it fires.
    package func lookAtClock() { run { $0.lookAtClock() } }

    private func run(_ work: @escaping @Sendable (PublishedCamera) -> Void) {
        if eventLoop.inEventLoop { return work(camera.value) }
        eventLoop.execute { [camera] in work(camera.value) }
    }
}
