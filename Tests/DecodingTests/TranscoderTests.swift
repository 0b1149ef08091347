// H.264 out of H.265: frame for frame, at once, with keyframes where they are promised.
// SPDX-License-Identifier: Apache-2.0

import Decoding
import Foundation
import H26x
import NIOCore
import Primitives
import Simulation
import Testing

private let canTest =
    FFmpegProgram.ffmpeg.location != nil && Transcoder.canTranscode(from: .h265)

@Suite(
    "Transcoder",
    .enabled(if: canTest, "ffmpeg is not in PATH, or its libraries lack hevc or libx264"))
struct TranscoderTests {
    /// Five seconds of a drawn scene, whose pictures carry their number; ten a second.
    private static let clip = Task { () async throws -> Clip in
        let folder = FileManager.default.temporaryDirectory
            .appendingPathComponent("marsad-test-\(UUID().uuidString)")
        defer { try? FileManager.default.removeItem(at: folder) }
        let clips = try await SceneLibrary.prepare(
            folder: folder.path,
            settings: .init(
                cameras: 1, width: 320, height: 180, framesPerSecond: 10, bitsPerSecond: 300_000,
                gop: 50, loopSeconds: 5, codec: .h265))
        return try #require(clips.first)
    }

    private func transcode(
        _ units: some Sequence<AccessUnit>, _ clip: Clip, with transcoder: Transcoder,
        isShown: Bool = true
    ) throws -> [[Transcoder.Output]] {
        try units.map { try transcoder.transcode($0, clip.parameterSets, isShown: isShown) }
    }

    /// The number in the picture of an IDR unit.
    private func number(_ output: Transcoder.Output) throws -> UInt16? {
        let luma = try KeyframeDecoder.luma(
            .h264, parameterSets: output.parameterSets.inBand, accessUnitAVCC: output.unit.avcc)
        return FrameCode.read(luma: luma.samples, stride: luma.width)?.frame
    }

    @Test("each unit comes out at once with its own time, a keyframe every two seconds")
    func frameByFrame() async throws {
        let clip = try await Self.clip.value
        #expect(clip.parameterSets.codec == .h265)
        let transcoder = try Transcoder(from: .h265, framesPerSecond: 10)
        let outputs = try transcode(clip.units, clip, with: transcoder)
        #expect(outputs.allSatisfy { $0.count == 1 })
        let units = outputs.flatMap { $0 }.map(\.unit)
        #expect(units.map(\.decodeTime) == clip.units.map(\.decodeTime))
        #expect(units.indices.filter { units[$0].isRandomAccessPoint } == [0, 20, 40])
        for index in [0, 20, 40] {
            let output = try #require(outputs[index].first)
            #expect(try number(output) == UInt16(index))
            let sequence = output.parameterSets.sequence
            #expect(sequence.width == 320 && sequence.height == 180)
            #expect(sequence.codecString.hasPrefix("avc1.42C0"))
            #expect((sequence.maxNumReorderFrames ?? 0) == 0)
        }
    }

    @Test("pictures of the past are decoded and not shown; the first shown one is a keyframe")
    func hiddenPast() async throws {
        let clip = try await Self.clip.value
        let transcoder = try Transcoder(from: .h265, framesPerSecond: nil)
        let past = try transcode(clip.units[..<17], clip, with: transcoder, isShown: false)
        #expect(past.joined().isEmpty)
        let shown = try transcode(clip.units[17..<20], clip, with: transcoder).flatMap { $0 }
        #expect(shown.map(\.unit.isRandomAccessPoint) == [true, false, false])
        #expect(try number(#require(shown.first)) == 17)
    }

    @Test("begins anew at a keyframe after a flush, with times that went back")
    func flush() async throws {
        let clip = try await Self.clip.value
        let transcoder = try Transcoder(from: .h265, framesPerSecond: 10)
        _ = try transcode(clip.units[..<5], clip, with: transcoder)
        transcoder.flush()
        let again = try transcode(clip.units[..<3], clip, with: transcoder).flatMap { $0 }
        #expect(again.count == 3)
        #expect(again.first?.unit.isRandomAccessPoint == true)
        #expect(again.map(\.unit.decodeTime) == clip.units[..<3].map(\.decodeTime))
    }

    @Test("damaged units give pictures or errors, and the next keyframe mends it")
    func damage() async throws {
        let clip = try await Self.clip.value
        let transcoder = try Transcoder(from: .h265, framesPerSecond: 10)
        var random = SeededRandom(seed: 9)
        for round in 0..<40 {
            var unit = clip.units[round]
            for _ in 0..<20 {
                let index = Int.random(in: 5..<unit.avcc.readableBytes, using: &random)
                unit.avcc.setInteger(
                    UInt8.random(in: 0...255, using: &random),
                    at: unit.avcc.readerIndex + index)
            }
            _ = try? transcoder.transcode(unit, clip.parameterSets)
        }
        transcoder.flush()
        let mended = try transcode(clip.units[..<2], clip, with: transcoder).flatMap { $0 }
        #expect(mended.count == 2)
    }

    @Test("a keyframe of H.265 becomes a JPEG and a luma plane")
    func still() async throws {
        let clip = try await Self.clip.value
        let keyframe = try #require(clip.units.first)
        let sets = clip.parameterSets
        let luma = try KeyframeDecoder.luma(
            .h265, parameterSets: sets.inBand, accessUnitAVCC: keyframe.avcc)
        #expect(luma.width == 320 && luma.height == 180)
        #expect(FrameCode.read(luma: luma.samples, stride: 320)?.frame == 0)
        let jpeg = try KeyframeDecoder.jpeg(
            .h265, parameterSets: sets.inBand, accessUnitAVCC: keyframe.avcc, width: 160,
            quality: 80)
        #expect(jpeg.getBytes(at: jpeg.readerIndex, length: 2) == [0xFF, 0xD8])
        #expect(throws: DecodingError.self) {
            try KeyframeDecoder.luma(
                .h264, parameterSets: sets.inBand, accessUnitAVCC: keyframe.avcc)
        }
    }
}
