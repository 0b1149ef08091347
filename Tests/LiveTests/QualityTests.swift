// Viewers of one camera's two streams, through the whole service.
// SPDX-License-Identifier: Apache-2.0

import Domain
import Live
import NIOCore
import Primitives
import RTP
import Testing
import WebRTC

@Suite struct QualityTests {
    /// The viewer's reports of so many seconds, all with this share of packets lost.
    private func report(_ lost: UInt8, seconds: Int, by viewer: Viewer, in rig: Rig) throws {
        let ssrc = try #require(viewer.ssrc)
        for _ in 0..<seconds {
            var block = ReportBlock(ssrc: ssrc)
            block.fractionLost = lost
            try viewer.report([
                .receiverReport(ReceiverReport(ssrc: SSRC(rawValue: 1), reports: [block]))
            ])
            for _ in 0..<5 { try viewer.step() }
            rig.clock.advance(.seconds(1))
        }
    }

    @Test(
        "a viewer who loses much gets the sub-stream, and the main stream again after a good while")
    func quality() async throws {
        let rig = try await Rig()
        try await rig.play(3, isRandomAccessPoint: true)
        let (viewer, _) = try await rig.watch()
        try rig.until(viewer) { viewer.packets.count == 9 }
        try report(64, seconds: 3, by: viewer, in: rig)
        #expect(rig.wishes.isEmpty)
        try report(64, seconds: 2, by: viewer, in: rig)
        try rig.until(viewer) { rig.wishes == [true] }
        // The main stream goes on until the other one has a keyframe.
        try await rig.play(1)
        try rig.until(viewer) { viewer.packets.count == 12 }
        try await rig.playSub(isRandomAccessPoint: true)
        try await rig.play(1)
        try await rig.playSub()
        try rig.until(viewer) { viewer.packets.count == 16 }
        try report(0, seconds: 17, by: viewer, in: rig)
        try await rig.play(1)
        try await rig.playSub()
        try rig.until(viewer) { viewer.packets.count == 18 }
        try await rig.play(2, isRandomAccessPoint: true)
        try await rig.playSub()
        try rig.until(viewer) { viewer.packets.count == 24 }
        expectRun(viewer.packets)
        // Nobody needs the sub-stream any more.
        var steps = 0
        while rig.wishes != [true, false] {
            rig.clock.advance(.seconds(1))
            try report(0, seconds: 1, by: viewer, in: rig)
            steps += 1
            try #require(steps < 5000)
        }
        try await rig.stop()
    }

    @Test("who offers to hear does, also while on the sub-stream; and reports tell the times")
    func sound() async throws {
        let rig = try await Rig()
        try await rig.play(3, isRandomAccessPoint: true)
        try await rig.sing(1...1)
        let viewer = try Viewer(rig.clock, hasAudio: true)
        try viewer.start(try await rig.service.open(rig.id, offer: viewer.offer, quality: .medium))
        try rig.until(viewer) { viewer.packets.count == 9 }
        try await rig.sing(2...4)
        try rig.until(viewer) { viewer.sound.count == 3 }
        let first = viewer.sound[0]
        #expect(first.payloadType == 8)
        #expect(first.payload == ByteBuffer(repeating: 2, count: 160))
        for (packet, next) in zip(viewer.sound, viewer.sound.dropFirst()) {
            #expect(next.sequenceNumber.distance(from: packet.sequenceNumber) == 1)
            #expect(next.timestamp.distance(from: packet.timestamp) == 160)
        }
        try report(0, seconds: 3, by: viewer, in: rig)
        try await rig.playSub(isRandomAccessPoint: true)
        try rig.until(viewer) { viewer.packets.count == 11 }
        try await rig.sing(5...5)
        try rig.until(viewer) { viewer.sound.count == 4 }
        try rig.until(viewer) {
            viewer.reports.contains {
                guard case .senderReport(let report) = $0 else { return false }
                return report.ssrc == viewer.audioSSRC && report.packetCount == 4
                    && report.rtpTime == viewer.sound[3].timestamp
            }
        }
        // A viewer who does not offer to hear has nothing of it.
        let (deaf, _) = try await rig.watch()
        try await rig.sing(6...6)
        try rig.until(viewer) { viewer.sound.count == 5 }
        try deaf.step()
        #expect(deaf.sound.isEmpty)
        try await rig.stop()
    }

    @Test("LOW begins with the sub-stream, MEDIUM goes over to it, and back while it is lost")
    func lowAndMedium() async throws {
        let rig = try await Rig()
        try await rig.play(3, isRandomAccessPoint: true)
        let low = try Viewer(rig.clock)
        let answer = try await rig.service.open(rig.id, offer: low.offer, quality: .low)
        try low.start(answer)
        try rig.until(low) { low.keys != nil && rig.wishes == [true] }
        let (medium, _) = try await rig.watch(quality: .medium)
        try rig.until(medium) { medium.packets.count == 9 }
        try report(0, seconds: 3, by: medium, in: rig)
        try await rig.playSub(isRandomAccessPoint: true)
        try rig.until(low) { low.packets.count == 2 }
        try rig.until(medium) { medium.packets.count == 11 }
        try await rig.interruptSub()
        try report(0, seconds: 3, by: medium, in: rig)
        try await rig.play(1, isRandomAccessPoint: true)
        try rig.until(medium) { medium.packets.count == 14 }
        expectRun(medium.packets)
        #expect(low.packets.count == 2)
        try await rig.stop()
    }
}
