// What one viewer gets, read from a real socket and opened: numbers, times, resends.
// SPDX-License-Identifier: Apache-2.0

import Live
import NIOCore
import Primitives
import RTP
import RTPFormats
import Testing
import WebRTC

@Suite final class ViewerStreamTests {
    let scratch = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 16, alignment: 16)
    let sender: Sender
    var film: Film
    var window = BurstWindow()

    init() throws {
        sender = try Sender()
        film = try Film()
    }

    deinit { scratch.deallocate() }

    func watched(
        format: ViewerFormat = Watched.format, profile: SRTPProfile = .aeadAES128GCM,
        firstSequence: UInt16 = 1000
    ) throws -> Watched {
        try Watched(
            sender, format: format, profile: profile, firstSequence: firstSequence,
            scratch: scratch)
    }

    /// The camera takes pictures; the viewers that follow it get them.
    func play(
        _ count: Int = 1, isRandomAccessPoint: Bool = false, packets: Int = 3,
        to viewers: [Watched] = []
    ) {
        for index in 0..<count {
            let burst = film.next(
                isRandomAccessPoint: isRandomAccessPoint && index == 0, packets: packets)
            window.append(burst)
            for viewer in viewers { viewer.stream.follow(burst, 0..<burst.packetCount) }
        }
    }

    func join(_ viewer: Watched) throws -> [Packet] {
        viewer.stream.begin(with: window)
        var packets: [Packet] = []
        while viewer.stream.catchUp(window, packets: 32) != nil {
            packets += try viewer.take().packets
        }
        return try packets + viewer.take().packets
    }

    func numbers(_ packets: [Packet]) -> [Int64] { packets.map(film.number) }

    @Test(
        "a viewer who joins gets the present group in a hurry, then what comes",
        arguments: SRTPProfile.allCases)
    func joins(profile: SRTPProfile) throws {
        let viewer = try watched(profile: profile)
        play(10)
        play(20, isRandomAccessPoint: true, packets: 4)
        var packets = try join(viewer)
        #expect(viewer.stream.flow == .live(from: 30))
        let first = try #require(packets.first)
        let last = try #require(packets.last)
        #expect(first.sequenceNumber.rawValue == 1000)
        #expect(last.timestamp.distance(from: first.timestamp) < 2000)
        let lastTime = UInt32(truncatingIfNeeded: film.bursts[29].decodeTime) &+ 0xFFFF_0000
        #expect(last.timestamp.rawValue == lastTime)
        play(10, packets: 5, to: [viewer])
        packets += try viewer.take().packets
        expectContinuous(packets, film)
        let start = film.bursts[10].firstPacket
        #expect(numbers(packets) == Array(start..<film.bursts[39].endPacket))
        #expect(viewer.stream.counts.packets == UInt64(packets.count))
        let bytes = viewer.datagrams.reduce(0) { $0 + $1.readableBytes }
        #expect(viewer.stream.counts.bytes == UInt64(bytes))
        let report = viewer.stream.senderReport(at: WallTime(microseconds: 0), decodeTime: 0)
        #expect(report.packetCount == UInt32(packets.count))
    }

    @Test("without a keyframe in the window a viewer waits for the next one")
    func waits() throws {
        let viewer = try watched()
        play(5)
        #expect(try join(viewer).isEmpty)
        #expect(viewer.stream.flow == .waiting)
        #expect(!viewer.stream.losesPicture(at: Instant(nanoseconds: 0)))
        play(3, to: [viewer])
        #expect(try viewer.take().packets.isEmpty)
        play(3, isRandomAccessPoint: true, to: [viewer])
        let packets = try viewer.take().packets
        #expect(film.bursts[8].firstPacket == numbers(packets).first)
        expectContinuous(packets, film)
    }

    @Test("pictures that come while a viewer catches up are neither missed nor doubled")
    func catchesUp() throws {
        let viewer = try watched()
        play(20, isRandomAccessPoint: true, packets: 10)
        viewer.stream.begin(with: window)
        var packets: [Packet] = []
        var rounds = 0
        while viewer.stream.catchUp(window, packets: 32) != nil {
            rounds += 1
            play(1, packets: 8, to: [viewer])
            packets += try viewer.take().packets
        }
        #expect(rounds > 5)
        play(3, to: [viewer])
        packets += try viewer.take().packets
        expectContinuous(packets, film)
        #expect(numbers(packets) == Array(0..<(try #require(window.last).endPacket)))
    }

    @Test("a viewer whose place was cut from the window goes on with the newest keyframe in it")
    func tooSlow() throws {
        let viewer = try watched()
        play(10, isRandomAccessPoint: true, packets: 10)
        viewer.stream.begin(with: window)
        #expect(viewer.stream.catchUp(window, packets: 32) != nil)
        var packets = try viewer.take().packets
        play(60, isRandomAccessPoint: true)
        play(60, isRandomAccessPoint: true)
        while viewer.stream.catchUp(window, packets: 32) != nil {}
        play(2, to: [viewer])
        packets += try viewer.take().packets
        expectContinuous(packets, film)
        let start = try #require(window.startFrame.flatMap { window.burst(frame: $0) })
        #expect(numbers(packets).contains(start.firstPacket))
        #expect(numbers(packets).last == (try #require(window.last).endPacket) - 1)
    }

    @Test("a lost picture is answered with the group once a second, times go on rising")
    func replay() throws {
        let viewer = try watched()
        var now = Instant(nanoseconds: 0)
        play(15, isRandomAccessPoint: true)
        var packets = try join(viewer)
        for _ in 0..<3 {
            play(2, to: [viewer])
            #expect(viewer.stream.losesPicture(at: now))
            // An echo of the loss that is being answered.
            #expect(!viewer.stream.losesPicture(at: now + .milliseconds(200)))
            #expect(viewer.stream.replayDue == nil)
            // Another one, which is not forgotten.
            #expect(!viewer.stream.losesPicture(at: now + .milliseconds(300)))
            #expect(!viewer.stream.takeReplay(at: now + .milliseconds(999)))
            packets += try viewer.take().packets
            let again = try join(viewer)
            #expect(numbers(again) == Array(0..<(try #require(window.last).endPacket)))
            packets += again
            #expect(viewer.stream.takeReplay(at: now + .seconds(1)))
            now = now + .seconds(2)
        }
        play(5, to: [viewer])
        packets += try viewer.take().packets
        expectContinuous(packets, film)
        #expect(numbers(packets).last == (try #require(window.last).endPacket) - 1)
    }

    @Test(
        "a replay is sent as its times say, and no slower than twice the camera's pace",
        arguments: [(frames: 20, pace: 2), (frames: 249, pace: 5)])
    func pacedReplay(_ group: (frames: Int, pace: Int)) throws {
        let viewer = try watched()
        play(group.frames - 1, isRandomAccessPoint: true)
        _ = try join(viewer)
        play(1, to: [viewer])
        let newest = try #require(viewer.take().packets.last).timestamp
        viewer.stream.begin(with: window)
        var sent: [(at: Duration, packet: Packet)] = []
        var elapsed = Duration.zero
        var filmed = 1
        while let pause = viewer.stream.catchUp(window, packets: 32) {
            sent += try viewer.take().packets.map { (elapsed, $0) }
            elapsed += pause
            // The camera goes on meanwhile, a picture each 40 ms.
            while elapsed >= .milliseconds(40) * filmed {
                play(1, to: [viewer])
                filmed += 1
            }
        }
        sent += try viewer.take().packets.map { (elapsed, $0) }
        play(3, to: [viewer])
        expectContinuous(try sent.map(\.packet) + viewer.take().packets, film)
        let first = try #require(sent.first).packet.timestamp
        #expect((1...3600).contains(first.distance(from: newest)))
        for (at, packet) in sent {
            let late = at - .microseconds(packet.timestamp.distance(from: first)) * 100 / 9
            #expect(abs(late / .milliseconds(1)) < 5)
        }
        let behind = Duration.milliseconds(40) * group.frames
        #expect(elapsed < behind / (group.pace - 1) + .milliseconds(40))
        #expect(elapsed > behind / group.pace)
    }

    @Test("a viewer who is far away is not sent everything at once")
    func farAway() throws {
        let viewer = try Watched(sender, isFar: true, scratch: scratch)
        play(20, isRandomAccessPoint: true, packets: 4)
        viewer.stream.begin(with: window)
        #expect(viewer.stream.catchUp(window, packets: 32) == .milliseconds(20))
        var packets = try viewer.take().packets
        #expect(packets.count == 4)
        let newest = UInt32(truncatingIfNeeded: film.bursts[19].decodeTime) &+ 0xFFFF_0000
        #expect(try #require(packets.first).timestamp.rawValue >= newest)
        while viewer.stream.catchUp(window, packets: 32) != nil {}
        play(60, to: [viewer])
        packets += try viewer.take().packets
        expectContinuous(packets, film)
        // It has caught up: the camera's own times count.
        let last = UInt32(truncatingIfNeeded: film.bursts[79].decodeTime) &+ 0xFFFF_0000
        #expect(try #require(packets.last).timestamp.rawValue == last)
    }

    @Test("a replay goes over to a keyframe that comes meanwhile")
    func replayMeetsKeyframe() throws {
        let viewer = try watched()
        play(20, isRandomAccessPoint: true)
        var packets = try join(viewer)
        viewer.stream.begin(with: window)
        for _ in 0..<5 { #expect(viewer.stream.catchUp(window, packets: 32) != nil) }
        viewer.stream.lostPicture(at: Instant(nanoseconds: 0))
        play(2, isRandomAccessPoint: true, to: [viewer])
        while viewer.stream.catchUp(window, packets: 32) != nil {}
        play(2, to: [viewer])
        packets += try viewer.take().packets
        expectContinuous(packets, film)
        let start = film.bursts[20].firstPacket
        #expect(numbers(packets).suffix(12) == Array(start..<film.bursts[23].endPacket)[...])
        #expect(!numbers(packets).suffix(20).contains(film.bursts[10].firstPacket))
        #expect(viewer.stream.replayDue == nil)
    }

    @Test(
        "a replay in the middle of a burst gives the whole burst once more and nothing twice after")
    func replayInBurst() throws {
        let viewer = try watched()
        play(3, isRandomAccessPoint: true)
        _ = try join(viewer)
        let burst = film.next(packets: 40)
        window.append(burst)
        viewer.stream.follow(burst, 0..<16)
        _ = try viewer.take()
        let again = try join(viewer)
        viewer.stream.follow(burst, 16..<burst.packetCount)
        play(1, to: [viewer])
        let packets = try again + viewer.take().packets
        expectContinuous(packets, film)
        #expect(numbers(packets) == Array(0..<(try #require(window.last).endPacket)))
    }

    @Test("a full socket costs the group of pictures; numbers tell, and resends mend")
    func congestion() throws {
        let viewer = try watched()
        play(3, isRandomAccessPoint: true)
        var packets = try join(viewer)
        sender.isFull = true
        play(1, packets: 4, to: [viewer])
        #expect(viewer.stream.flow == .waiting)
        #expect(viewer.stream.counts.congestions == 1)
        play(2, to: [viewer])
        #expect(viewer.stream.counts.congestions == 1)
        sender.isFull = false
        play(2, to: [viewer])
        #expect(try viewer.take().packets.isEmpty)
        let lost = try #require(packets.last).sequenceNumber.advanced(by: 1)
        play(3, isRandomAccessPoint: true, to: [viewer])
        let after = try viewer.take().packets
        let missing = try #require(after.first).sequenceNumber.distance(from: lost)
        #expect((1...4).contains(missing))
        expectContinuous(after, film)
        let time = try #require(packets.last).timestamp
        #expect(try #require(after.first).timestamp.distance(from: time) > 0)
        viewer.stream.resend((0..<missing).map { lost.advanced(by: $0) }, from: window)
        let mended = try viewer.take().resends
        #expect(mended.count == missing)
        packets += after
        // The group that was cut short is not taken up again.
        #expect(viewer.stream.counts.resends == UInt64(missing))
    }

    @Test("a full socket while a viewer catches up sends it back to waiting")
    func congestedJoin() throws {
        let viewer = try watched()
        play(30, isRandomAccessPoint: true, packets: 10)
        sender.isFull = true
        viewer.stream.begin(with: window)
        #expect(viewer.stream.catchUp(window, packets: 32) == nil)
        #expect(viewer.stream.flow == .waiting)
        sender.isFull = false
        play(2, isRandomAccessPoint: true, to: [viewer])
        let packets = try viewer.take().packets
        expectContinuous(packets, film)
        #expect(packets.count == 6)
    }

    @Test("after an interruption the viewer's numbers and times go on")
    func interruption() throws {
        let viewer = try watched()
        play(3, isRandomAccessPoint: true)
        var packets = try join(viewer)
        play(4, to: [viewer])
        window.removeAll()
        viewer.stream.interrupted()
        play(2, to: [viewer])
        play(3, isRandomAccessPoint: true, to: [viewer])
        packets += try viewer.take().packets
        expectContinuous(packets, film)
        #expect(packets.count == 3 * 10)
        // What was before is not resent any more, what is now is.
        let numbers = packets.map(\.sequenceNumber)
        viewer.stream.resend([numbers[3], numbers[23]], from: window)
        let resends = try viewer.take().resends
        #expect(resends.count == 1)
    }

    @Test("where segments are refused, datagrams go out one by one, at once and for good")
    func refused() throws {
        let refusing = try Sender(refusesSegments: true)
        #expect(refusing.socket.canSegment)
        let viewer = try Watched(refusing, scratch: scratch)
        play(5, isRandomAccessPoint: true, packets: 12)
        var packets = try join(viewer)
        #expect(!refusing.socket.canSegment)
        play(5, packets: 12, to: [viewer])
        packets += try viewer.take().packets
        expectContinuous(packets, film)
        #expect(numbers(packets) == Array(0..<(try #require(window.last).endPacket)))
        #expect(sender.socket.canSegment)
    }

    @Test("a keyframe on its way mends a lost picture as well as a replay would")
    func mended() throws {
        let viewer = try watched()
        let now = Instant(nanoseconds: 0)
        play(5, isRandomAccessPoint: true)
        _ = try join(viewer)
        #expect(viewer.stream.losesPicture(at: now))
        viewer.stream.lostPicture(at: now + .milliseconds(500))
        #expect(viewer.stream.replayDue == now + .seconds(1))
        play(1, to: [viewer])
        #expect(viewer.stream.replayDue != nil)
        play(1, isRandomAccessPoint: true, to: [viewer])
        #expect(viewer.stream.replayDue == nil)
    }

    @Test("a large keyframe that is caught up with goes out in parts, too")
    func catchesUpInParts() throws {
        let viewer = try watched()
        play(1, isRandomAccessPoint: true, packets: 40)
        play(3)
        viewer.stream.begin(with: window)
        var sizes: [Int] = []
        var packets: [Packet] = []
        while viewer.stream.catchUp(window, packets: 8) != nil {
            let some = try viewer.take().packets
            sizes.append(some.count)
            packets += some
        }
        packets += try viewer.take().packets
        #expect(sizes.allSatisfy { $0 == 8 })
        expectContinuous(packets, film)
        #expect(numbers(packets) == Array(0..<(try #require(window.last).endPacket)))
    }

    @Test("a viewer's unreachable network is no congestion")
    func unreachable() throws {
        let viewer = try watched()
        play(2, isRandomAccessPoint: true)
        _ = try join(viewer)
        viewer.stream.path = .datagrams(
            sender.socket, TransportAddress(ipv4: 0xFFFF_FFFF, port: 9))
        play(2, to: [viewer])
        #expect(viewer.stream.counts.congestions == 0)
        viewer.stream.path = .datagrams(sender.socket, viewer.receiver.address)
        play(1, to: [viewer])
        #expect(try viewer.take().packets.count == 3)
    }
}
