// Parameter sets: of the test's own making, of real cameras, and damaged.
// SPDX-License-Identifier: Apache-2.0

import H26x
import NIOCore
import Primitives
import Testing

@Suite("Sequence parameter sets")
struct SequenceParameterSetTests {
    @Test("reads size, codec name and nothing more from a plain SPS")
    func plain() throws {
        let sps = try H264SequenceParameterSet(parsing: SPSRecipe().nalUnit())
        #expect(sps.width == 1280)
        #expect(sps.height == 720)
        #expect(sps.codecString == "avc1.4D401F")
        #expect(sps.framesPerSecond == nil)
        #expect(sps.maxNumReorderFrames == nil)
        #expect(sps.chromaFormat == 1)
    }

    @Test("reads golden bytes written by hand")
    func golden() throws {
        // 66 00 0A, then 1 | 1 | 011 (poc type 2) | 010 (1 reference) | 0, 40 x 30 blocks, frames
        // only.
        let bytes: [UInt8] = [0x67, 66, 0xC0, 10, 0xDA, 0x02, 0x80, 0xF6, 0x40]
        let sps = try H264SequenceParameterSet(parsing: ByteBuffer(bytes: bytes))
        #expect(sps.width == 640)
        #expect(sps.height == 480)
        #expect(sps.codecString == "avc1.42C00A")
    }

    @Test("crops 1088 coded lines to 1080, and fields count double")
    func cropping() throws {
        var recipe = SPSRecipe(widthInBlocks: 120, heightInUnits: 68)
        recipe.crop = (0, 0, 0, 4)
        var sps = try H264SequenceParameterSet(parsing: recipe.nalUnit())
        #expect(sps.width == 1920)
        #expect(sps.height == 1080)
        recipe = SPSRecipe(widthInBlocks: 120, heightInUnits: 34, framesOnly: false)
        recipe.crop = (1, 2, 0, 2)
        sps = try H264SequenceParameterSet(parsing: recipe.nalUnit())
        #expect(sps.width == 1914)
        #expect(sps.height == 1080)
    }

    @Test("crops in the units of each chroma format", arguments: [0, 1, 2, 3] as [UInt32])
    func chromaCropping(format: UInt32) throws {
        var recipe = SPSRecipe(profile: 244, widthInBlocks: 10, heightInUnits: 10)
        recipe.chromaFormat = format
        recipe.scalingMatrix = true
        recipe.crop = (1, 0, 1, 0)
        let sps = try H264SequenceParameterSet(parsing: recipe.nalUnit())
        #expect(sps.chromaFormat == UInt8(format))
        #expect(sps.width == 160 - (format == 1 || format == 2 ? 2 : 1))
        #expect(sps.height == 160 - (format == 1 ? 2 : 1))
    }

    @Test("refuses cropping that leaves no picture")
    func cropsAll() {
        var recipe = SPSRecipe(widthInBlocks: 2, heightInUnits: 2)
        recipe.crop = (8, 8, 0, 0)
        let nal = recipe.nalUnit()
        #expect(throws: H26xError.self) { try H264SequenceParameterSet(parsing: nal) }
    }

    @Test("reads VUI timing across emulation prevention, behind both HRDs")
    func timing() throws {
        var recipe = SPSRecipe(pictureOrderType: 1)
        recipe.timing = (1, 50)
        recipe.reorderFrames = 2
        recipe.hypotheticalDecoder = true
        let nal = recipe.nalUnit()
        // 00 00 00 01 00 00 00 32 cannot be written without a prevention byte at any bit shift.
        #expect(RBSP.unescape(nal.readableBytesView).count < nal.readableBytes)
        let sps = try H264SequenceParameterSet(parsing: nal)
        #expect(sps.framesPerSecond == 25)
        #expect(sps.maxNumReorderFrames == 2)
    }

    @Test("keeps the size when the VUI is cut or its timing is zero")
    func brokenVUI() throws {
        var recipe = SPSRecipe()
        recipe.timing = (0, 0)
        #expect(try H264SequenceParameterSet(parsing: recipe.nalUnit()).framesPerSecond == nil)
        recipe.timing = (1, 50)
        recipe.reorderFrames = 0
        let nal = recipe.nalUnit()
        let cut = try #require(nal.getSlice(at: 0, length: nal.readableBytes - 3))
        let sps = try H264SequenceParameterSet(parsing: cut)
        #expect(sps.width == 1280)
        #expect(sps.framesPerSecond == 25)
        #expect(sps.maxNumReorderFrames == nil)
    }

    @Test("names the type it met instead of an SPS")
    func wrongType() {
        #expect(throws: H26xError.unexpectedNALUnit(type: 8, offset: 0)) {
            try H264SequenceParameterSet(parsing: ByteBuffer(bytes: [0x68, 0xCE]))
        }
        #expect(throws: H26xError.truncated(offset: 0)) {
            try H264SequenceParameterSet(parsing: ByteBuffer())
        }
    }

    @Test("survives every truncation and 20,000 seeded mutations")
    func malformed() throws {
        var recipe = SPSRecipe(profile: 100)
        recipe.chromaFormat = 1
        recipe.scalingMatrix = true
        recipe.timing = (1, 50)
        recipe.reorderFrames = 1
        let good = Array(recipe.nalUnit().readableBytesView)
        for length in 0..<good.count {
            _ = try? H264SequenceParameterSet(parsing: ByteBuffer(bytes: good.prefix(length)))
        }
        var random = SeededRandom(seed: 0x5B5)
        for _ in 0..<20_000 {
            var bytes = good
            for _ in 0..<Int.random(in: 1...4, using: &random) {
                let index = Int.random(in: 1..<bytes.count, using: &random)
                bytes[index] = UInt8.random(in: 0...255, using: &random)
            }
            guard let sps = try? H264SequenceParameterSet(parsing: ByteBuffer(bytes: bytes)) else {
                continue
            }
            #expect((1...32_768).contains(sps.width) && (1...32_768).contains(sps.height))
        }
    }
}

@Suite("Parameter sets and avcC")
struct ParameterSetsTests {
    private let pps = ByteBuffer(bytes: [0x68, 0xEE, 0x3C, 0x80])

    @Test("writes the record byte for byte")
    func record() throws {
        let sps = SPSRecipe().nalUnit()
        let sets = try ParameterSets(sps: sps, pps: pps)
        var expected: [UInt8] = [1, 77, 0x40, 31, 0xFF, 0xE1, 0, UInt8(sps.readableBytes)]
        expected += Array(sps.readableBytesView)
        expected += [1, 0, 4, 0x68, 0xEE, 0x3C, 0x80]
        #expect(Array(sets.decoderConfiguration().readableBytesView) == expected)
        #expect(try ParameterSets(decoderConfiguration: sets.decoderConfiguration(), .h264) == sets)
    }

    @Test("ends the record of a high profile with chroma format and bit depths")
    func highProfile() throws {
        let sets = try ParameterSets(
            sps: SPSRecipe(profile: 100, chromaFormat: 1).nalUnit(), pps: pps)
        #expect(
            Array(sets.decoderConfiguration().readableBytesView.suffix(4)) == [0xFD, 0xF8, 0xF8, 0])
        #expect(try ParameterSets(decoderConfiguration: sets.decoderConfiguration(), .h264) == sets)
    }

    @Test("keeps one picture set for each id, by rising id, and all of them count")
    func severalPictureSets() throws {
        let sps = SPSRecipe().nalUnit()
        // ue(1) and ue(2) begin 010 and 011.
        let second = ByteBuffer(bytes: [0x68, 0x4E, 0x3C, 0x80])
        let third = ByteBuffer(bytes: [0x68, 0x6E, 0x3C, 0x80])
        let sets = try ParameterSets(
            sps: sps, pictureParameterSets: [third, second, pps, second])
        #expect(sets.pps == pps)
        #expect(sets.inBand == [sps, pps, second, third])
        var tail: [UInt8] = [3]
        for set in [pps, second, third] { tail += [0, 4] + Array(set.readableBytesView) }
        #expect(Array(sets.decoderConfiguration().readableBytesView.suffix(tail.count)) == tail)
        #expect(try ParameterSets(decoderConfiguration: sets.decoderConfiguration(), .h264) == sets)
        let other = try ParameterSets(sps: sps, pictureParameterSets: [pps, second])
        #expect(other != sets)
        #expect(try other != ParameterSets(sps: sps, pps: pps))
        let changed = ByteBuffer(bytes: [0x68, 0x4E, 0x3C, 0x81])
        let newest = try ParameterSets(sps: sps, pictureParameterSets: [pps, second, changed])
        #expect(newest.inBand == [sps, pps, changed])
    }

    @Test("reads the ids of picture sets up to the largest")
    func pictureSetIDs() {
        func id(_ bytes: [UInt8]) -> Int? {
            Codec.h264.pictureParameterSetID(of: ByteBuffer(bytes: [0x68] + bytes))
        }
        #expect(id([0x80]) == 0)
        #expect(id([0x40]) == 1)
        // Eight zeros, then 1_0000_0000 (id 255), and one more than that.
        #expect(id([0x00, 0x80, 0x00]) == 255)
        #expect(id([0x00, 0x80, 0x80]) == nil)
        #expect(id([0x00]) == nil)
        #expect(id([]) == nil)
        #expect(Codec.h264.pictureParameterSetID(of: ByteBuffer()) == nil)
    }

    @Test("reads a record whose further picture sets are damaged")
    func damagedFurtherSet() throws {
        let sets = try ParameterSets(sps: SPSRecipe().nalUnit(), pps: pps)
        var record = sets.decoderConfiguration()
        record.setInteger(UInt8(2), at: record.writerIndex - pps.readableBytes - 3)
        record.writeBytes([0, 2, 0x41, 0x00])
        #expect(try ParameterSets(decoderConfiguration: record, .h264) == sets)
    }

    @Test("refuses swapped, empty and oversized sets")
    func refusals() {
        let sps = SPSRecipe().nalUnit()
        #expect(throws: H26xError.self) { try ParameterSets(sps: pps, pps: sps) }
        #expect(throws: H26xError.self) { try ParameterSets(sps: sps, pps: ByteBuffer()) }
        let huge = ByteBuffer(bytes: [0x68] + [UInt8](repeating: 1, count: 70_000))
        #expect(throws: H26xError.self) { try ParameterSets(sps: sps, pps: huge) }
        #expect(throws: H26xError.self) { try ParameterSets(sps: sps, pictureParameterSets: []) }
    }

    @Test("survives every truncation and 5,000 seeded mutations of a record")
    func malformed() throws {
        let good = try ParameterSets(sps: SPSRecipe().nalUnit(), pps: pps).decoderConfiguration()
        let bytes = Array(good.readableBytesView)
        for length in 0..<bytes.count {
            #expect(throws: H26xError.self) {
                try ParameterSets(
                    decoderConfiguration: ByteBuffer(bytes: bytes.prefix(length)), .h264)
            }
        }
        var random = SeededRandom(seed: 0xACC)
        for _ in 0..<5_000 {
            var mutated = bytes
            mutated[Int.random(in: 0..<bytes.count, using: &random)] = .random(
                in: 0...255, using: &random)
            _ = try? ParameterSets(decoderConfiguration: ByteBuffer(bytes: mutated), .h264)
        }
    }

    @Test(
        "reads the shared clips as ffprobe does",
        .enabled(if: SharedMedia.isPresent, "needs the shared media (set MARSAD_SHARED)"),
        arguments: [
            ("street-720p25-main.mp4", 1280, 720, "avc1.4D401F", 25.0),
            ("corridor-360p15-baseline.mp4", 640, 360, "avc1.42C016", 15.0),
            ("street-360p-aac.mp4", 640, 360, "avc1.4D4016", 12.5),
        ])
    func clips(name: String, width: Int, height: Int, codec: String, rate: Double) throws {
        let record = try #require(try SharedMedia.decoderRecord(name))
        let sets = try ParameterSets(decoderConfiguration: record, .h264)
        #expect(sets.sequence.width == width)
        #expect(sets.sequence.height == height)
        #expect(sets.sequence.codecString == codec)
        #expect(sets.sequence.framesPerSecond == rate)
        #expect(sets.decoderConfiguration() == record)
    }
}
