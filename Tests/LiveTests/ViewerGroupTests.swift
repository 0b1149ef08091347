// Many viewers of one camera: who joins, leaves and falls behind, and nobody misses or doubles a packet.
// SPDX-License-Identifier: Apache-2.0

import Domain
import Live
import NIOCore
import NIOEmbedded
import Primitives
import RTP
import RTPFormats
import Testing
import WebRTC

@Suite final class ViewerGroupTests {
    private let scratch = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 16, alignment: 16)
    private let loop = EmbeddedEventLoop()
    private let sender: Sender
    private let receiver: Receiver
    private var film: Film
    private let group: ViewerGroup
    private var viewers: [Watched] = []
    private var packets: [UInt32: [Packet]] = [:]

    init() throws {
        sender = try Sender()
        receiver = try Receiver()
        film = try Film(maxPayload: 64)
        let id = try #require(CameraID("00000000-0000-4000-8000-000000000001"))
        group = ViewerGroup(
            source: LiveSource(id), timeOffset: 0, eventLoop: loop, at: Instant(nanoseconds: 0))
    }

    deinit { scratch.deallocate() }

    @discardableResult
    private func join() throws -> Watched {
        var format = Watched.format
        format.ssrc = SSRC(rawValue: UInt32(viewers.count + 1) << 8)
        let viewer = try Watched(
            sender, receiver: receiver, format: format,
            firstSequence: UInt16(viewers.count * 7), scratch: scratch)
        viewers.append(viewer)
        group.expect()
        group.join(viewer.stream)
        try take()
        return viewer
    }

    private func take() throws {
        var all: [UInt32: [ByteBuffer]] = [:]
        for datagram in receiver.take() {
            let ssrc = datagram.getInteger(at: datagram.readerIndex + 8, as: UInt32.self) ?? 0
            all[ssrc, default: []].append(datagram)
        }
        for viewer in viewers {
            guard let datagrams = all[viewer.format.ssrc.rawValue] else { continue }
            packets[viewer.format.ssrc.rawValue, default: []] += try viewer.open(datagrams).packets
        }
    }

    private func numbers(_ viewer: Watched) -> [Int64] {
        packets[viewer.format.ssrc.rawValue, default: []].map(film.number)
    }

    private func play(isRandomAccessPoint: Bool = false, packets: Int = 3) throws {
        group.receive(film.next(isRandomAccessPoint: isRandomAccessPoint, packets: packets))
        try take()
    }

    /// One turn of the loop, and so much time for its timers.
    private func turn(_ time: TimeAmount = .zero) throws {
        if time == .zero { loop.run() } else { loop.advanceTime(by: time) }
        try take()
    }

    private func settle() throws {
        for _ in 0..<300 { try turn(.milliseconds(1)) }
    }

    @Test("a large unit goes out in parts, and two viewers get all of it")
    func parts() throws {
        let first = try join()
        let second = try join()
        try play(isRandomAccessPoint: true, packets: 100)
        #expect(numbers(first).count == 32)
        try turn(.milliseconds(3))
        #expect(numbers(second).count == 64)
        try play(packets: 5)
        try settle()
        let all = Array(0..<film.bursts[1].endPacket)
        #expect(numbers(first) == all)
        #expect(numbers(second) == all)
    }

    @Test("a viewer who joins while parts wait gets the unit once")
    func joinsInParts() throws {
        let first = try join()
        try play(isRandomAccessPoint: true, packets: 100)
        try turn(.milliseconds(3))
        let second = try join()
        try play(packets: 40)
        let third = try join()
        try settle()
        try play(packets: 40)
        try settle()
        let all = Array(0..<film.bursts[2].endPacket)
        for viewer in [first, second, third] { #expect(numbers(viewer) == all) }
    }

    @Test("viewers who leave in the middle of a turn take nobody's packets with them")
    func leaveInTurns() throws {
        for _ in 0..<130 { try join() }
        try play(isRandomAccessPoint: true, packets: 3)
        // A hundred were served; some of them leave, and some of those who wait.
        for index in [0, 99, 50, 100, 129] {
            group.leave(viewers[index].stream, at: Instant(nanoseconds: 5))
        }
        try join()
        try play(packets: 2)
        try settle()
        let all = Array(0..<film.bursts[1].endPacket)
        for (index, viewer) in viewers.enumerated() {
            if [100, 129].contains(index) {
                #expect(numbers(viewer).isEmpty)
            } else if ![0, 99, 50].contains(index) {
                #expect(numbers(viewer) == all, "viewer \(index)")
            }
        }
        #expect(group.viewers.count == 126)
    }

    @Test("a viewer who leaves while it catches up gets no more")
    func leavesInCatchUp() throws {
        for index in 0..<20 { try play(isRandomAccessPoint: index == 0, packets: 20) }
        let viewer = try join()
        let count = numbers(viewer).count
        #expect(count < 100)
        group.leave(viewer.stream, at: Instant(nanoseconds: 5))
        try settle()
        #expect(numbers(viewer).count == count)
    }

    @Test("what the camera kept reaches those who were waiting")
    func start() throws {
        let viewer = try join()
        var window = BurstWindow()
        for index in 0..<5 { window.append(film.next(isRandomAccessPoint: index == 0)) }
        group.start(with: window)
        try settle()
        try play()
        #expect(numbers(viewer) == Array(0..<film.bursts[5].endPacket))
    }

    @Test("a group is idle a while after the last session, also one that never joined")
    func idles() throws {
        let later = Instant(nanoseconds: 0) + .seconds(11)
        #expect(group.isIdle(at: later))
        group.expect()
        let viewer = try join()
        #expect(!group.isIdle(at: later + .seconds(11)))
        group.leave(nil, at: later)
        #expect(!group.isIdle(at: later + .seconds(11)))
        group.leave(viewer.stream, at: later)
        #expect(!group.isIdle(at: later + .seconds(9)))
        #expect(group.isIdle(at: later + .seconds(11)))
    }

    @Test("an interruption ends a group for all; the next keyframe begins for all")
    func interruption() throws {
        let first = try join()
        for index in 0..<20 { try play(isRandomAccessPoint: index == 0, packets: 20) }
        let second = try join()
        group.interrupted()
        try settle()
        let third = try join()
        try play(packets: 2)
        try play(isRandomAccessPoint: true, packets: 2)
        try settle()
        let new = Array(film.bursts[21].firstPacket..<film.bursts[21].endPacket)
        for viewer in [first, second, third] {
            #expect(numbers(viewer).suffix(new.count) == new[...])
        }
        #expect(numbers(third) == new)
        #expect(!numbers(first).contains(film.bursts[20].firstPacket))
    }

    /// Any order of units, joins, leaves, replays and turns: numbers without a gap, and pictures that
    /// follow each other but where a replay begins at the newest keyframe.
    @Test("no packet is missed or doubled, whatever happens when", arguments: UInt64(1)...8)
    func seeded(seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        let crowd = seed % 4 == 0 ? 130 : 4
        var replays: [ObjectIdentifier: Int] = [:]
        for _ in 0..<crowd { try join() }
        var gone: Set<Int> = []
        for step in 0..<(crowd > 100 ? 25 : 120) {
            switch Int.random(in: 0..<12, using: &random) {
            case 0...4:
                let isRandomAccessPoint = Int.random(in: 0..<10, using: &random) == 0 || step < 3
                let isLarge = Int.random(in: 0..<3, using: &random) == 0
                let most = crowd > 100 ? 70 : 150
                let packets = isLarge ? Int.random(in: 30...most, using: &random) : 2
                try play(isRandomAccessPoint: isRandomAccessPoint, packets: packets)
                // A crowd's packets of several units are more than a socket holds.
                if crowd > 100 { try turn() }
            case 5:
                try join()
            case 6:
                let index = Int.random(in: 0..<viewers.count, using: &random)
                group.leave(viewers[index].stream, at: Instant(nanoseconds: 1))
                gone.insert(index)
            case 7:
                let index = Int.random(in: 0..<viewers.count, using: &random)
                let now = Instant(nanoseconds: Int64(step) * 2_000_000_000)
                guard !gone.contains(index), viewers[index].stream.losesPicture(at: now) else {
                    break
                }
                replays[ObjectIdentifier(viewers[index]), default: 0] += 1
                group.replay(viewers[index].stream)
                try take()
            case 8, 9: try turn()
            default: try turn(.milliseconds(Int64.random(in: 1...60, using: &random)))
            }
        }
        try play(isRandomAccessPoint: true)
        try settle()
        let end = try #require(film.bursts.last).endPacket
        let starts = Set(film.bursts.filter(\.isRandomAccessPoint).map(\.firstPacket))
        for (index, viewer) in viewers.enumerated() {
            let numbers = numbers(viewer)
            let run = packets[viewer.format.ssrc.rawValue, default: []]
            let isContinuous = zip(run, run.dropFirst()).allSatisfy {
                $1.sequenceNumber.distance(from: $0.sequenceNumber) == 1
            }
            #expect(isContinuous, "seed \(seed) viewer \(index)")
            let jumps = zip(numbers, numbers.dropFirst()).filter { $1 != $0 + 1 }
            #expect(jumps.allSatisfy { starts.contains($1) }, "seed \(seed) viewer \(index)")
            let replays = replays[ObjectIdentifier(viewer), default: 0]
            #expect(jumps.count { $1 <= $0 } <= replays, "seed \(seed)")
            // A replay goes over to a newer keyframe; nothing else leaves a picture out.
            #expect(replays > 0 || jumps.isEmpty, "seed \(seed)")
            if let first = numbers.first { #expect(starts.contains(first), "seed \(seed)") }
            if !gone.contains(index) { #expect(numbers.last == end - 1, "seed \(seed)") }
        }
    }
}
