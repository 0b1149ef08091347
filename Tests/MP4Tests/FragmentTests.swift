// The init segment and the fragments: written, read back, moved, damaged, and decoded by ffmpeg.
// SPDX-License-Identifier: Apache-2.0

import Foundation
import H26x
import MP4
import NIOCore
import Primitives
import Testing

@Suite("Init segments")
struct InitSegmentTests {
    @Test("gives back the parameter sets it was made of")
    func roundTrip() throws {
        let sets = try Recording.sampleParameterSets()
        let bytes = InitSegment.serialize(sets)
        #expect(try InitSegment.parameterSets(in: bytes) == sets)
        #expect(InitSegment.serialize(sets) == bytes)
        let start: [UInt8] = [0, 0, 0, 32] + Array("ftypiso6".utf8)
        #expect(Array(bytes.readableBytesView.prefix(12)) == start)
    }

    @Test("survives every truncation and 5,000 seeded mutations")
    func malformed() throws {
        let good = Array(
            InitSegment.serialize(try Recording.sampleParameterSets()).readableBytesView)
        for length in 0..<good.count {
            let cut = ByteBuffer(bytes: good.prefix(length))
            #expect(throws: MP4Error.self) { try InitSegment.parameterSets(in: cut) }
        }
        var random = SeededRandom(seed: 0x1217)
        for _ in 0..<5_000 {
            var bytes = good
            bytes[Int.random(in: 0..<good.count, using: &random)] = .random(
                in: 0...255, using: &random)
            _ = try? InitSegment.parameterSets(in: ByteBuffer(bytes: bytes))
        }
    }
}

@Suite("Fragments")
struct FragmentTests {
    private func fragment() -> BuiltFragment {
        var builder = FragmentBuilder(sequenceNumber: 7, baseDecodeTime: 1 << 40)
        builder.append(Recording.unit(30, isRandomAccessPoint: true), duration: 3600)
        builder.append(Recording.unit(10, isRandomAccessPoint: false), duration: 3601)
        return builder.finish()
    }

    @Test("writes one fragment byte for byte")
    func golden() {
        var builder = FragmentBuilder(sequenceNumber: 2, baseDecodeTime: 0x1_0000_0003)
        builder.append(Recording.unit(1, isRandomAccessPoint: true), duration: 0xE10)
        let expected: [UInt8] =
            [0, 0, 0, 100] + Array("moof".utf8)
            + [0, 0, 0, 16] + Array("mfhd".utf8) + [0, 0, 0, 0, 0, 0, 0, 2]
            + [0, 0, 0, 76] + Array("traf".utf8)
            + [0, 0, 0, 16] + Array("tfhd".utf8) + [0, 2, 0, 0, 0, 0, 0, 1]
            + [0, 0, 0, 20] + Array("tfdt".utf8) + [1, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 3]
            + [0, 0, 0, 32] + Array("trun".utf8) + [0, 0, 7, 1, 0, 0, 0, 1, 0, 0, 0, 108]
            + [0, 0, 0x0E, 0x10, 0, 0, 0, 5, 2, 0, 0, 0]
            + [0, 0, 0, 13] + Array("mdat".utf8) + [0, 0, 0, 1, 0x65]
        let bytes = builder.finish().serialize()
        #expect(Array(bytes.readableBytesView) == expected)
    }

    @Test("reads back what it wrote, and the next fragment starts where this one ends")
    func roundTrip() throws {
        var builder = FragmentBuilder(sequenceNumber: 7, baseDecodeTime: 1 << 40)
        #expect(builder.isEmpty)
        builder.append(Recording.unit(30, isRandomAccessPoint: true), duration: 3600)
        builder.append(Recording.unit(10, isRandomAccessPoint: false), duration: 3601)
        #expect(builder.sampleCount == 2)
        #expect(builder.byteCount == 48)
        #expect(builder.duration == 7201)
        let built = builder.finish()
        #expect(builder.isEmpty && builder.byteCount == 0 && builder.duration == 0)
        #expect(built.startsWithSync && built.sampleCount == 2 && built.duration == 7201)
        let bytes = built.serialize()
        #expect(bytes.readableBytes == built.size)
        let header = try FragmentHeader.parse(bytes)
        #expect(header.size == built.size)
        #expect(header.sequenceNumber == 7)
        #expect(header.baseDecodeTime == 1 << 40)
        #expect(header.duration == 7201)
        #expect(header.firstIsSync)
        #expect(header.samples.map(\.isSync) == [true, false])
        #expect(header.samples.map(\.duration) == [3600, 3601])
        for (sample, original) in zip(header.samples, built.samples) {
            #expect(bytes.getSlice(at: sample.offset, length: sample.size) == original)
        }
        builder.append(Recording.unit(5, isRandomAccessPoint: false), duration: 1)
        let next = try FragmentHeader.parse(builder.finish().head)
        #expect(next.sequenceNumber == 8)
        #expect(next.baseDecodeTime == 1 << 40 + 7201)
        #expect(!next.firstIsSync)
    }

    @Test("refuses a sample whose duration would overflow the fragment's")
    func overflow() {
        var builder = FragmentBuilder(sequenceNumber: 1, baseDecodeTime: 0)
        let unit = Recording.unit(5, isRandomAccessPoint: true)
        let first = builder.append(unit, duration: .max)
        let second = builder.append(unit, duration: 1)
        #expect(first && !second)
        #expect(builder.sampleCount == 1)
    }

    @Test("moves a fragment in time and changes no other byte")
    func rewrite() throws {
        let original = fragment().serialize()
        var moved = ByteBuffer(bytes: [9, 9])
        moved.writeImmutableBuffer(original)
        moved.moveReaderIndex(forwardBy: 2)
        try rewriteBaseDecodeTime(in: &moved, to: 12_345, sequenceNumber: 99)
        let header = try FragmentHeader.parse(moved)
        #expect(header.baseDecodeTime == 12_345 && header.sequenceNumber == 99)
        let difference = zip(moved.readableBytesView, original.readableBytesView)
            .enumerated().filter { $0.element.0 != $0.element.1 }.map(\.offset)
        let timeBytes = header.baseDecodeTimeOffset..<(header.baseDecodeTimeOffset + 8)
        #expect(difference.allSatisfy { timeBytes.contains($0) || (20..<24).contains($0) })
        try rewriteBaseDecodeTime(in: &moved, to: 1 << 40, sequenceNumber: 7)
        #expect(moved == original)
        #expect(throws: MP4Error.self) {
            try rewriteBaseDecodeTime(in: &moved, to: -1, sequenceNumber: 1)
        }
    }

    @Test("survives every truncation and 10,000 seeded mutations")
    func malformed() {
        let head = fragment().head
        let good = Array(head.readableBytesView)
        for length in 0..<good.count {
            let cut = ByteBuffer(bytes: good.prefix(length))
            #expect(throws: MP4Error.self) { try FragmentHeader.parse(cut) }
        }
        var random = SeededRandom(seed: 0xF2A6)
        for _ in 0..<10_000 {
            var bytes = good
            for _ in 0..<Int.random(in: 1...3, using: &random) {
                bytes[Int.random(in: 0..<good.count, using: &random)] = .random(
                    in: 0...255, using: &random)
            }
            guard let header = try? FragmentHeader.parse(ByteBuffer(bytes: bytes)) else { continue }
            #expect(header.samples.allSatisfy { $0.offset + $0.size <= header.size })
        }
    }
}

@Suite("Scanning a recording")
struct FileScannerTests {
    @Test("finds every fragment of a whole file")
    func whole() throws {
        let recording = try Recording.small()
        let found = scan(recording.file).scan
        #expect(found.damage == nil)
        #expect(found.initSegment == 0..<UInt64(recording.ends[0]))
        #expect(found.parameterSets == (try Recording.sampleParameterSets()))
        #expect(found.validLength == UInt64(recording.file.readableBytes))
        #expect(
            found.fragments.map { Int($0.offset + $0.size) } == Array(recording.ends.dropFirst()))
        #expect(found.fragments.map(\.baseDecodeTime) == [0, 14_400, 28_800])
        #expect(found.fragments.allSatisfy { $0.firstIsSync && $0.sampleCount == 4 })
    }

    @Test("finds only whole fragments at every truncation")
    func truncations() throws {
        let recording = try Recording.small()
        for length in 0...recording.file.readableBytes {
            let found = scan(try #require(recording.file.getSlice(at: 0, length: length))).scan
            let whole = recording.ends.filter { $0 <= length }
            #expect(found.fragments.count == max(0, whole.count - 1))
            #expect((found.initSegment != nil) == !whole.isEmpty)
            if let end = whole.last { #expect(found.validLength == UInt64(end)) }
            let ftypBytes = 32
            let isClean = length == 0 || length == ftypBytes || recording.ends.contains(length)
            #expect((found.damage == nil) == isClean)
        }
    }

    @Test("stops where a power cut left zeros, and where reading fails")
    func zeros() throws {
        let recording = try Recording.small()
        var file = recording.file
        file.writeRepeatingByte(0, count: 5000)
        let found = scan(file).scan
        #expect(found.fragments.count == 3)
        #expect(found.validLength == UInt64(recording.file.readableBytes))
        #expect(found.damage != nil)
        var scanner = FileScanner(fileLength: 100)
        _ = scanner.next(nil)
        guard case .done(let failed) = scanner.next(nil) else {
            Issue.record("the scan went on without bytes")
            return
        }
        #expect(failed.damage == "read failed at byte 0")
    }

    @Test("a fragment with a torn head is a hole, and those behind it are found")
    func holes() throws {
        let recording = try Recording.small()
        let whole = scan(recording.file).scan.fragments
        let start = recording.ends[1]
        let hole = UInt64(start)..<UInt64(recording.ends[2])
        // Every byte of the head whose change the boxes themselves show.
        for position in [0, 4, 7, 8, 12, 24, 28, 32, 36, 48, 52, 68, 72] {
            var file = recording.file
            file.setInteger(UInt8(0xA5), at: start + position)
            let found = scan(file).scan
            #expect(found.fragments == [whole[0], whole[2]], "byte \(position)")
            #expect(found.holes == [hole], "byte \(position)")
            #expect(found.damage != nil)
            #expect(found.validLength == UInt64(file.readableBytes))
        }
    }

    @Test("a damaged size of mdat does not swallow the fragment behind it")
    func longMediaData() throws {
        let recording = try Recording.small()
        var file = recording.file
        let start = recording.ends[1]
        let bytes = try #require(file.getSlice(at: start, length: recording.ends[2] - start))
        let header = try FragmentHeader.parse(bytes)
        #expect(header.fillsMediaData)
        let both = UInt32(recording.ends[3] - start - header.moofSize)
        file.setInteger(both, at: start + header.moofSize)
        let found = scan(file).scan
        #expect(found.fragments.map(\.baseDecodeTime) == [0, 28_800])
    }

    @Test("a hole as long as many reads is searched through")
    func longHole() throws {
        let recording = try Recording.small()
        for length in [1, 3, 4, 7, 65_530, 65_536, 200_001] {
            var file = try #require(recording.file.getSlice(at: 0, length: recording.ends[1]))
            file.writeRepeatingByte(UInt8(ascii: "m"), count: length)
            file.writeImmutableBuffer(
                try #require(
                    recording.file.getSlice(
                        at: recording.ends[1], length: recording.ends[3] - recording.ends[1])))
            let found = scan(file).scan
            #expect(found.fragments.count == 3, "\(length)")
            let begin = UInt64(recording.ends[1])
            #expect(found.holes == [begin..<(begin + UInt64(length))])
        }
    }

    @Test("zeros where pictures were are no NAL units")
    func zeroedPictures() throws {
        let bytes = fragmentBytes()
        let header = try FragmentHeader.parse(bytes)
        #expect(header.holdsNALUnits(bytes, .h264))
        var zeroed = bytes
        for index in (header.moofSize + 8)..<bytes.readableBytes {
            zeroed.setInteger(UInt8(0), at: index)
        }
        #expect(!header.holdsNALUnits(zeroed, .h264))
        for start in stride(from: 200, to: 900, by: 37) {
            var torn = bytes
            for index in start..<(start + 64) {
                torn.setInteger(UInt8(0), at: header.moofSize + 8 + index)
            }
            #expect(!header.holdsNALUnits(torn, .h264), "\(start)")
        }
        let cut = try #require(bytes.getSlice(at: 0, length: bytes.readableBytes - 1))
        #expect(!header.holdsNALUnits(cut, .h264))
    }

    private func fragmentBytes() -> ByteBuffer {
        var builder = FragmentBuilder(sequenceNumber: 1, baseDecodeTime: 0)
        builder.append(Recording.unit(2000, isRandomAccessPoint: true), duration: 3600)
        return builder.finish().serialize()
    }

    @Test("survives 3,000 seeded mutations")
    func malformed() throws {
        let file = try Recording.small().file
        var random = SeededRandom(seed: 0x5CA7)
        for _ in 0..<3_000 {
            var mutated = file
            for _ in 0..<3 {
                let index = Int.random(in: 0..<file.readableBytes, using: &random)
                mutated.setInteger(UInt8.random(in: 0...255, using: &random), at: index)
            }
            let found = scan(mutated).scan
            #expect(found.validLength <= UInt64(file.readableBytes))
            #expect(found.fragments.allSatisfy { $0.offset + $0.size <= found.validLength })
        }
    }
}

@Suite("Real pictures")
struct RealPictureTests {
    private static let ffmpeg = [
        "/usr/bin/ffmpeg", "/usr/local/bin/ffmpeg", "/opt/homebrew/bin/ffmpeg",
    ]
    .first { FileManager.default.isExecutableFile(atPath: $0) }

    private func street() throws -> ClipReader {
        try ClipReader("street-720p25-main.mp4", ticksPerPicture: 3600, limit: 125)
    }

    @Test(
        "ffmpeg decodes init segment and fragments without a complaint",
        .enabled(if: ClipReader.isPresent && ffmpeg != nil, "needs ffmpeg and the shared media"))
    func decodes() throws {
        let clip = try street()
        #expect(clip.units.count == 125)
        let recording = Recording(clip.parameterSets, clip.units, duration: 3600)
        let url = FileManager.default.temporaryDirectory
            .appendingPathComponent("marsad-mp4-\(UUID().uuidString).mp4")
        defer { try? FileManager.default.removeItem(at: url) }
        try Data(recording.file.readableBytesView).write(to: url)
        let process = Process()
        process.executableURL = URL(fileURLWithPath: try #require(Self.ffmpeg))
        process.arguments = [
            "-nostdin", "-v", "error", "-xerror", "-i", url.path, "-f", "null", "-progress",
            "pipe:1", "-",
        ]
        let output = Pipe()
        process.standardOutput = output
        process.standardError = output
        try process.run()
        let data = output.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        let text = String(decoding: data, as: UTF8.self)
        #expect(process.terminationStatus == 0, "\(text)")
        #expect(text.contains("frame=125\n"), "\(text)")
        #expect(!text.lowercased().contains("error"), "\(text)")
    }

    @Test(
        "scans a real recording at sampled truncations, reading little of it",
        .enabled(if: ClipReader.isPresent, "needs the shared media (set MARSAD_SHARED)"))
    func truncations() throws {
        let clip = try street()
        let recording = Recording(clip.parameterSets, clip.units, duration: 3600)
        let length = recording.file.readableBytes
        let full = scan(recording.file)
        #expect(full.scan.fragments.count == 3)
        #expect(full.scan.damage == nil)
        #expect(full.bytesRead < length / 100)
        var random = SeededRandom(seed: 1)
        for _ in 0..<300 {
            let cut = Int.random(in: recording.ends[0]..<length, using: &random)
            let found = scan(try #require(recording.file.getSlice(at: 0, length: cut))).scan
            let whole = recording.ends.filter { $0 <= cut }.count - 1
            #expect(found.fragments == Array(full.scan.fragments.prefix(whole)))
        }
    }
}
