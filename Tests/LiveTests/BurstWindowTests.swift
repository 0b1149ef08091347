// The packets that a new viewer starts with, and what is kept for resends.
// SPDX-License-Identifier: Apache-2.0

import H26x
import Live
import NIOCore
import RTPFormats
import Testing

@Suite struct BurstWindowTests {
    @Test("an empty window finds nothing")
    func empty() {
        var window = BurstWindow()
        #expect(window.startFrame == nil)
        #expect(window.last == nil)
        #expect(window.burst(frame: 0) == nil)
        #expect(window.burst(packet: 0) == nil)
        window.removeAll()
        #expect(window.last == nil)
    }

    @Test("a keyframe is where decoding starts, and the newest one counts")
    func startFrame() throws {
        var film = try Film()
        var window = BurstWindow()
        window.append(film.next())
        #expect(window.startFrame == nil)
        window.append(film.next(isRandomAccessPoint: true))
        #expect(window.startFrame == 1)
        window.append(film.next())
        #expect(window.startFrame == 1)
        window.append(film.next(isRandomAccessPoint: true))
        #expect(window.startFrame == 3)
        window.removeAll()
        #expect(window.startFrame == nil)
        #expect(window.bursts.isEmpty)
        window.append(film.next())
        #expect(window.startFrame == nil)
        #expect(window.burst(frame: 4)?.frame == 4)
    }

    @Test("bursts are found by frame and by packet, up to the edges and not beyond")
    func lookUps() throws {
        var film = try Film()
        var window = BurstWindow()
        for _ in 0..<3 { _ = film.next(packets: 5) }
        for packets in [1, 4, 2, 30, 1] { window.append(film.next(packets: packets)) }
        let first = try #require(window.bursts.first)
        let last = try #require(window.last)
        #expect(first.frame == 3)
        #expect(window.burst(frame: 2) == nil)
        #expect(window.burst(frame: 8) == nil)
        #expect(window.burst(frame: .min) == nil)
        #expect(window.burst(frame: .max) == nil)
        for frame in first.frame...last.frame {
            #expect(window.burst(frame: frame)?.frame == frame)
        }
        #expect(window.burst(packet: first.firstPacket - 1) == nil)
        #expect(window.burst(packet: last.endPacket) == nil)
        #expect(window.burst(packet: .min) == nil)
        #expect(window.burst(packet: .max) == nil)
        for packet in first.firstPacket..<last.endPacket {
            let burst = try #require(window.burst(packet: packet))
            #expect((burst.firstPacket..<burst.endPacket).contains(packet))
        }
    }

    @Test("bursts without packets do not hide their neighbours")
    func withoutPackets() throws {
        var film = try Film()
        var packetizer = BurstPacketizer(maxPayload: 1160)
        var window = BurstWindow()
        for index in 0..<9 {
            var unit = film.unit(isRandomAccessPoint: index == 0, packets: 2)
            if index % 3 == 1 || index > 6 { unit.avcc.clear() }
            window.append(packetizer.next(unit, film.sets))
        }
        let end = try #require(window.last).endPacket
        for packet in 0..<end {
            let burst = try #require(window.burst(packet: packet))
            #expect((burst.firstPacket..<burst.endPacket).contains(packet))
        }
        #expect(window.burst(packet: end) == nil)
    }

    @Test("what is older than the group is kept for fifty units, the group itself whole")
    func age() throws {
        var film = try Film()
        var window = BurstWindow()
        for index in 0..<200 { window.append(film.next(isRandomAccessPoint: index == 100)) }
        #expect(window.startFrame == 100)
        #expect(window.bursts.first?.frame == 100)
        for _ in 0..<20 { window.append(film.next()) }
        #expect(window.bursts.first?.frame == 100)
        window.append(film.next(isRandomAccessPoint: true))
        #expect(window.startFrame == 220)
        #expect(window.bursts.first?.frame == 170)
        var headless = BurstWindow()
        for _ in 0..<200 { headless.append(film.next()) }
        #expect(headless.bursts.count == 51)
    }

    @Test("a group of more units than the limit is no beginning any more")
    func tooManyUnits() throws {
        var film = try Film()
        var window = BurstWindow()
        window.append(film.next(isRandomAccessPoint: true, packets: 1))
        for _ in 0..<1499 { window.append(film.next(packets: 1)) }
        #expect(window.bursts.count == 1500)
        #expect(window.startFrame == 0)
        window.append(film.next(packets: 1))
        #expect(window.startFrame == nil)
        #expect(window.burst(frame: 0) == nil)
        window.append(film.next(isRandomAccessPoint: true, packets: 1))
        #expect(window.startFrame == 1501)
    }

    @Test("a group of more bytes than the limit is no beginning any more, one large unit is")
    func tooManyBytes() throws {
        let film = try Film()
        var packetizer = BurstPacketizer(maxPayload: 1160)
        func burst(isRandomAccessPoint: Bool, bytes: Int) -> PacketBurst {
            let slice = ByteBuffer(repeating: isRandomAccessPoint ? 0x65 : 0x41, count: bytes)
            let unit = AccessUnit(
                avcc: AVCC.serialize([slice]), decodeTime: 0,
                isRandomAccessPoint: isRandomAccessPoint, wallTime: nil)
            return packetizer.next(unit, film.sets)
        }
        var window = BurstWindow()
        window.append(burst(isRandomAccessPoint: true, bytes: 5_000_000))
        #expect(window.startFrame == 0)
        window.append(burst(isRandomAccessPoint: false, bytes: 5_000_000))
        #expect(window.startFrame == nil)
        #expect(window.bursts.count == 1)
        window.append(burst(isRandomAccessPoint: true, bytes: 9_000_000))
        #expect(window.startFrame == 2)
        #expect(window.bursts.count == 1)
    }
}
