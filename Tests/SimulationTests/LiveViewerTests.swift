// The load client's viewer against a server's end in memory, on a virtual clock.
// SPDX-License-Identifier: Apache-2.0

import NIOCore
import Primitives
import RTP
import Simulation
import Testing
import WebRTC

/// A viewer and its server, joined by a network that delivers at once.
private final class Session {
    static let identities = Result { (try DTLSIdentity(), try DTLSIdentity()) }
    static let viewerAddress = TransportAddress(ipv4: 0x7F00_0001, port: 50_000)

    let viewer: LiveViewer
    let server: LiveServerDouble
    let tally = SharedTally()
    var now = Instant(nanoseconds: 1_000_000_000)
    var wallTime = WallTime(microseconds: 1_800_000_000_000_000)
    var failure: LiveViewer.Failure?
    private var number: UInt64 = 500

    init(_ change: (inout LiveViewer.Settings) -> Void = { _ in }) throws {
        let (ours, theirs) = try Self.identities.get()
        var settings = LiveViewer.Settings()
        settings.checksFrames = true
        settings.seed = 3
        change(&settings)
        var numbers = SeededRandom(seed: 42)
        let random: () -> UInt64 = { numbers.next() }
        viewer = LiveViewer(settings, identity: ours, tally: tally, random: random)
        server = try LiveServerDouble(
            offer: viewer.offer(), identity: theirs, at: now, random: random)
        viewer.accept(answer: server.answer, at: now)
        try exchange()
    }

    var counts: LiveTally { tally.counts }

    /// Delivers until both are silent.
    func exchange() throws {
        var isMoving = true
        while isMoving {
            isMoving = false
            while let output = viewer.pollOutput() {
                isMoving = true
                switch output {
                case .send(let bytes, let address):
                    #expect(address == LiveServerDouble.address)
                    try server.receive(bytes, from: Self.viewerAddress, at: now)
                case .failed(let reason): failure = reason
                }
            }
            let datagrams = server.outputs
            server.outputs = []
            for datagram in datagrams {
                isMoving = true
                viewer.receive(
                    datagram, from: LiveServerDouble.address, at: now, wallTime: wallTime)
            }
        }
    }

    func pass(_ duration: Duration) throws {
        let end = now + duration
        while now < end {
            now = min(end, now + .milliseconds(10))
            wallTime = wallTime + .milliseconds(10)
            try server.advance(to: now)
            if viewer.deadline <= now { viewer.advance(to: now, wallTime: wallTime) }
            try exchange()
        }
    }

    /// Sends frames 40 ms apart, each stamped 5 ms before; every tenth is an IDR picture.
    func play(_ count: Int) throws {
        for _ in 0..<count {
            server.send(
                frame: number, isRandomAccessPoint: number % 10 == 0,
                wallTime: wallTime + .milliseconds(-5))
            number += 1
            try exchange()
            try pass(.milliseconds(40))
        }
    }
}

@Suite("Live viewer") struct LiveViewerTests {
    @Test("a viewer connects, sees the first IDR picture, and finds nothing wrong")
    func perfect() throws {
        let session = try Session()
        #expect(session.failure == nil)
        #expect(session.viewer.milestones.connected != nil)
        #expect(session.server.keys?.profile == .aeadAES128GCM)
        try session.play(100)
        let counts = session.counts
        #expect(session.viewer.milestones.firstFrame == session.viewer.milestones.firstPacket)
        #expect(counts.frames == 100)
        #expect(counts.framesChecked == 100)
        #expect(counts.packets == 400)
        #expect(counts.lost + counts.duplicated + counts.reordered + counts.refused == 0)
        #expect(counts.framesMissing + counts.framesDamaged + counts.framesUnstamped == 0)
        #expect(counts.timeReversals == 0)
        #expect(counts.latency.quantile(0.99) == .milliseconds(5))
        // The first frame was stamped before the viewer came.
        #expect(counts.latency.count == 99)
        #expect(session.server.requested.isEmpty)
        #expect((3...5).contains(session.server.reports.count))
        #expect(session.server.reports.last?.cumulativeLost == 0)
    }

    @Test("what is dropped is asked for, and comes by resend")
    func recovery() throws {
        let session = try Session { $0.loss = 0.05 }
        try session.play(200)
        session.server.withheld = { _ in false }
        try session.pass(.seconds(1))
        let counts = session.counts
        #expect(counts.dropped > 20)
        #expect(session.server.requested.count >= counts.recovered)
        #expect(counts.recovered > 20)
        #expect(counts.lost == 0)
        #expect(counts.framesMissing + counts.framesDamaged == 0)
        #expect(counts.framesChecked >= 199)
    }

    @Test("what never comes is lost, and its frame damaged")
    func loss() throws {
        let session = try Session()
        session.server.answersRequests = false
        // The third packet of the tenth frame.
        session.server.withheld = { $0 == 39 }
        try session.play(30)
        try session.pass(.seconds(1))
        let counts = session.counts
        #expect(counts.requested > 1)
        #expect(counts.lost == 1)
        #expect(counts.recovered == 0)
        #expect(counts.frames == 29)
        #expect(counts.framesDamaged == 1)
        #expect(counts.framesMissing == 0)
        #expect(counts.framesChecked == 29)
    }

    @Test("frames that are left out, torn, repeated or foreign are counted as such")
    func frames() throws {
        let session = try Session()
        let server = session.server
        func send(_ number: UInt64, camera: UInt16 = 7, isTorn: Bool = false) throws {
            server.send(
                frame: number, isRandomAccessPoint: true, wallTime: session.wallTime,
                camera: camera,
                isTorn: isTorn, parameterSets: true)
            try session.exchange()
            try session.pass(.milliseconds(40))
        }
        try send(1)
        try send(2)
        #expect(session.counts.framesDamaged == 0)
        try send(6)
        #expect(session.counts.framesMissing == 3)
        try send(7, isTorn: true)
        #expect(session.counts.framesDamaged == 1)
        try send(8, camera: 9)
        #expect(session.counts.framesForeign == 1)
        try send(5)
        #expect(session.counts.framesRepeated == 1)
        #expect(session.counts.timeReversals == 1)
        #expect(session.counts.frames == 6)
    }

    @Test("copies of a packet are counted and not taken twice")
    func copies() throws {
        let session = try Session()
        session.server.send(frame: 1, isRandomAccessPoint: true, wallTime: session.wallTime)
        session.server.outputs += session.server.outputs
        try session.exchange()
        #expect(session.counts.duplicated == 4)
        #expect(session.counts.frames == 1)
    }

    @Test("the server's goodbye and its silence end a viewer")
    func ends() throws {
        let closed = try Session()
        try closed.server.close()
        try closed.exchange()
        #expect(closed.failure == .closedByServer)
        let silent = try Session()
        silent.now = silent.now + .seconds(11)
        silent.viewer.advance(to: silent.now)
        while let output = silent.viewer.pollOutput() {
            if case .failed(let reason) = output { silent.failure = reason }
        }
        #expect(silent.failure == .ice)
    }

    @Test("a viewer that leaves tells the server so, and counts no more")
    func leaving() throws {
        let session = try Session()
        try session.play(3)
        session.viewer.leave()
        try session.exchange()
        #expect(session.server.hasEnded)
        let before = session.counts.packets
        session.server.send(frame: 9, isRandomAccessPoint: true, wallTime: session.wallTime)
        try session.exchange()
        #expect(session.counts.packets == before)
    }

    @Test("garbage and foreign packets are refused, never taken")
    func garbage() throws {
        let session = try Session()
        var random = SeededRandom(seed: 5)
        for _ in 0..<2000 {
            var bytes = (0..<Int(random.next() % 100)).map { _ in UInt8(random.next() >> 56) }
            if random.next() % 2 == 0, !bytes.isEmpty { bytes[0] = 0x80 }
            session.viewer.receive(
                ByteBuffer(bytes: bytes), from: LiveServerDouble.address, at: session.now,
                wallTime: session.wallTime)
        }
        #expect(session.counts.packets == 0)
        #expect(session.counts.refused > 900)
        try session.play(10)
        #expect(session.counts.frames == 10)
    }

    @Test("an answer that is none, or that sends nothing reachable, is a failure")
    func answers() throws {
        let identity = try Session.identities.get().0
        for text in ["", "v=0\r\n", "nonsense"] {
            let viewer = LiveViewer(
                .init(), identity: identity, tally: SharedTally(), random: { 7 })
            viewer.accept(answer: ByteBuffer(string: text), at: Instant(nanoseconds: 0))
            guard case .answer = viewer.failure else {
                Issue.record("accepted \(text)")
                continue
            }
        }
    }
}

@Suite("Packet order") struct PacketOrderTests {
    private func packet(_ number: UInt16) throws -> Packet {
        try Packet(
            validating: Packet.serialize(
                marker: false, payloadType: 96, sequenceNumber: SequenceNumber(rawValue: number),
                timestamp: RTPTimestamp(rawValue: 0), ssrc: SSRC(rawValue: 1),
                payload: ByteBuffer(integer: UInt8(1))))
    }

    /// Feeds the numbers at one time; gives what comes out, with nil for a gap.
    private func run(
        _ numbers: [UInt16], _ order: inout PacketOrder, _ tally: inout LiveTally,
        at now: Instant = Instant(nanoseconds: 0)
    ) throws -> [UInt16?] {
        var out: [UInt16?] = []
        for number in numbers {
            let packet = try packet(number)
            if order.receive(packet, at: now, counting: &tally) { out.append(number) }
            while let output = order.pollOutput(at: now, counting: &tally) {
                switch output {
                case .packet(let packet): out.append(packet.sequenceNumber.rawValue)
                case .gap: out.append(nil)
                case .restart: break
                }
            }
        }
        return out
    }

    @Test("what comes out of order leaves in order, across the wrap")
    func reordering() throws {
        var (order, tally) = (PacketOrder(), LiveTally())
        let out = try run([65_534, 0, 65_535, 1, 3, 4, 2], &order, &tally)
        #expect(out == [65_534, 65_535, 0, 1, 2, 3, 4])
        #expect(tally.reordered == 2)
        #expect(tally.lost == 0)
    }

    @Test("a missing packet is asked for again and again, and given up in the end")
    func patience() throws {
        var (order, tally) = (PacketOrder(), LiveTally())
        let start = Instant(nanoseconds: 0)
        #expect(try run([10, 11, 14], &order, &tally) == [10, 11])
        #expect(order.deadline == start)
        #expect(order.requests(at: start).map(\.rawValue) == [12, 13])
        #expect(order.requests(at: start).isEmpty)
        #expect(order.deadline == start + PacketOrder.requestInterval)
        let later = start + PacketOrder.requestInterval
        #expect(order.requests(at: later).map(\.rawValue) == [12, 13])
        #expect(try run([13], &order, &tally, at: later).isEmpty)
        #expect(tally.recovered == 1)
        let end = start + PacketOrder.patience
        #expect(try run([15], &order, &tally, at: end) == [nil, 13, 14, 15])
        #expect(tally.lost == 1)
        #expect(order.requests(at: end).isEmpty)
        #expect(order.deadline == nil)
    }

    @Test("a leap is a new beginning, not sixty thousand losses")
    func leap() throws {
        var (order, tally) = (PacketOrder(), LiveTally())
        #expect(try run([1, 2, 20_000, 20_001], &order, &tally) == [1, 2, 20_000, 20_001])
        #expect(tally.restarts == 1)
        #expect(tally.lost == 0)
    }
}

@Suite("Latency histogram") struct LatencyHistogramTests {
    @Test("quantiles are right to the step, and merge")
    func quantiles() {
        var low = LatencyHistogram()
        #expect(low.quantile(0.5) == nil)
        for step in 1...50 { low.record(.milliseconds(step)) }
        var high = LatencyHistogram()
        for step in 51...100 { high.record(.milliseconds(step)) }
        high.record(.seconds(60))
        high.record(.milliseconds(-3))
        low.merge(high)
        #expect(low.count == 102)
        #expect(low.longest == .seconds(60))
        #expect(low.quantile(0.5) == .microseconds(50_048))
    }

    @Test("a quantile is above what was measured by four in a thousand at most, or a microsecond")
    func steps() {
        var histogram = LatencyHistogram()
        for value in 1...100_000 { histogram.record(.microseconds(value)) }
        for share in [0.00001, 0.001, 0.005, 0.01, 0.5, 0.99, 1] {
            let (exact, found) = (share * 0.1, histogram.quantile(share)?.inSeconds ?? 0)
            #expect(found >= exact * 0.999999 && found <= max(exact * 1.004, exact + 0.000_001_1))
        }
        histogram.record(.seconds(1_000_000))
        #expect(histogram.quantile(1) == .microseconds(1 << 36))
    }
}
