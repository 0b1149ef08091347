// The whole service in one process: an offer in, packets out, on real sockets and a clock of our own.
// SPDX-License-Identifier: Apache-2.0

import Domain
import H26x
import Live
import NIOCore
import NIOPosix
import Observability
import Primitives
import RTP
import Testing
import WebRTC

@Suite struct LiveServiceTests {
    private func code(_ work: () async throws -> Void) async -> MarsadError? {
        do {
            try await work()
            return nil
        } catch {
            return error as? MarsadError
        }
    }

    @Test("viewers on either loop get the present group, then what comes, and reports")
    func watches() async throws {
        let rig = try await Rig()
        try await rig.play(5, isRandomAccessPoint: true)
        var viewers: [Viewer] = []
        for _ in 0..<6 { viewers.append(try await rig.watch().viewer) }
        #expect(rig.service.viewers() == [rig.id: 6])
        try await rig.play(5)
        for viewer in viewers {
            try rig.until(viewer) { viewer.packets.count >= 30 && !viewer.reports.isEmpty }
            #expect(viewer.packets.count == 30)
            expectRun(viewer.packets)
            guard case .senderReport(let report)? = viewer.reports.first else {
                Issue.record("no sender report")
                continue
            }
            #expect(report.ssrc == viewer.ssrc)
        }
        #expect(
            await rig.service.clock(of: rig.id)?.rtpTime
                == viewers[0].packets[29].timestamp.rawValue)
        // A lost packet and a lost picture are answered.
        let viewer = viewers[0]
        let ssrc = try #require(viewer.ssrc)
        try viewer.report([
            .receiverReport(ReceiverReport(ssrc: SSRC(rawValue: 1))),
            .pictureLoss(PictureLossIndication(sender: SSRC(rawValue: 1), media: ssrc)),
        ])
        try rig.until(viewer) { viewer.packets.count >= 60 }
        #expect(viewer.packets.count == 60)
        expectRun(viewer.packets)
        try await rig.stop()
    }

    @Test("what a viewer was sent, and lost, shows in the metrics while it watches")
    func counts() async throws {
        let rig = try await Rig()
        try await rig.play(3, isRandomAccessPoint: true)
        let (viewer, answer) = try await rig.watch()
        try rig.until(viewer) { viewer.packets.count == 9 }
        let (own, media) = (SSRC(rawValue: 1), try #require(viewer.ssrc))
        let block = ReportBlock(
            ssrc: media, fractionLost: 64, cumulativeLost: 0, extendedHighestSequence: 0,
            jitter: 0)
        try viewer.report([
            .receiverReport(ReceiverReport(ssrc: own, reports: [block])),
            .nack(GenericNACK(sender: own, media: media, lost: [viewer.packets[4].sequenceNumber])),
        ])
        func shows(_ lines: [String]) throws {
            try rig.until(viewer) {
                let text = rig.registry.render()
                return lines.allSatisfy { text.contains("\n" + $0 + "\n") }
            }
        }
        rig.clock.advance(.seconds(2))
        try shows([
            "cctv_webrtc_packets_sent_total 9", "cctv_webrtc_retransmits_total 1",
            "cctv_webrtc_loss_ratio 0.25",
        ])
        #expect(await rig.service.close(answer.sessionID))
        try shows(["cctv_webrtc_packets_sent_total 9", "cctv_webrtc_loss_ratio 0"])
        try await rig.stop()
    }

    @Test("a camera without a picture is no camera to watch; a bad offer is refused")
    func refusals() async throws {
        let rig = try await Rig()
        let viewer = try Viewer(rig.clock)
        let early = await code { _ = try await rig.service.open(rig.id, offer: viewer.offer) }
        #expect(early?.code == .cameraUnavailable)
        #expect(early?.status == 409)
        let unknown = try #require(CameraID("00000000-0000-4000-8000-000000000002"))
        let none = await code { _ = try await rig.service.open(unknown, offer: viewer.offer) }
        #expect(none?.status == 409)
        try await rig.play(1, isRandomAccessPoint: true)
        for text in ["", "v=0\r\n", "nonsense"] {
            let bad = await code { _ = try await rig.service.open(rig.id, offer: text) }
            #expect(bad?.code == .invalidSDP)
        }
        // 64 handshakes at once, and no more until some of them are over.
        for _ in 0..<64 { _ = try await rig.service.open(rig.id, offer: viewer.offer) }
        let full = await code { _ = try await rig.service.open(rig.id, offer: viewer.offer) }
        #expect(full?.code == .overloaded)
        rig.clock.advance(.seconds(11))
        let receiver = try Receiver()
        var steps = 0
        while await code({ _ = try await rig.service.open(rig.id, offer: viewer.offer) }) != nil {
            receiver.wait(milliseconds: 20)
            steps += 1
            try #require(steps < 500)
        }
        try await rig.stop()
    }

    @Test("PATCH asks for the tag, takes candidates, and restarts without a break in the stream")
    func patch() async throws {
        let rig = try await Rig()
        try await rig.play(3, isRandomAccessPoint: true)
        let (viewer, answer) = try await rig.watch()
        let trickle = "a=mid:0\r\na=end-of-candidates\r\n"
        func patch(_ text: String, _ tag: String?, session: String? = nil) async throws
            -> ViewerPatch
        {
            try await rig.service.patch(
                session ?? answer.sessionID, of: rig.id, fragment: text, ifMatch: tag)
        }
        #expect(await code { _ = try await patch(trickle, nil) }?.code == .preconditionRequired)
        #expect(await code { _ = try await patch(trickle, "\"x\"") }?.code == .preconditionFailed)
        #expect(
            await code { _ = try await patch(trickle, answer.etag) }?.code == .preconditionFailed)
        #expect(await code { _ = try await patch("", "*") }?.code == .invalidSDP)
        #expect(await code { _ = try await patch(trickle, "*", session: "x") }?.code == .notFound)
        let tag = "\"\(answer.etag)\""
        guard case .accepted = try await patch(trickle, tag) else {
            Issue.record("a candidate was not accepted")
            return
        }
        let local = ICECredentials(random: rig.clock.world.random)
        let text = "a=ice-ufrag:\(local.ufrag)\r\na=ice-pwd:\(local.password.reveal())\r\n"
        guard case .restarted(let newTag, let fragment) = try await patch(text, tag) else {
            Issue.record("no restart")
            return
        }
        #expect(newTag != answer.etag)
        #expect(await code { _ = try await patch(trickle, tag) }?.code == .preconditionFailed)
        // The old path works until the viewer follows.
        try await rig.play(2)
        try rig.until(viewer) { viewer.packets.count >= 15 }
        try viewer.restart(local, fragment)
        try viewer.move()
        var played = 15
        for _ in 0..<5 {
            try await rig.play(1)
            played += 3
            for _ in 0..<10 { try viewer.step() }
        }
        let steps = viewer.packets.count
        try await rig.play(1)
        try rig.until(viewer) { viewer.packets.count > steps }
        #expect(viewer.packets.count <= played + 3)
        #expect(rig.service.viewers() == [rig.id: 1])
        try await rig.stop()
    }

    @Test("packets follow a viewer to a new address")
    func moves() async throws {
        let rig = try await Rig()
        try await rig.play(3, isRandomAccessPoint: true)
        let (viewer, _) = try await rig.watch()
        for _ in 0..<4 {
            try viewer.move()
            let count = viewer.packets.count
            var pictures = 0
            // What was sent to the old address is lost.
            while viewer.packets.count < count + 6 {
                pictures += 1
                try #require(pictures < 500)
                try await rig.play(1)
                try viewer.step()
            }
        }
        for (packet, next) in zip(viewer.packets, viewer.packets.dropFirst()) {
            #expect(next.sequenceNumber.distance(from: packet.sequenceNumber) >= 1)
        }
        try await rig.stop()
    }

    @Test("a closed session says goodbye, and its viewer gets no more")
    func close() async throws {
        let rig = try await Rig()
        try await rig.play(3, isRandomAccessPoint: true)
        let (viewer, answer) = try await rig.watch()
        let (other, _) = try await rig.watch()
        #expect(await rig.service.close(answer.sessionID))
        #expect(await !rig.service.close(answer.sessionID))
        #expect(rig.service.viewers() == [rig.id: 1])
        try rig.until(viewer) { viewer.hasLeft }
        let count = viewer.packets.count
        try await rig.play(3)
        try rig.until(other) { other.packets.count >= 18 }
        try viewer.step()
        #expect(viewer.packets.count == count)
        let late = await code {
            _ = try await rig.service.patch(
                answer.sessionID, of: rig.id, fragment: "a=mid:0\r\n", ifMatch: "*")
        }
        #expect(late?.code == .notFound)
        try await rig.stop()
    }

    @Test("a viewer that vanished is forgotten")
    func vanishes() async throws {
        let rig = try await Rig()
        try await rig.play(3, isRandomAccessPoint: true)
        let (viewer, answer) = try await rig.watch()
        let stranger = try Receiver()
        var steps = 0
        while !rig.service.viewers().isEmpty {
            stranger.wait(milliseconds: 20)
            rig.clock.advance(.milliseconds(100))
            steps += 1
            try #require(steps < 1000)
        }
        #expect(viewer.keys != nil)
        #expect(await !rig.service.close(answer.sessionID))
        try await rig.stop()
    }

    @Test("a camera's interruption leaves its viewers, and its end ends them")
    func cameraEnds() async throws {
        let rig = try await Rig()
        try await rig.play(3, isRandomAccessPoint: true)
        let (viewer, _) = try await rig.watch()
        try rig.until(viewer) { viewer.packets.count == 9 }
        try await rig.interrupt()
        rig.clock.advance(.seconds(2))
        try await rig.play(3, isRandomAccessPoint: true)
        try rig.until(viewer) { viewer.packets.count == 18 }
        expectRun(viewer.packets)
        // The camera's own times stood still; its viewers' did not.
        let pause = viewer.packets[9].timestamp.distance(from: viewer.packets[8].timestamp)
        #expect(pause >= 180_000)
        try await rig.end()
        try rig.until(viewer) { viewer.hasLeft }
        #expect(rig.service.viewers().isEmpty)
        let late = await code {
            _ = try await rig.service.open(rig.id, offer: try Viewer(rig.clock).offer)
        }
        #expect(late?.status == 409)
        try await rig.stop()
    }
}
