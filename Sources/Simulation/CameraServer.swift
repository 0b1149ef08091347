// The camera simulator: an RTSP server whose streams are loops paced by the wall clock.
// SPDX-License-Identifier: Apache-2.0

import Foundation
package import NIOCore
import NIOPosix
package import Primitives
package import RTSP
import Synchronization

/// Serves `rtsp://host:port/camera_1` … `camera_N` over interleaved TCP, and each camera's sub-stream at
/// `camera_N/sub` where there are clips for it.
///
/// Every camera and connection of a server lives on one event loop: nothing is locked, and one
/// timer of five milliseconds paces them all.
package final class CameraServer: Sendable {
    /// What is wrong with a camera.
    package enum Fault: String, Hashable, Sendable {
        case none
        /// Connections are closed, and DESCRIBE gets 503.
        case down
        /// Connections stay, frames do not come.
        case stall
    }

    /// What the server simulates.
    package struct Settings: Sendable {
        package var host: String
        /// 0 takes any free port.
        package var port: Int
        /// Number of cameras.
        package var count: Int
        /// What they play: camera 1 the first, beginning again where cameras outnumber clips.
        package var clips: [Clip]
        /// What their sub-streams play, likewise; without any, they have none.
        package var subClips: [Clip] = []
        /// Whether the main streams have a tone beside their pictures.
        package var hasAudio = false
        /// Asked for by Digest; `nil` leaves the cameras open.
        package var credentials: Credentials?
        /// Seeds SSRCs, first sequence numbers and timestamps; `nil` takes new ones each time.
        package var seed: UInt64?
        /// How much faster than real time: timestamps, stamps and reports stay consistent.
        package var speed: Double
        /// Whether each packet is sent by itself, a frame's spread over its time, as some cameras do.
        package var spreadsPackets = false
        /// Faults from the start, by camera number.
        package var faults: [Int: Fault]
        /// The simulated wall clock at the start; `nil` takes the real one.
        package var startTime: WallTime?

        package init(
            host: String = "127.0.0.1", port: Int = 8564, count: Int, clips: [Clip],
            credentials: Credentials? = nil, speed: Double = 1
        ) {
            self.host = host
            self.port = port
            self.count = count
            self.clips = clips
            self.credentials = credentials
            self.speed = speed
            seed = nil
            faults = [:]
            startTime = nil
        }
    }

    private let settings: Settings
    private let loop: any EventLoop
    private let hub: NIOLoopBoundBox<CameraHub>
    private let running = Mutex<Running?>(nil)

    private struct Running {
        var channel: any Channel
        var timer: RepeatedTask
    }

    private static let tick = TimeAmount.milliseconds(5)
    /// 40 ms: a frame's time at 25 a second.
    private static let spreadTicks = 8
    /// More than the largest frame, so that only a reader that is really behind is skipped.
    private static let watermarks = ChannelOptions.Types.WriteBufferWaterMark(
        low: 256 << 10, high: 1 << 20)

    package init(settings: Settings, group: any EventLoopGroup) {
        self.settings = settings
        let loop = group.next()
        self.loop = loop
        // Both clocks at one moment: what is done in between would be late in every stamp.
        let origin = NIODeadline.now()
        let start =
            settings.startTime
            ?? WallTime(microseconds: Int64(Date().timeIntervalSince1970 * 1e6))
        let speed = settings.speed.isFinite ? min(max(settings.speed, 0.01), 1000) : 1
        let seed = settings.seed ?? UInt64.random(in: .min ... .max)
        func cameras(_ clips: [Clip], seed: UInt64) -> [SimulatedCamera] {
            let clips = clips.map { PacketizedClip($0) }.filter { !$0.frames.isEmpty }
            guard !clips.isEmpty, settings.count > 0 else { return [] }
            return (0..<settings.count).map {
                SimulatedCamera(
                    number: $0 + 1, clip: clips[$0 % clips.count], start: start, seed: seed)
            }
        }
        let clock = SimulatedClock(start: start, origin: origin, speed: speed)
        let hub = CameraHub(
            cameras: cameras(settings.clips, seed: seed),
            subStreams: cameras(settings.subClips, seed: ~seed), clock: clock,
            faults: settings.faults,
            spread: settings.spreadsPackets ? Self.spreadTicks : nil,
            sound: settings.hasAudio ? SimulatedSound(start: start, seed: seed) : nil)
        self.hub = .makeBoxSendingValue(hub, eventLoop: loop)
    }

    /// Listens, and returns the port.
    package func start() async throws -> Int {
        guard settings.count > 0, !settings.clips.isEmpty else {
            throw SimulationError.badSettings("the camera simulator needs a camera and a clip")
        }
        let (hub, credentials) = (hub, settings.credentials)
        let channel = try await ServerBootstrap(group: loop, childGroup: loop)
            .serverChannelOption(.backlog, value: 1024)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .childChannelOption(.tcpOption(.tcp_nodelay), value: 1)
            .childChannelOption(.writeBufferWaterMark, value: Self.watermarks)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    let session = ServerSession(
                        credentials: credentials, realm: "Marsad simulator", nonce: Self.nonce())
                    try channel.pipeline.syncOperations.addHandler(
                        CameraConnection(hub: hub.value, session: session))
                }
            }
            .bind(host: settings.host, port: settings.port).get()
        let timer = loop.scheduleRepeatedTask(initialDelay: Self.tick, delay: Self.tick) { _ in
            hub.value.tick()
        }
        running.withLock { $0 = Running(channel: channel, timer: timer) }
        return channel.localAddress?.port ?? settings.port
    }

    /// Closes the port and every connection.
    package func stop() async {
        let running = running.withLock { state in
            defer { state = nil }
            return state
        }
        guard let running else { return }
        running.timer.cancel()
        // A port that was closed already is what was wanted.
        try? await running.channel.close().get()
        let hub = hub
        try? await loop.submit { hub.value.closeAll() }.get()
    }

    /// Breaks or repairs a camera, by its number.
    package func setFault(_ camera: Int, _ fault: Fault) {
        let hub = hub
        loop.execute { hub.value.setFault(camera: camera, fault) }
    }

    private static func nonce() -> String {
        String(UInt64.random(in: .min ... .max), radix: 16)
            + String(UInt64.random(in: .min ... .max), radix: 16)
    }
}
