// One event loop's share of live viewing: its socket, its sessions, and the cameras they watch.
// SPDX-License-Identifier: Apache-2.0

import Domain
import NIOCore
import Primitives
import RTP
import RTPFormats
import WebRTC

/// All live state of one loop; reached from elsewhere through its handle only.
final class LiveLoop {
    /// How other threads reach a loop. The number is what its sessions' ICE fragments begin with, so
    /// that a check finds its loop without a shared table.
    struct Handle: Sendable {
        let index: Int
        let eventLoop: any EventLoop
        private let loop: NIOLoopBound<LiveLoop>

        init(_ loop: LiveLoop) {
            index = loop.index
            eventLoop = loop.eventLoop
            self.loop = NIOLoopBound(loop, eventLoop: loop.eventLoop)
        }

        /// On the loop itself only.
        func withLoop<T>(_ body: (LiveLoop) throws -> T) rethrows -> T { try body(loop.value) }

        /// At once on the loop itself, else in its next turn.
        func run(_ work: @escaping @Sendable (LiveLoop) -> Void) {
            if eventLoop.inEventLoop { return work(loop.value) }
            eventLoop.execute { [loop] in work(loop.value) }
        }

        func submit<T: Sendable>(_ work: @escaping @Sendable (LiveLoop) throws -> T) async throws
            -> T
        {
            try await eventLoop.submit { [loop] in try work(loop.value) }.get()
        }
    }

    let index: Int
    let eventLoop: any EventLoop
    let shared: LiveShared
    let socket: LiveSocket
    /// Where packets are sealed, one send at a time.
    let scratch: UnsafeMutableRawBufferPointer
    private var others: [Handle] = []
    private var sessions: [String: LiveSession] = [:]
    private var byFragment: [String: LiveSession] = [:]
    private var routes: [TransportAddress: Route] = [:]
    /// The TCP connections of this loop's sessions, whichever loop they are read on.
    private var connections: [TransportAddress: LiveConnection] = [:]
    let listeners = Listeners()
    private var groups: [LiveRendition.ID: ViewerGroup] = [:]
    private var ticker: RepeatedTask?
    private var nextCount: Instant?
    private var lastTick: Instant?
    private var hasWaited = false

    /// Whose packets come from an address. The kernel spreads one port's datagrams over all loops'
    /// sockets by address, so a session's may arrive anywhere.
    private enum Route {
        case here(LiveSession)
        case loop(Handle)
    }

    init(index: Int, eventLoop: any EventLoop, socket: LiveSocket, shared: LiveShared) {
        self.index = index
        self.eventLoop = eventLoop
        self.socket = socket
        self.shared = shared
        scratch = .allocate(byteCount: 1 << 16, alignment: 16)
    }

    deinit { scratch.deallocate() }

    /// Begins to look at the clock; the other loops are known now.
    func start(_ all: [Handle]) {
        others = all.filter { $0.index != index }
        let bound = NIOLoopBound(self, eventLoop: eventLoop)
        let tick = TimeAmount.nanoseconds(Limits.tick.saturatingNanoseconds)
        ticker = eventLoop.scheduleRepeatedTask(initialDelay: tick, delay: tick) { _ in
            bound.value.tick()
        }
    }

    func stop() {
        for session in Array(sessions.values) {
            session.peer.close()
            drain(session, at: shared.world.now())
        }
        ticker?.cancel()
        ticker = nil
    }

    // MARK: Datagrams

    func receive(_ datagram: ByteBuffer, from address: TransportAddress) {
        if STUNMessage.isSTUN(datagram), let fragment = STUNMessage.recipient(of: datagram) {
            return receive(check: datagram, for: fragment, from: address)
        }
        switch routes[address] {
        case .here(let session):
            deliver(datagram, to: session, from: address)
        case .loop(let handle):
            handle.run { $0.receive(ofKnown: datagram, from: address) }
        case nil:
            shared.metrics.discarded(.unknownAddress)
        }
    }

    /// Checks carry the fragment of the session they are for, whatever address they come from; an
    /// answer to a probe carries none, and comes from a known address.
    private func receive(
        check: ByteBuffer, for fragment: String, from address: TransportAddress
    ) {
        if let session = byFragment[fragment] {
            return deliver(check, to: session, from: address)
        }
        let owner = LiveShared.loopIndex(ofFragment: fragment)
        guard let handle = others.first(where: { $0.index == owner }) else {
            return shared.metrics.discarded(.unknownSession)
        }
        handle.run { $0.receive(forwarded: check, for: fragment, from: address) }
    }

    /// A datagram that another loop sent here goes no further: while two loops learn of an address at
    /// the same moment, each may believe that it is the other's.
    private func receive(ofKnown datagram: ByteBuffer, from address: TransportAddress) {
        guard case .here(let session)? = routes[address] else {
            return shared.metrics.discarded(.unknownAddress)
        }
        deliver(datagram, to: session, from: address)
    }

    private func receive(
        forwarded check: ByteBuffer, for fragment: String, from address: TransportAddress
    ) {
        guard let session = byFragment[fragment] else {
            return shared.metrics.discarded(.unknownSession)
        }
        deliver(check, to: session, from: address)
    }

    private func deliver(
        _ datagram: ByteBuffer, to session: LiveSession, from address: TransportAddress
    ) {
        let now = shared.world.now()
        session.peer.receive(datagram, from: address, at: now)
        drain(session, at: now)
    }

    /// `nil` for a connection that was closed.
    private func path(to address: TransportAddress) -> MediaPath? {
        switch address.transport {
        case .udp: .datagrams(socket, address)
        case .tcp: connections[address].map { .connection($0) }
        }
    }

    // MARK: Connections

    /// Takes a connection whose first message was a check; one for no session of this loop is closed.
    func take(_ connection: LiveConnection, _ check: ByteBuffer, for fragment: String) {
        guard let session = byFragment[fragment] else {
            shared.metrics.refused(.unknownSession)
            return connection.close()
        }
        guard session.connections.count < Limits.connectionsPerSession else {
            shared.metrics.refused(.limit)
            return connection.close()
        }
        connections[connection.address] = connection
        session.connections.append(connection)
        deliver(check, to: session, from: connection.address)
    }

    /// The connection is gone; whether its session can do without is found by its consent.
    func forget(_ connection: LiveConnection) {
        guard connections[connection.address] === connection else { return }
        connections[connection.address] = nil
        for session in sessions.values {
            session.connections.removeAll { $0 === connection }
        }
    }

    // MARK: Sessions

    func add(_ session: LiveSession) {
        sessions[session.id] = session
        index(session)
    }

    /// The viewers on this loop of a camera's stream who take one codec.
    func group(of id: LiveRendition.ID, _ camera: LiveCamera.Handle) -> ViewerGroup {
        if let group = groups[id] { return group }
        let group = ViewerGroup(
            source: id.source, timeOffset: camera.timeOffset, eventLoop: eventLoop,
            at: shared.world.now())
        groups[id] = group
        let handle = Handle(self)
        camera.run { $0.watch(id.codec, from: handle) }
        return group
    }

    func listen(_ stream: AudioStream, to camera: CameraID) {
        guard listeners.add(stream, to: camera) else { return }
        let handle = Handle(self)
        shared.camera(LiveSource(camera))?.run { $0.listen(from: handle) }
    }

    func unlisten(_ stream: AudioStream, to camera: CameraID) {
        guard listeners.remove(stream, from: camera) else { return }
        let handle = Handle(self)
        shared.camera(LiveSource(camera))?.run { $0.unlisten(from: handle) }
    }

    func session(_ id: String) -> LiveSession? { sessions[id] }

    /// Ends a session; false where there is none.
    func close(_ id: String) -> Bool {
        guard let session = sessions[id] else { return false }
        session.peer.close()
        drain(session, at: shared.world.now())
        return true
    }

    /// The fragments of a session may have changed.
    func index(_ session: LiveSession) {
        let accepted = session.peer.acceptedFragments
        guard accepted != session.fragments else { return }
        for fragment in session.fragments { byFragment[fragment] = nil }
        for fragment in accepted { byFragment[fragment] = session }
        session.fragments = accepted
    }

    private func drain(_ session: LiveSession, at now: Instant) {
        while let output = session.peer.pollOutput() {
            switch output {
            case .send(let bytes, let address):
                _ = bytes.withUnsafeReadableBytes { path(to: address)?.send($0, segment: 0) }
            case .selected(let address):
                selected(address, by: session)
            case .connected(let keys):
                connected(session, keys, at: now)
            case .rtcp(let reports):
                session.receive(reports, at: now)
            case .rtp(let packet):
                session.receive(rtp: packet, at: now)
            case .ended(let reason):
                ended(session, reason, at: now)
            }
        }
    }

    private func selected(_ address: TransportAddress, by session: LiveSession) {
        if session.address != address { forget(session) }
        session.address = address
        if let path = path(to: address) { session.moved(to: path) }
        // Two viewers behind one address cannot be: the newest proof of it counts.
        routes[address] = .here(session)
        if address.transport == .udp {
            let handle = Handle(self)
            for other in others { other.run { $0.routes[address] = .loop(handle) } }
        }
        // After an ICE restart the old fragment is no longer accepted.
        index(session)
    }

    /// Another session may have proved since that the address is its own.
    private func forget(_ session: LiveSession) {
        guard let address = session.address, case .here(let owner)? = routes[address],
            owner === session
        else { return }
        routes[address] = nil
        for other in others { other.run { [index] in $0.forget(address, of: index) } }
    }

    private func forget(_ address: TransportAddress, of loop: Int) {
        guard case .loop(let handle)? = routes[address], handle.index == loop else { return }
        routes[address] = nil
    }

    private func connected(_ session: LiveSession, _ keys: KeyingMaterial, at now: Instant) {
        do throws(SRTPError) {
            // Counted before its first packet can arrive.
            shared.connected(session.id)
            try session.connected(keys, on: self, at: now)
        } catch {
            session.peer.close()
        }
    }

    private func ended(_ session: LiveSession, _ reason: PeerEnd, at now: Instant) {
        guard sessions.removeValue(forKey: session.id) != nil else { return }
        for fragment in session.fragments { byFragment[fragment] = nil }
        forget(session)
        for connection in session.connections {
            connections[connection.address] = nil
            connection.close()
        }
        session.ended(at: now)
        session.count(into: shared.metrics)
        shared.metrics.add(session.peer.discards)
        shared.ended(session.id, reason)
    }

    // MARK: Time

    private func tick() {
        let now = shared.world.now()
        // A process that was stopped first reads what its viewers said meanwhile, for one turn.
        let wasStopped = lastTick.map { now - $0 > Limits.stall } ?? false
        lastTick = now
        hasWaited = wasStopped && !hasWaited
        guard !hasWaited else { return }
        for session in sessions.values.filter({ $0.isDue(at: now) }) {
            session.advance(to: now)
            drain(session, at: now)
        }
        if nextCount.map({ $0 <= now }) ?? true {
            nextCount = now + Limits.countInterval
            for session in sessions.values { session.count(into: shared.metrics) }
        }
        for (id, group) in groups where group.isIdle(at: now) {
            groups[id] = nil
            let handle = Handle(self)
            shared.camera(id.source)?.run { $0.unwatch(id.codec, from: handle) }
        }
    }

    // MARK: Cameras

    func start(_ id: LiveRendition.ID, with window: BurstWindow) {
        groups[id]?.start(with: window)
    }

    func receive(_ burst: PacketBurst, of id: LiveRendition.ID) { groups[id]?.receive(burst) }

    func interrupted(_ id: LiveRendition.ID) { groups[id]?.interrupted() }

    /// The camera is given up, its main stream last: its viewers' sessions end.
    func ended(_ source: LiveSource) {
        for (id, group) in groups where id.source == source { group.interrupted() }
        guard source.stream == .main else { return }
        for session in Array(sessions.values) where session.cameraID == source.camera {
            session.peer.close()
            drain(session, at: shared.world.now())
        }
        groups = groups.filter { $0.key.source.camera != source.camera }
    }
}
