// What a viewer asks for again: which packets it gets, and how much of them.
// SPDX-License-Identifier: Apache-2.0

import Live
import NIOCore
import Primitives
import RTP
import RTPFormats
import Testing
import WebRTC

extension ViewerStreamTests {
    @Test("numbers roll over, and resends know on which side they are")
    func rollOver() throws {
        film = try Film(maxPayload: 64)
        // The highest first number there is: the top bit is not used.
        let viewer = try watched(firstSequence: 0xFFFF)
        var total = 0
        var last: Packet?
        var hasRolledOver = false
        while total < 40_000 {
            play(1, isRandomAccessPoint: total == 0, packets: 40, to: [viewer])
            let packets = try viewer.take().packets
            #expect(packets.count >= 40)
            total += packets.count
            let run = (last.map { [$0] } ?? []) + packets
            let isContinuous = zip(run, run.dropFirst()).allSatisfy {
                $1.sequenceNumber.distance(from: $0.sequenceNumber) == 1
            }
            #expect(isContinuous)
            if let last, let newest = packets.last,
                newest.sequenceNumber.rawValue < last.sequenceNumber.rawValue
            {
                hasRolledOver = true
                viewer.stream.resend(run.map(\.sequenceNumber), from: window)
                let resends = try viewer.take().resends
                #expect(try resends.map { try original($0).payload } == run.map(\.payload))
            }
            last = packets.last
        }
        #expect(hasRolledOver)
    }

    /// The packet that a resend holds.
    private func original(_ resend: Packet) throws -> (number: UInt16, payload: ByteBuffer) {
        var payload = resend.payload
        let number = payload.readInteger(as: UInt16.self)
        return (try #require(number), payload.slice())
    }

    @Test(
        "resends have a stream of their own and say which packet they are",
        arguments: SRTPProfile.allCases)
    func resends(profile: SRTPProfile) throws {
        let viewer = try watched(profile: profile)
        play(4, isRandomAccessPoint: true, packets: 10)
        var packets = try join(viewer)
        play(4, packets: 5, to: [viewer])
        packets += try viewer.take().packets
        let wanted = [packets[0], packets[9], packets[17], packets[packets.count - 1]]
        viewer.stream.resend(wanted.map(\.sequenceNumber), from: window)
        let (rest, resends) = try viewer.take()
        #expect(rest.isEmpty)
        #expect(resends.count == wanted.count)
        for (packet, resend) in zip(wanted, resends) {
            let (number, payload) = try original(resend)
            #expect(number == packet.sequenceNumber.rawValue)
            #expect(payload == packet.payload)
            #expect(resend.timestamp == packet.timestamp)
            #expect(resend.marker == packet.marker)
            #expect(resend.payloadType == 97)
        }
        for (resend, next) in zip(resends, resends.dropFirst()) {
            #expect(next.sequenceNumber.distance(from: resend.sequenceNumber) == 1)
        }
        #expect(viewer.stream.counts.resends == 4)
        // What was not sent yet, or before the first packet, is not resent.
        let last = try #require(packets.last).sequenceNumber
        let before = packets[0].sequenceNumber.advanced(by: -1)
        viewer.stream.resend([last.advanced(by: 1), last.advanced(by: 500), before], from: window)
        #expect(try viewer.take().resends.isEmpty)
    }

    @Test(
        "without a stream for resends the identical packet is sent",
        arguments: SRTPProfile.allCases)
    func identical(profile: SRTPProfile) throws {
        var format = Watched.format
        format.rtxPayloadType = nil
        let viewer = try watched(format: format, profile: profile)
        play(4, isRandomAccessPoint: true, packets: 6)
        let packets = try join(viewer)
        let sent = viewer.datagrams
        viewer.stream.resend(packets.map(\.sequenceNumber), from: window)
        #expect(viewer.receiver.take() == sent)
    }

    @Test("resends reach over the border between what was before a replay and after")
    func borders() throws {
        film = try Film(maxPayload: 64)
        let viewer = try watched()
        play(4, isRandomAccessPoint: true, packets: 4)
        let first = try join(viewer)
        play(2, packets: 4, to: [viewer])
        let live = try viewer.take().packets
        let again = try join(viewer)
        play(2, packets: 4, to: [viewer])
        let packets = try first + live + again + viewer.take().packets
        expectContinuous(packets, film)
        viewer.stream.resend(packets.map(\.sequenceNumber), from: window)
        let resends = try viewer.take().resends
        #expect(resends.count == packets.count)
        for (packet, resend) in zip(packets, resends) {
            let (number, payload) = try original(resend)
            #expect(number == packet.sequenceNumber.rawValue)
            #expect(payload == packet.payload)
            #expect(resend.timestamp == packet.timestamp)
        }
    }

    @Test("a viewer that asks for everything gets a quarter more, and a little at once")
    func budget() throws {
        let viewer = try watched()
        play(1, isRandomAccessPoint: true, packets: 20)
        var asked = try join(viewer)
        var resent = 0
        for _ in 0..<60 {
            play(1, packets: 5, to: [viewer])
            asked += try viewer.take().packets
            for _ in 0..<4 {
                viewer.stream.resend(asked.suffix(60).map(\.sequenceNumber), from: window)
                resent += try viewer.take().resends.reduce(0) { $0 + $1.payload.readableBytes }
            }
        }
        let limit = 24_000 + Double(viewer.stream.counts.bytes) / 4
        #expect(Double(resent) <= limit * 1.01)
        #expect(Double(resent) > limit * 0.9)
    }
}
