// Opens many live viewers against a running server, and measures what they get.
// SPDX-License-Identifier: Apache-2.0

import Glibc
package import NIOCore
import NIOPosix
import Primitives
import Synchronization
import WebRTC

/// The load client. One run each.
package final class LiveViewerLoad: Sendable {
    package struct Settings: Sendable {
        package var host = "127.0.0.1"
        package var port = 8080
        package var viewers = 1
        /// Only the first so many online cameras; `nil` is all.
        package var cameras: Int?
        package var joinsPerSecond = 100.0
        /// How long is measured, after all have joined.
        package var seconds = 10.0
        package var serverPID: Int32?
        /// Share of media packets thrown away, 0…1.
        package var loss = 0.0
        package var seed: UInt64 = 1
        /// Every so many viewers build their frames and compare checksums.
        package var checkEvery = 20
        package var churn: Churn?

        package init() {}
    }

    /// Viewers that come and go instead of staying.
    package struct Churn: Sendable {
        package var joins: Int
        package var staySeconds: Double
        /// Joins after which the server counts as warm: memory is compared with what it is then.
        package var warmJoins = 1000
        /// How long the server may take to notice who has vanished.
        package var settleSeconds = 15.0

        package init(joins: Int, staySeconds: Double) {
            self.joins = joins
            self.staySeconds = staySeconds
        }
    }

    private struct Failure: Error, CustomStringConvertible { var description: String }

    /// What one viewer holds at the server.
    private struct Place: Sendable {
        var number: Int
        var reservation: WHEPClient.Reservation
        var session: WHEPClient.Session
    }

    private static let joinTimeout = TimeAmount.seconds(15)
    private static let receiveBufferBytes = 1 << 20
    /// What the kernel merges is at most one datagram's size.
    private static let largestRead = 65_536

    private let settings: Settings
    private let world: LoadWorld
    private let narrate: @Sendable (String) -> Void
    private let group: any EventLoopGroup
    private let loops: [NIOLoopBound<ViewerLoop>]
    private let identity: DTLSIdentity
    private let pool: HTTPPool
    private let client: WHEPClient
    private let log = JoinLog()
    private let beating = Mutex<[Int: WHEPClient.Reservation]>([:])

    /// - Parameter narrate: takes words for people.
    package init(
        _ settings: Settings, world: LoadWorld, group: any EventLoopGroup,
        narrate: @escaping @Sendable (String) -> Void
    ) async throws {
        self.settings = settings
        self.world = world
        self.narrate = narrate
        self.group = group
        identity = try DTLSIdentity()
        pool = HTTPPool(host: settings.host, port: settings.port, group: group, now: world.now)
        client = WHEPClient(pool: pool)
        var loops: [NIOLoopBound<ViewerLoop>] = []
        for loop in group.makeIterator() {
            loops.append(
                try await loop.submit {
                    let viewers = ViewerLoop(world: world)
                    viewers.start(on: loop)
                    return NIOLoopBound(viewers, eventLoop: loop)
                }.get())
        }
        self.loops = loops
    }

    /// Joins, measures, leaves.
    package func run() async throws -> ViewerReport {
        let heart = Task { await keepAlive() }
        let result: Result<ViewerReport, any Error>
        do {
            result = .success(try await measured())
        } catch {
            result = .failure(error)
        }
        heart.cancel()
        for loop in loops { try? await loop.run { $0.stop() } }
        await pool.close()
        return try result.get()
    }

    private func measured() async throws -> ViewerReport {
        var cameras = try await client.onlineCameras()
        if let count = settings.cameras { cameras = Array(cameras.prefix(max(count, 1))) }
        narrate("\(cameras.count) cameras are online")
        var report =
            if let churn = settings.churn {
                try await churning(churn, cameras)
            } else {
                try await holding(cameras)
            }
        report.cameras = cameras.count
        report.take(log.counts)
        return report
    }

    // MARK: Two ways to load

    private func holding(_ cameras: [String]) async throws -> ViewerReport {
        let places = Mutex<[Place]>([])
        await paced(settings.viewers) { number in
            guard let place = await self.joining(number, cameras) else { return }
            places.withLock { $0.append(place) }
        }
        let seated = places.withLock { $0 }
        narrate("\(seated.count) of \(settings.viewers) viewers have joined; measuring")
        // The last bursts of kept frames are no part of the steady state.
        try await Task.sleep(for: .seconds(1))
        _ = try await harvest()
        let drops = try await receiveDrops()
        let (server, own) = (settings.serverPID.flatMap(ProcessSample.init), ownSample())
        let begun = world.now()
        try await Task.sleep(for: .seconds(settings.seconds))
        let seconds = (world.now() - begun).inSeconds
        let (serverAfter, ownAfter) = (settings.serverPID.flatMap(ProcessSample.init), ownSample())
        var report = try await harvest()
        report.viewers = settings.viewers
        report.seconds = rounded(seconds, 3)
        report.kernel_receive_drops = try await receiveDrops() - drops
        report.take(server: server, serverAfter, viewers: seated.count)
        report.take(client: own, ownAfter)
        finish(&report, viewers: seated.count)
        narrate("measured; leaving")
        await withTaskGroup(of: Void.self) { tasks in
            for place in seated { tasks.addTask { await self.leave(place) } }
        }
        return report
    }

    private func churning(_ churn: Churn, _ cameras: [String]) async throws -> ViewerReport {
        let begun = world.now()
        let own = ownSample()
        let pid = settings.serverPID
        let first = pid.flatMap(ProcessSample.init)
        let warm = Mutex<ProcessSample?>(nil)
        let warmAt = min(churn.warmJoins, max(churn.joins / 4, 1))
        await paced(churn.joins) { number in
            if number == warmAt { warm.withLock { $0 = pid.flatMap(ProcessSample.init) } }
            if number > 0, number % 1000 == 0 { self.narrate("\(number) joins") }
            if let place = await self.joining(number, cameras) {
                try? await Task.sleep(for: .seconds(churn.staySeconds))
                if number % 2 == 0 { await self.leave(place) } else { await self.vanish(place) }
            }
            self.log.finished()
        }
        let seconds = (world.now() - begun).inSeconds
        var report = try await harvest()
        report.viewers = churn.joins
        report.seconds = rounded(seconds, 3)
        report.take(client: own, ownSample())
        finish(&report, viewers: nil)
        narrate("all have left; waiting \(churn.settleSeconds) s for the server to notice")
        let last = pid.flatMap(ProcessSample.init)
        try await Task.sleep(for: .seconds(churn.settleSeconds))
        report.take(server: first, last, viewers: nil)
        if let warm = warm.withLock({ $0 }), let settled = pid.flatMap(ProcessSample.init) {
            report.server?.rss_mb_start = rounded(warm.residentMegabytes, 1)
            report.server?.fds_start = warm.descriptors
            report.server?.rss_mb_end = rounded(settled.residentMegabytes, 1)
            report.server?.rss_mb_peak = rounded(settled.peakMegabytes, 1)
            report.server?.fds_end = settled.descriptors
        }
        return report
    }

    /// Begins so many tasks at the joins' rate, and waits until all have ended.
    private func paced(_ count: Int, _ body: @escaping @Sendable (Int) async -> Void) async {
        let begun = world.now()
        await withDiscardingTaskGroup { tasks in
            for number in 0..<count {
                let offset = Int64(Double(number) * 1e6 / settings.joinsPerSecond)
                let due = begun + .microseconds(offset)
                let wait = due - world.now()
                if wait > .zero { try? await Task.sleep(for: wait) }
                tasks.addTask { await body(number) }
            }
        }
    }

    // MARK: One viewer

    /// The viewer's place once its first frame has come; a failure is noted.
    private func joining(_ number: Int, _ cameras: [String]) async -> Place? {
        do {
            return try await join(number, camera: cameras[number % cameras.count])
        } catch {
            log.failed(Self.words(error))
            return nil
        }
    }

    private func join(_ number: Int, camera: String) async throws -> Place {
        let reservation = try await client.reserve(camera: camera)
        beating.withLock { $0[number] = reservation }
        let loop = loops[number % loops.count]
        var session: WHEPClient.Session?
        do {
            let offer = try await sit(number, on: loop)
            let joined = loop.eventLoop.makePromise(of: LiveViewer.Milestones.self)
            let posted: WHEPClient.Session
            do {
                posted = try await client.view(reservation, offer: offer)
                session = posted
            } catch {
                joined.fail(error)
                throw error
            }
            let answeredAt = world.now()
            loop.eventLoop.execute {
                guard let seat = loop.value.seat(number) else {
                    return joined.fail(Failure(description: "no seat"))
                }
                seat.joined = joined
                seat.viewer.accept(answer: posted.answer, at: answeredAt)
                loop.value.drain(seat)
            }
            let timeout = loop.eventLoop.scheduleTask(in: Self.joinTimeout) {
                joined.fail(Failure(description: "no decodable frame in time"))
                loop.value.seat(number)?.joined = nil
            }
            defer { timeout.cancel() }
            let milestones = try await joined.futureResult.get()
            log.joined(since: posted.startedAt, milestones, retries: posted.retries)
            return Place(number: number, reservation: reservation, session: posted)
        } catch {
            beating.withLock { $0[number] = nil }
            await stand(number)
            if let session { try? await client.leave(session, reservation) }
            try? await client.release(reservation)
            throw error
        }
    }

    /// Binds the viewer's socket; gives its offer.
    private func sit(_ number: Int, on loop: NIOLoopBound<ViewerLoop>) async throws -> ByteBuffer {
        let isIPv6 = settings.host.contains(":")
        var viewing = LiveViewer.Settings()
        viewing.loss = settings.loss
        viewing.seed = settings.seed &+ UInt64(number)
        viewing.checksFrames = settings.checkEvery > 0 && number % settings.checkEvery == 0
        viewing.usesIPv6 = isIPv6
        let (world, identity, shape) = (world, identity, viewing)
        let socket = try ViewerSocket(usesIPv6: isIPv6)
        _ = try await DatagramBootstrap(group: loop.eventLoop)
            .channelOption(.socketOption(.so_rcvbuf), value: .init(Self.receiveBufferBytes))
            .channelOption(
                .recvAllocator, value: FixedSizeRecvByteBufferAllocator(capacity: Self.largestRead)
            )
            .channelOption(.maxMessagesPerRead, value: 16)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    let viewer = LiveViewer(
                        shape, identity: identity, tally: loop.value.tally, random: world.random)
                    let seat = ViewerLoop.Seat(
                        viewer: viewer, channel: channel, socket: socket)
                    let handler = ViewerHandler(loop: loop.value)
                    handler.seat = seat
                    try channel.pipeline.syncOperations.addHandler(handler)
                    loop.value.insert(seat, as: number)
                }.flatMap {
                    // Merged delivery saves most of the wake-ups; without it all works too.
                    channel.setOption(.datagramReceiveOffload, value: true)
                        .flatMap { channel.setOption(.datagramReceiveSegmentSize, value: true) }
                        .flatMapError { _ in
                            channel.setOption(.datagramReceiveOffload, value: false)
                        }
                        .flatMapError { _ in channel.eventLoop.makeSucceededVoidFuture() }
                }
            }
            .withBoundSocket(socket.descriptor).get()
        return try await loop.run { $0.seat(number)?.viewer.offer() ?? ByteBuffer() }
    }

    /// Closes the viewer's socket.
    private func stand(_ number: Int) async {
        try? await loops[number % loops.count].run {
            $0.remove(number)?.channel.close(promise: nil)
        }
    }

    private func leave(_ place: Place) async {
        beating.withLock { $0[place.number] = nil }
        let loop = loops[place.number % loops.count]
        try? await loop.run { $0.seat(place.number)?.isLeaving = true }
        do {
            try await client.leave(place.session, place.reservation)
            try await client.release(place.reservation)
        } catch {
            log.failed("leaving: \(Self.words(error))")
        }
        try? await loop.run {
            guard let seat = $0.seat(place.number) else { return }
            seat.viewer.leave()
            $0.drain(seat)
        }
        await stand(place.number)
    }

    /// Goes without a word, as a browser does whose machine loses its network.
    private func vanish(_ place: Place) async {
        beating.withLock { $0[place.number] = nil }
        await stand(place.number)
    }

    /// Beats for each reservation in its time, until cancelled.
    private func keepAlive() async {
        var last: [Int: Instant] = [:]
        while !Task.isCancelled {
            try? await Task.sleep(for: .seconds(1))
            let all = beating.withLock { $0 }
            let now = world.now()
            last = last.filter { all[$0.key] != nil }
            for (number, reservation) in all {
                // Twice in each interval: one may be late.
                let since = last[number] ?? now
                if last[number] == nil { last[number] = now }
                guard now - since >= reservation.heartbeatInterval / 2 else { continue }
                last[number] = now
                do {
                    try await client.heartbeat(reservation)
                } catch {
                    let isHeld = beating.withLock { $0[number] != nil }
                    if isHeld, !Task.isCancelled { log.heartbeatRefused() }
                }
            }
        }
    }

    // MARK: Measuring

    /// The counts of all loops since the last time.
    private func harvest() async throws -> ViewerReport {
        var report = ViewerReport()
        var tally = LiveTally()
        for loop in loops {
            let harvest = try await loop.run { $0.harvest() }
            tally.merge(harvest.tally)
            for failure in harvest.failures { log.failed("ended: \(Self.words(failure))") }
            if let frames = harvest.framesPerViewer {
                report.frames_per_viewer_least = min(
                    report.frames_per_viewer_least ?? frames.least, frames.least)
                report.frames_per_viewer_most = max(
                    report.frames_per_viewer_most ?? frames.most, frames.most)
            }
        }
        report.take(tally)
        return report
    }

    private func finish(_ report: inout ViewerReport, viewers: Int?) {
        guard report.seconds > 0 else { return }
        report.packets_per_second = rounded(Double(report.packets) / report.seconds, 1)
        guard let viewers, viewers > 0 else { return }
        report.bits_per_second_per_viewer = rounded(
            Double(report.bytes) * 8 / report.seconds / Double(viewers), 0)
    }

    private func receiveDrops() async throws -> Int {
        var ports: Set<Int> = []
        for loop in loops { ports.formUnion(try await loop.run { $0.ports }) }
        return ProcessSample.receiveDrops(ports: ports)
    }

    private func ownSample() -> ProcessSample? { ProcessSample(pid: getpid()) }

    private static func words(_ error: any Error) -> String {
        if case WHEPFailure.refused(let step, let status) = error { return "\(step): \(status)" }
        return "\(error)"
    }
}

extension NIOLoopBound {
    /// The result of the body on the value's event loop.
    fileprivate func run<Result: Sendable>(
        _ body: @escaping @Sendable (Value) throws -> Result
    ) async throws -> Result {
        try await eventLoop.submit { try body(self.value) }.get()
    }
}
