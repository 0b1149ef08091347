// H.265: kinds of NAL units, parameter sets and hvcC; of an encoder, of cameras, and damaged.
// SPDX-License-Identifier: Apache-2.0

import Foundation
import H26x
import NIOCore
import Primitives
import Testing

/// What libx265 wrote for 1280x720 at 10 frames a second, main profile, level 3.1.
private enum Sample {
    static let vps = bytes("40010c01ffff01600000030090000003000003005d928090")
    static let sps = bytes(
        "42010101600000030090000003000003005da00280802d16592a4932b9a8303037080000030008000003005040"
    )
    static let pps = bytes("4401c172b46240")

    static func bytes(_ hex: String) -> ByteBuffer {
        let digits = Array(hex)
        return ByteBuffer(
            bytes: stride(from: 0, to: digits.count, by: 2).compactMap {
                UInt8(String(digits[$0...($0 + 1)]), radix: 16)
            })
    }

    static func sets() throws -> ParameterSets {
        try ParameterSets(vps: vps, sps: sps, pictureParameterSets: [pps])
    }
}

@Suite("H.265 parameter sets")
struct H265Tests {
    @Test("tells what NAL units are for by their first byte, in either codec")
    func kinds() {
        func h265(_ type: UInt8) -> Codec.NALUnitKind { Codec.h265.kind(header: type << 1) }
        #expect([0, 1, 9].map(h265) == [.slice, .slice, .slice])
        // BLA, IDR and CRA: all of them are where decoding can start.
        #expect([16, 19, 20, 21].allSatisfy { h265($0) == .randomAccessSlice })
        #expect([32, 33, 34].allSatisfy { h265($0).isParameterSet })
        #expect([35, 39, 40, 41].map(h265) == [.delimiter, .sei, .other, .other])
        let h264 = [0x41, 0x65, 0x67, 0x68, 0x06, 0x09, 0x42, 0x43, 0x0C].map { (byte: UInt8) in
            Codec.h264.kind(header: byte)
        }
        #expect(
            h264 == [
                .slice, .randomAccessSlice, .sequenceParameterSet, .pictureParameterSet, .sei,
                .delimiter, .slice, .slicePartition, .other,
            ])
        #expect(Codec.h265.kind(of: ByteBuffer()) == nil)
    }

    @Test("reads size, rate, reordering, profile and name")
    func fields() throws {
        let sps = try H265SequenceParameterSet(parsing: Sample.sps)
        #expect(sps.width == 1280 && sps.height == 720)
        #expect(sps.framesPerSecond == 10)
        #expect(sps.maxNumReorderPictures == 0)
        #expect(sps.codecString == "hvc1.1.6.L93.90")
        #expect(sps.chromaFormat == 1 && sps.bitDepthLuma == 8 && sps.bitDepthChroma == 8)
        #expect(sps.temporalLayers == 1 && sps.isTemporallyNested)
        let sequence = try SequenceParameterSet(parsing: Sample.sps, .h265)
        #expect(sequence.codec == .h265 && sequence.width == 1280)
        #expect(throws: H26xError.unexpectedNALUnit(type: 34, offset: 0)) {
            try H265SequenceParameterSet(parsing: Sample.pps)
        }
    }

    @Test("keeps the size when what follows it is cut")
    func cutTail() throws {
        let cut = try #require(Sample.sps.getSlice(at: 0, length: 30))
        let sps = try H265SequenceParameterSet(parsing: cut)
        #expect(sps.width == 1280 && sps.framesPerSecond == nil)
    }

    @Test("writes and reads the record, and needs all three kinds")
    func record() throws {
        let sets = try Sample.sets()
        #expect(sets.codec == .h265)
        #expect(sets.inBand == [Sample.vps, Sample.sps, Sample.pps])
        let record = sets.decoderConfiguration()
        let head: [UInt8] = [
            1, 0x01, 0x60, 0, 0, 0, 0x90, 0, 0, 0, 0, 0, 93, 0xF0, 0, 0xFC, 0xFD, 0xF8, 0xF8, 0, 0,
            0x0F, 3, 0xA0, 0, 1, 0, 24,
        ]
        #expect(Array(record.readableBytesView.prefix(head.count)) == head)
        #expect(try ParameterSets(decoderConfiguration: record, .h265) == sets)
        #expect(throws: H26xError.self) { try ParameterSets(decoderConfiguration: record, .h264) }
        #expect(throws: H26xError.self) { try ParameterSets(sps: Sample.sps, pps: Sample.pps) }
        #expect(throws: H26xError.self) {
            try ParameterSets(among: [Sample.sps, Sample.pps], .h265)
        }
        // In any order, and beside units of other kinds.
        let sei = ByteBuffer(bytes: [0x4E, 1, 5, 0, 0x80])
        let again = try ParameterSets(
            among: [sei, Sample.pps, Sample.sps, Sample.vps], .h265)
        #expect(again == sets)
    }

    @Test("keeps one picture set for each id")
    func pictureSets() throws {
        // ue(1) begins 010.
        let second = ByteBuffer(bytes: [0x44, 1, 0x4E, 0x3C])
        #expect(Codec.h265.pictureParameterSetID(of: Sample.pps) == 0)
        #expect(Codec.h265.pictureParameterSetID(of: second) == 1)
        let sets = try ParameterSets(
            vps: Sample.vps, sps: Sample.sps, pictureParameterSets: [second, Sample.pps, second])
        #expect(sets.pictureParameterSets == [Sample.pps, second])
        let record = sets.decoderConfiguration()
        #expect(try ParameterSets(decoderConfiguration: record, .h265) == sets)
    }

    @Test("survives every truncation and 30,000 seeded mutations")
    func malformed() throws {
        let record = Array(try Sample.sets().decoderConfiguration().readableBytesView)
        for length in record.indices {
            #expect(throws: H26xError.self) {
                try ParameterSets(
                    decoderConfiguration: ByteBuffer(bytes: record.prefix(length)), .h265)
            }
        }
        let good = Array(Sample.sps.readableBytesView)
        for length in good.indices {
            _ = try? H265SequenceParameterSet(parsing: ByteBuffer(bytes: good.prefix(length)))
        }
        var random = SeededRandom(seed: 0x265)
        for round in 0..<30_000 {
            var bytes = round % 3 == 0 ? record : good
            for _ in 0..<Int.random(in: 1...4, using: &random) {
                let index = Int.random(in: 1..<bytes.count, using: &random)
                bytes[index] = UInt8.random(in: 0...255, using: &random)
            }
            if round % 3 == 0 {
                _ = try? ParameterSets(decoderConfiguration: ByteBuffer(bytes: bytes), .h265)
            } else if let sps = try? H265SequenceParameterSet(parsing: ByteBuffer(bytes: bytes)) {
                #expect((1...16_384).contains(sps.width) && (1...16_384).contains(sps.height))
            }
        }
    }

    /// Transcripts of retina (see the media's README). The Dahua camera says its rate in SDP too.
    @Test(
        "reads what cameras announce",
        .enabled(if: SharedMedia.isPresent, "needs the shared media (set MARSAD_SHARED)"),
        arguments: [
            ("dahua_describe_h265_pcma.txt", "hvc1.1.6.L90.B0", 12.0),
            ("tplink_sdp.txt", "hvc1.1.6.L150", nil),
            ("anjvision_describe.txt", "hvc1.1.2.L153", nil),
        ] as [(String, String, Double?)])
    func cameras(name: String, codec: String, rate: Double?) throws {
        let sets = try ParameterSets(
            among: SharedMedia.parameterSets(
                inTranscript: name, keys: ["sprop-vps", "sprop-sps", "sprop-pps"]), .h265)
        #expect(sets.sequence.codecString == codec)
        #expect(sets.sequence.width >= 640 && sets.sequence.height >= 352)
        #expect(sets.sequence.width * 9 <= sets.sequence.height * 20)
        if let rate { #expect(sets.sequence.framesPerSecond == rate) }
        let record = sets.decoderConfiguration()
        #expect(try ParameterSets(decoderConfiguration: record, .h265) == sets)
    }

    @Test(
        "reads the record that ffmpeg wrote into a file",
        .enabled(if: SharedMedia.isPresent, "needs the shared media (set MARSAD_SHARED)"))
    func clip() throws {
        let record = try #require(
            try SharedMedia.decoderRecord("corridor-720p10-hevc.mp4", box: "hvcC"))
        let sets = try ParameterSets(decoderConfiguration: record, .h265)
        #expect(sets == (try Sample.sets()))
    }

    @Test("puts a message of our own into either codec, and finds it there")
    func message() throws {
        let uuid = (0..<16).map { UInt8($0) }
        let payload: [UInt8] = [0, 0, 0, 1, 0, 0, 2, 9]
        for codec in Codec.allCases {
            let nalUnit = SupplementalEnhancement.userDataUnregistered(
                codec, uuid: uuid, payload: payload)
            #expect(codec.kind(of: nalUnit) == .sei)
            let found = SupplementalEnhancement.userDataUnregistered(
                codec, in: nalUnit, uuid: uuid)
            #expect(found == payload)
        }
    }
}
