// Pictures out of real recordings, and errors out of damaged ones.
// SPDX-License-Identifier: Apache-2.0
import Decoding
import Foundation
import H26x
import NIOCore
import Primitives
import Testing

/// The first access unit of a test clip with its parameter sets, read by the few boxes it takes.
struct FirstKeyframe {
    let sps: ByteBuffer
    let pps: ByteBuffer
    let accessUnit: ByteBuffer

    static let sharedFolder: String =
        ProcessInfo.processInfo.environment["MARSAD_SHARED"]
        ?? URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent().deletingLastPathComponent().appendingPathComponent("shared")
        .path

    static func path(_ name: String) -> String { sharedFolder + "/media/" + name }

    static var available: Bool {
        FileManager.default.fileExists(atPath: path("street-720p25-main.mp4"))
            && FileManager.default.fileExists(atPath: path("corridor-360p15-baseline.mp4"))
    }

    init(of name: String) throws {
        let data = try Data(contentsOf: URL(fileURLWithPath: Self.path(name)))
        let file = ByteBuffer(bytes: data)
        func position(_ type: String) throws -> Int {
            try #require(data.firstRange(of: Data(type.utf8))?.upperBound)
        }
        let avcC = try position("avcC")
        let spsLength = try #require(file.getInteger(at: avcC + 6, as: UInt16.self))
        sps = try #require(file.getSlice(at: avcC + 8, length: Int(spsLength)))
        let ppsAt = avcC + 8 + Int(spsLength) + 1
        let ppsLength = try #require(file.getInteger(at: ppsAt, as: UInt16.self))
        pps = try #require(file.getSlice(at: ppsAt + 2, length: Int(ppsLength)))
        let size = try #require(file.getInteger(at: try position("stsz") + 12, as: UInt32.self))
        let offset = try #require(file.getInteger(at: try position("stco") + 8, as: UInt32.self))
        accessUnit = try #require(file.getSlice(at: Int(offset), length: Int(size)))
    }

    func jpeg(width: Int? = nil, quality: Int = 80) throws(DecodingError) -> ByteBuffer {
        try KeyframeDecoder.jpeg(
            .h264, parameterSets: [sps, pps], accessUnitAVCC: accessUnit, width: width,
            quality: quality)
    }
}

/// Width and height of a JPEG's SOF0 header (ITU-T T.81 §B.2.2).
private func jpegSize(_ jpeg: ByteBuffer) -> (width: Int, height: Int)? {
    var reader = jpeg
    guard reader.readInteger(as: UInt16.self) == 0xFFD8 else { return nil }
    while let marker = reader.readInteger(as: UInt16.self),
        let length = reader.readInteger(as: UInt16.self), length >= 2,
        var body = reader.readSlice(length: Int(length) - 2)
    {
        guard marker == 0xFFC0 else { continue }
        guard body.readInteger(as: UInt8.self) == 8,
            let height = body.readInteger(as: UInt16.self),
            let width = body.readInteger(as: UInt16.self)
        else { return nil }
        return (Int(width), Int(height))
    }
    return nil
}

@Suite(.enabled(if: FirstKeyframe.available, "needs shared/media (set MARSAD_SHARED)"))
struct KeyframeDecoderTests {
    @Test(
        "makes a JPEG of the picture's own size, or smaller with its aspect",
        arguments: [
            ("street-720p25-main.mp4", nil, 1280, 720), ("street-720p25-main.mp4", 320, 320, 180),
            ("street-720p25-main.mp4", 321, 320, 180), ("street-720p25-main.mp4", 9999, 1280, 720),
            ("corridor-360p15-baseline.mp4", 200, 200, 112),
            ("corridor-360p15-baseline.mp4", -5, 2, 2),
        ] as [(String, Int?, Int, Int)])
    func sizes(name: String, asked: Int?, width: Int, height: Int) throws {
        let jpeg = try FirstKeyframe(of: name).jpeg(width: asked)
        let size = try #require(jpegSize(jpeg))
        #expect(size == (width, height))
        #expect(jpeg.getBytes(at: jpeg.writerIndex - 2, length: 2) == [0xFF, 0xD9])
    }

    @Test("spends more bytes on more quality, and clamps what is out of range")
    func quality() throws {
        let keyframe = try FirstKeyframe(of: "street-720p25-main.mp4")
        let sizes = try [-100, 1, 50, 90, 1000].map { try keyframe.jpeg(quality: $0).readableBytes }
        #expect(sizes[0] == sizes[1])
        #expect(sizes[1] < sizes[2] && sizes[2] < sizes[3] && sizes[3] < sizes[4])
    }

    @Test("gives the luma at full size, the same every time")
    func luma() throws {
        let keyframe = try FirstKeyframe(of: "corridor-360p15-baseline.mp4")
        let luma = try KeyframeDecoder.luma(
            .h264, parameterSets: [keyframe.sps, keyframe.pps],
            accessUnitAVCC: keyframe.accessUnit)
        #expect(luma.width == 640 && luma.height == 360 && luma.samples.count == 640 * 360)
        #expect(Set(luma.samples).count > 50)
        let again = try KeyframeDecoder.luma(
            .h264, parameterSets: [keyframe.sps, keyframe.pps],
            accessUnitAVCC: keyframe.accessUnit)
        #expect(luma == again)
    }

    @Test("refuses lengths that do not fit, empty parameter sets and too much input")
    func refusals() throws {
        let keyframe = try FirstKeyframe(of: "street-720p25-main.mp4")
        func luma(sps: ByteBuffer, unit: ByteBuffer) throws(DecodingError) {
            _ = try KeyframeDecoder.luma(
                .h264, parameterSets: [sps, keyframe.pps], accessUnitAVCC: unit)
        }
        #expect(throws: DecodingError.malformedAccessUnit(offset: 5)) {
            try luma(sps: keyframe.sps, unit: ByteBuffer(bytes: [0, 0, 0, 1, 9, 0, 0, 0, 9, 1]))
        }
        #expect(throws: DecodingError.missingParameterSets) {
            try luma(sps: ByteBuffer(), unit: keyframe.accessUnit)
        }
        #expect(throws: DecodingError.tooLarge) {
            try luma(
                sps: keyframe.sps,
                unit: ByteBuffer(repeating: 0, count: KeyframeDecoder.maxInputBytes))
        }
        #expect(throws: DecodingError.self) { try luma(sps: keyframe.sps, unit: ByteBuffer()) }
    }

    @Test("gives a picture or an error for truncated and mutated input, and never ends the process")
    func sweep() throws {
        let keyframe = try FirstKeyframe(of: "corridor-360p15-baseline.mp4")
        let parts = [keyframe.sps, keyframe.pps, keyframe.accessUnit]
        var random = SeededRandom(seed: 3)
        var errors = 0
        for round in 0..<300 {
            var mutated = parts.map { Array($0.readableBytesView) }
            let part = round % 3
            let count = mutated[part].count
            if round % 2 == 0 {
                mutated[part] = Array(
                    mutated[part].prefix(Int.random(in: 0..<count, using: &random)))
            } else {
                for _ in 0..<Int.random(in: 1...4, using: &random) {
                    mutated[part][Int.random(in: 0..<count, using: &random)] = UInt8.random(
                        in: 0...255, using: &random)
                }
            }
            do {
                _ = try KeyframeDecoder.jpeg(
                    .h264,
                    parameterSets: [
                        ByteBuffer(bytes: mutated[0]), ByteBuffer(bytes: mutated[1]),
                    ],
                    accessUnitAVCC: ByteBuffer(bytes: mutated[2]), width: 64, quality: 50)
            } catch {
                errors += 1
            }
        }
        #expect(errors > 0)
    }
}
