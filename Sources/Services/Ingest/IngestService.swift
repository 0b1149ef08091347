// All cameras of this process: who is assigned, on which event loop, and what is known of each.
// SPDX-License-Identifier: Apache-2.0

package import Domain
package import H26x
package import Logging
package import NIOCore
package import NIOPosix
package import Observability
import Primitives
import Synchronization

/// What every supervisor of the process shares.
final class IngestShared: Sendable {
    let world: World
    let policy: NetworkPolicy
    let logger: Logger
    let metrics: IngestMetrics
    let resolver: NIOThreadPool
    private let connects = Mutex(0)

    init(
        world: World, policy: NetworkPolicy, logger: Logger, metrics: IngestMetrics,
        resolver: NIOThreadPool
    ) {
        self.world = world
        self.policy = policy
        self.logger = logger
        self.metrics = metrics
        self.resolver = resolver
    }

    func takeConnectPermit() -> Bool {
        connects.withLock { taken in
            guard taken < Limits.connectsAtOnce else { return false }
            taken += 1
            return true
        }
    }

    func returnConnectPermit() { connects.withLock { $0 -= 1 } }
}

/// One camera of this process, by whichever way its video comes; on its event loop.
protocol AssignedCamera: AnyObject {
    func start()
    /// Gives the camera up and tells its consumers.
    func stop()
}

/// Assigns cameras to event loops and keeps each connected until it is given up.
package final class IngestService: Sendable {
    /// Makes the consumers of one camera's feed, on the camera's event loop.
    package typealias SinkFactory = @Sendable (Camera, any EventLoop) -> [FeedSink]
    /// Makes the consumer of a camera's sub-stream, on the camera's event loop and after those of its
    /// main stream. The consumer calls `want` there when it begins and ceases to need the stream.
    package typealias SubSinkFactory =
        @Sendable (Camera, any EventLoop, _ want: @escaping (Bool) -> Void) -> FeedSink

    private struct Assignment: Sendable {
        var camera: Camera
        var status: CameraStatus
        var eventLoop: any EventLoop
        var source: NIOLoopBound<any AssignedCamera>
        /// How the publisher of a camera that publishes reaches it.
        var published: PublishedFeed?
        /// Of a camera that has one.
        var sub: SubStream.Handle?
    }

    private let assignments = Mutex<[CameraID: Assignment]>([:])
    private let shared: IngestShared
    private let group: any EventLoopGroup
    private let makeSinks: SinkFactory
    private let makeSubSink: SubSinkFactory?

    package init(
        world: World, policy: NetworkPolicy, group: any EventLoopGroup, resolver: NIOThreadPool,
        registry: MetricsRegistry, logger: Logger, makeSinks: @escaping SinkFactory,
        makeSubSink: SubSinkFactory? = nil
    ) {
        shared = IngestShared(
            world: world, policy: policy, logger: logger,
            metrics: IngestMetrics(registry: registry), resolver: resolver)
        self.group = group
        self.makeSinks = makeSinks
        self.makeSubSink = makeSubSink
    }

    /// Takes a camera; its connection is made anew if what changed asks for it.
    package func assign(_ camera: Camera) async {
        if let known = assignments.withLock({ $0[camera.id] }) {
            guard !camera.keepsStream(of: known.camera) else { return }
            await unassign(camera.id)
        }
        let status = CameraStatus()
        let loop = group.next()
        let makeSinks = makeSinks
        let shared = shared
        let assigned = try? await loop.submit {
            let sinks = makeSinks(camera, loop)
            switch camera.origin {
            case .rtsp:
                let source: any AssignedCamera = CameraSupervisor(
                    camera: camera, status: status, sinks: sinks, shared: shared, eventLoop: loop)
                return (NIOLoopBound(source, eventLoop: loop), PublishedFeed?.none)
            case .whip:
                let source = PublishedCamera(
                    camera: camera, status: status, sinks: sinks, shared: shared, eventLoop: loop)
                return (
                    NIOLoopBound(source as any AssignedCamera, eventLoop: loop),
                    PublishedFeed(source, on: loop)
                )
            }
        }.get()
        guard let (source, published) = assigned else { return }
        let assignment = Assignment(
            camera: camera, status: status, eventLoop: loop, source: source, published: published,
            sub: await subStream(of: camera, on: loop))
        assignments.withLock { $0[camera.id] = assignment }
        loop.execute { source.value.start() }
    }

    private func subStream(of camera: Camera, on loop: any EventLoop) async -> SubStream.Handle? {
        guard camera.subAddress != nil, let makeSubSink else { return nil }
        return try? await loop.submit { [shared] in
            let stream = SubStream(camera: camera, shared: shared, eventLoop: loop)
            stream.feed(makeSubSink(camera, loop) { [weak stream] in stream?.want($0) })
            return SubStream.Handle(stream)
        }.get()
    }

    /// Gives a camera up; returns when its consumers were told.
    package func unassign(_ id: CameraID) async {
        guard let gone = assignments.withLock({ $0.removeValue(forKey: id) }) else { return }
        try? await gone.eventLoop.submit {
            gone.sub?.end()
            gone.source.value.stop()
        }.get()
    }

    /// Gives all cameras up (graceful shutdown).
    package func stop() async {
        for id in assignments.withLock({ $0.keys.sorted() }) { await unassign(id) }
    }

    package func states() -> [CameraID: StreamState] {
        assignments.withLock { $0 }.mapValues { assignment in
            var state = assignment.status.read().stream
            state.sub = assignment.sub?.state()
            return state
        }
    }

    package func state(of id: CameraID) -> StreamState? {
        assignments.withLock { $0[id]?.status }?.read().stream
    }

    /// How a publisher reaches a camera; `nil` for one that does not publish.
    package func published(_ id: CameraID) -> PublishedFeed? {
        assignments.withLock { $0[id]?.published }
    }

    /// The newest keyframe and its parameter sets; also while the camera is down.
    package func keyframe(of id: CameraID) -> (AccessUnit, ParameterSets)? {
        let contents = assignments.withLock { $0[id]?.status }?.read()
        guard let unit = contents?.keyframe, let sets = contents?.parameterSets else { return nil }
        return (unit, sets)
    }
}
