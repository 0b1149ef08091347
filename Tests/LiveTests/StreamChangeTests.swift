// A viewer who goes over to the camera's other stream and back, packet by packet.
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

@Suite final class StreamChangeTests {
    private let scratch = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 16, alignment: 16)
    private let loop = EmbeddedEventLoop()
    private let start = Instant(nanoseconds: 0)
    private let sender: Sender
    private let viewer: Watched
    private var films: [CameraStream: Film] = [:]
    private var groups: [CameraStream: ViewerGroup] = [:]
    private var packets: [Packet] = []

    init() throws {
        let id = try #require(CameraID("00000000-0000-4000-8000-000000000001"))
        sender = try Sender()
        viewer = try Watched(sender, scratch: scratch)
        for stream in CameraStream.allCases {
            groups[stream] = ViewerGroup(
                source: LiveSource(id, stream), timeOffset: 0, eventLoop: loop, at: start)
            films[stream] = try Film(seed: stream == .main ? 5 : 6)
        }
        try group(.main).expect()
        try group(.main).join(viewer.stream)
    }

    deinit { scratch.deallocate() }

    private func group(_ stream: CameraStream) throws -> ViewerGroup {
        try #require(groups[stream])
    }

    private func play(
        _ stream: CameraStream, isRandomAccessPoint: Bool = false, packets count: Int = 3
    )
        throws
    {
        var film = try #require(films[stream])
        let burst = film.next(isRandomAccessPoint: isRandomAccessPoint, packets: count)
        films[stream] = film
        try group(stream).receive(burst)
        try take()
    }

    private func take() throws { packets += try viewer.take().packets }

    private func pass(_ milliseconds: Int64) throws {
        for _ in 0..<milliseconds {
            loop.advanceTime(by: .milliseconds(1))
            try take()
        }
    }

    /// What a viewer's session does: it leaves the one group as it arrives at the other.
    private func move(to stream: CameraStream, from other: CameraStream) throws {
        let left = try group(other)
        try group(stream).admit(viewer.stream) { [viewer, start] in
            left.leave(viewer.stream, at: start)
        }
    }

    private func stream(of packet: Packet) -> CameraStream? {
        CameraStream.allCases.first { films[$0]?.has(packet) ?? false }
    }

    /// Numbers without a gap; times that rise with each picture; whole pictures only, and a keyframe at
    /// each change.
    private func expectContinuous() throws {
        for (packet, next) in zip(packets, packets.dropFirst()) {
            #expect(next.sequenceNumber.distance(from: packet.sequenceNumber) == 1)
            let ticks = next.timestamp.distance(from: packet.timestamp)
            #expect(packet.marker ? ticks > 0 : ticks == 0)
            guard let from = stream(of: packet), let to = stream(of: next), from != to else {
                continue
            }
            let film = try #require(films[to])
            #expect(film.burst(packet: film.number(next))?.isRandomAccessPoint == true)
        }
    }

    @Test("numbers and times go on over a change to the sub-stream and back")
    func thereAndBack() throws {
        // The sub-stream's times lag half a second behind.
        films[.sub]?.time -= 45_000
        try play(.main, isRandomAccessPoint: true)
        try move(to: .sub, from: .main)
        try play(.sub)
        for _ in 0..<5 { try play(.main) }
        #expect(viewer.stream.source == .main)
        try play(.sub, isRandomAccessPoint: true)
        #expect(viewer.stream.source == .sub)
        for _ in 0..<5 {
            try play(.main)
            try play(.sub)
        }
        try move(to: .main, from: .sub)
        try play(.main)
        try play(.sub)
        try play(.main, isRandomAccessPoint: true)
        try play(.sub)
        try play(.main)
        #expect(packets.count == 3 * (6 + 7 + 2))
        try expectContinuous()
        let streams = packets.map(stream(of:))
        #expect(
            streams == Array(repeating: .main, count: 18) + Array(repeating: .sub, count: 21)
                + Array(repeating: .main, count: 6))
        // The main stream's own times hold again.
        let last = try #require(films[.main]?.bursts.last)
        #expect(packets.last?.timestamp.rawValue == 0xFFFF_0000 &+ UInt32(last.decodeTime))
    }

    @Test("a unit that goes out in parts is finished before the other stream begins")
    func inParts() throws {
        try play(.main, isRandomAccessPoint: true)
        try move(to: .sub, from: .main)
        try play(.main, packets: 100)
        #expect(viewer.stream.isMidUnit)
        try play(.sub, isRandomAccessPoint: true, packets: 40)
        #expect(viewer.stream.source == .main)
        try play(.sub)
        try pass(20)
        #expect(viewer.stream.source == .sub)
        try play(.sub)
        try play(.main)
        try pass(20)
        #expect(packets.count == 3 + 100 + 40 + 3 + 3)
        try expectContinuous()
    }

    @Test("what was lost of the stream before is not resent, what is lost of the present one is")
    func resends() throws {
        try play(.main, isRandomAccessPoint: true)
        try move(to: .sub, from: .main)
        try play(.sub, isRandomAccessPoint: true)
        #expect(packets.count == 6)
        let window = try group(.sub).window
        viewer.stream.resend([packets[1].sequenceNumber], from: window)
        #expect(try viewer.take().resends.isEmpty)
        viewer.stream.resend([packets[4].sequenceNumber], from: window)
        let resend = try #require(try viewer.take().resends.first)
        var payload = resend.payload
        #expect(payload.readInteger(as: UInt16.self) == packets[4].sequenceNumber.rawValue)
        #expect(payload.slice() == packets[4].payload)
        #expect(resend.timestamp == packets[4].timestamp)
    }

    @Test("a sender report says the times that the viewer has")
    func report() throws {
        films[.sub]?.time -= 45_000
        try play(.main, isRandomAccessPoint: true)
        try move(to: .sub, from: .main)
        try play(.sub, isRandomAccessPoint: true)
        let newest = try #require(films[.sub]?.bursts.last)
        let report = viewer.stream.senderReport(
            at: WallTime(microseconds: 0), decodeTime: newest.decodeTime)
        #expect(report.rtpTime == packets.last?.timestamp)
    }

    @Test("who leaves before the keyframe does not arrive, nor does one after an interruption")
    func leaves() throws {
        try play(.main, isRandomAccessPoint: true)
        try move(to: .sub, from: .main)
        try group(.sub).leave(viewer.stream, at: start)
        try play(.sub, isRandomAccessPoint: true)
        #expect(viewer.stream.source == .main)
        try move(to: .sub, from: .main)
        try play(.main, packets: 100)
        try play(.sub, isRandomAccessPoint: true)
        try group(.sub).interrupted()
        #expect(try group(.sub).isInterrupted)
        try pass(20)
        #expect(viewer.stream.source == .main)
        try play(.sub, isRandomAccessPoint: true)
        #expect(viewer.stream.source == .sub)
        #expect(try !group(.sub).isInterrupted)
        try play(.main)
        try expectContinuous()
    }
}
