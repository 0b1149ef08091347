// An H.265 camera's viewers: those who take it get it, the others share one H.264 that is made of it.
// SPDX-License-Identifier: Apache-2.0

import Decoding
import Domain
import Foundation
import H26x
import Live
import NIOCore
import NIOPosix
import Observability
import Primitives
import RTP
import RTPFormats
import Simulation
import Testing
import WebRTC

private let canTest =
    FFmpegProgram.ffmpeg.location != nil && Transcoder.canTranscode(from: .h265)

/// A service with two cameras that send a drawn scene in H.265.
private final class HighEfficiencyRig {
    static let clip = Task { () async throws -> Clip in
        let folder = FileManager.default.temporaryDirectory
            .appendingPathComponent("marsad-test-\(UUID().uuidString)")
        defer { try? FileManager.default.removeItem(at: folder) }
        let clips = try await SceneLibrary.prepare(
            folder: folder.path,
            settings: .init(
                cameras: 1, width: 320, height: 180, framesPerSecond: 10, bitsPerSecond: 300_000,
                gop: 10, loopSeconds: 5, codec: .h265))
        return try #require(clips.first)
    }

    let clock = ManualClock()
    let registry = MetricsRegistry()
    let service: LiveService
    let ids: [CameraID]
    let clip: Clip
    private let loops: MultiThreadedEventLoopGroup
    private let loop: any EventLoop
    private let cameras: [NIOLoopBound<LiveCamera>]
    private var next = 0

    init() async throws {
        clip = try await Self.clip.value
        loops = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        let all = Array(loops.makeIterator())
        let service = try await LiveService(
            world: clock.world, registry: registry, eventLoops: all, port: 0, hasTCP: false,
            addresses: ["127.0.0.1"], maxTranscodes: 1)
        let loop = all[0]
        ids = try [1, 2].map {
            try #require(CameraID("00000000-0000-4000-8000-00000000000\($0)"))
        }
        var cameras: [NIOLoopBound<LiveCamera>] = []
        for id in ids {
            cameras.append(
                try await loop.submit {
                    NIOLoopBound(service.makeCamera(id, on: loop), eventLoop: loop)
                }.get())
        }
        self.cameras = cameras
        self.service = service
        self.loop = loop
    }

    func stop() async throws {
        for camera in cameras { try await loop.submit { camera.value.end() }.get() }
        await service.stop()
        try await loops.shutdownGracefully()
    }

    /// The next unit of both cameras, a tenth of a second after the one before.
    func play() async throws {
        var unit = clip.units[next % clip.units.count]
        unit.decodeTime = Int64(next) * 9000
        unit.wallTime = WallTime(microseconds: Int64(next) * 100_000)
        next += 1
        try await send(unit, clip.parameterSets)
        clock.advance(.milliseconds(100))
    }

    /// A unit of both cameras.
    func send(_ unit: AccessUnit, _ sets: ParameterSets) async throws {
        let now = clock.now
        for camera in cameras {
            try await loop.submit { camera.value.receive(unit, sets, at: now) }.get()
        }
    }

    func interrupt() async throws {
        let now = clock.now
        for camera in cameras {
            try await loop.submit { camera.value.interrupted(.sourceLost, at: now) }.get()
        }
    }

    var transcodes: String? {
        registry.render().split(separator: "\n").first { $0.hasPrefix("cctv_live_transcodes ") }
            .map { String($0.dropFirst("cctv_live_transcodes ".count)) }
    }

    /// Takes what was sent until the viewer has what is wanted.
    func wait(for viewer: Viewer, until isDone: () throws -> Bool) throws {
        var rounds = 0
        while try !isDone() {
            rounds += 1
            try #require(rounds < 3000)
            try viewer.step()
        }
    }

    /// Plays until the viewer has what is wanted.
    func play(to viewer: Viewer, until isDone: () throws -> Bool) async throws {
        var rounds = 0
        while try !isDone() {
            rounds += 1
            try #require(rounds < 3000)
            if rounds % 10 == 0 { try await play() }
            try viewer.step()
        }
    }
}

@Suite(
    "Live H.265",
    .enabled(if: canTest, "ffmpeg is not in PATH, or its libraries lack hevc or libx264"))
struct TranscodeTests {
    private func units(_ viewer: Viewer, _ codec: Codec) throws -> [AccessUnit] {
        var depacketizer = Depacketizer(codec: codec, parameterSets: nil)
        var times = TimestampUnwrapper()
        return try viewer.packets.compactMap {
            try depacketizer.push($0, decodeTime: times.unwrap($0.timestamp))
        }
    }

    private func watch(
        _ rig: HighEfficiencyRig, camera: Int = 0, offer change: (String) -> String = { $0 }
    ) async throws -> Viewer {
        let viewer = try Viewer(rig.clock)
        let answer = try await rig.service.open(rig.ids[camera], offer: change(viewer.offer))
        try viewer.start(answer)
        return viewer
    }

    @Test(
        "viewers without H.265 share one transcode, and what they get is H.264 they can begin with")
    func shared() async throws {
        let rig = try await HighEfficiencyRig()
        for _ in 0..<5 { try await rig.play() }
        let first = try await watch(rig)
        #expect(rig.transcodes == "1")
        let second = try await watch(rig)
        #expect(rig.transcodes == "1")
        try await rig.play(to: first) { try units(first, .h264).count >= 8 }
        try await rig.play(to: second) { try units(second, .h264).count >= 8 }
        for viewer in [first, second] {
            let all = try units(viewer, .h264)
            let keyframe = try #require(all.first)
            #expect(keyframe.isRandomAccessPoint)
            let sets = try ParameterSets(among: keyframe.nalUnits(), .h264)
            let luma = try KeyframeDecoder.luma(
                .h264, parameterSets: sets.inBand, accessUnitAVCC: keyframe.avcc)
            #expect(FrameCode.read(luma: luma.samples, stride: luma.width) != nil)
            for (packet, next) in zip(viewer.packets, viewer.packets.dropFirst()) {
                #expect(next.sequenceNumber.distance(from: packet.sequenceNumber) == 1)
            }
        }
        // A lost picture is answered from the transcode's own group of pictures.
        let count = first.packets.count
        let ssrc = try #require(first.ssrc)
        try first.report([
            .receiverReport(ReceiverReport(ssrc: SSRC(rawValue: 1))),
            .pictureLoss(PictureLossIndication(sender: SSRC(rawValue: 1), media: ssrc)),
        ])
        try await rig.play(to: first) { first.packets.count > count + 8 }
        try await rig.stop()
        #expect(rig.transcodes == "0")
    }

    @Test("a second camera is one too many, and says when to come again; H.265 passes through")
    func limits() async throws {
        let rig = try await HighEfficiencyRig()
        for _ in 0..<3 { try await rig.play() }
        _ = try await watch(rig)
        var refusal: MarsadError?
        do {
            _ = try await watch(rig, camera: 1)
        } catch {
            refusal = error as? MarsadError
        }
        #expect(refusal?.code == .overloaded)
        #expect(refusal?.details["retry_after"] == "10")
        // The client's offer, with H.265 in the place of H.264.
        let viewer = try await watch(rig, camera: 1) { offer in
            offer.split(separator: "\r\n").map { line in
                line.contains("fmtp") && line.contains("profile-level-id")
                    ? line.prefix { $0 != " " } + " profile-id=1;tier-flag=0;level-id=120"
                    : line.replacing("H264/90000", with: "H265/90000")
            }.joined(separator: "\r\n") + "\r\n"
        }
        #expect(rig.transcodes == "1")
        try await rig.play(to: viewer) { try units(viewer, .h265).count >= 8 }
        let all = try units(viewer, .h265)
        #expect(all.first?.isRandomAccessPoint == true)
        let known = Set(rig.clip.units.map(\.avcc))
        #expect(all.allSatisfy { known.contains($0.avcc) })
        try await rig.stop()
    }

    @Test("a transcode nobody comes for ends by itself; an interruption begins it anew")
    func life() async throws {
        let rig = try await HighEfficiencyRig()
        for _ in 0..<3 { try await rig.play() }
        let absent = try Viewer(rig.clock)
        // Opened and never connected: its group is idle once the session is given up.
        let answer = try await rig.service.open(rig.ids[0], offer: absent.offer)
        #expect(rig.transcodes == "1")
        #expect(await rig.service.close(answer.sessionID))
        let viewer = try await watch(rig)
        try await rig.play(to: viewer) { try units(viewer, .h264).count >= 3 }
        try await rig.interrupt()
        let count = try units(viewer, .h264).count
        try await rig.play(to: viewer) { try units(viewer, .h264).count >= count + 3 }
        let after = try units(viewer, .h264)[count...]
        #expect(after.first?.isRandomAccessPoint == true)
        try await rig.stop()
        #expect(rig.transcodes == "0")
    }

    @Test("viewers stay while a camera changes from H.264 to H.265 and back")
    func codecChange() async throws {
        let rig = try await HighEfficiencyRig()
        var film = try Film()
        func playFilm(_ count: Int) async throws {
            for index in 0..<count {
                let unit = film.unit(isRandomAccessPoint: index == 0, packets: 2)
                try await rig.send(unit, film.sets)
            }
        }
        try await playFilm(3)
        let viewer = try await watch(rig)
        #expect(rig.transcodes != "1")
        try rig.wait(for: viewer) { try units(viewer, .h264).count >= 3 }
        try await rig.interrupt()
        try await rig.play(to: viewer) { try units(viewer, .h264).count >= 8 }
        #expect(rig.transcodes == "1")
        let made = try units(viewer, .h264)
        #expect(made[3].isRandomAccessPoint, "what follows the other codec begins with a keyframe")
        try await playFilm(3)
        #expect(rig.transcodes == "0")
        let count = try units(viewer, .h264).count
        try rig.wait(for: viewer) { try units(viewer, .h264).count >= count + 3 }
        #expect(try units(viewer, .h264)[count].isRandomAccessPoint)
        try await rig.stop()
    }
}
