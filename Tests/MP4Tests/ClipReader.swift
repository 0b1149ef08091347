// Reads the access units of a shared, unfragmented clip, so that the tests need no other reader.
// SPDX-License-Identifier: Apache-2.0

import Foundation
import H26x
import MP4
import NIOCore
import Testing

/// The video of one shared clip: one track, no B-frames, 4-byte NAL unit lengths.
struct ClipReader {
    static let folder: URL = {
        let environment = ProcessInfo.processInfo.environment["MARSAD_SHARED"]
        let repository = URL(fileURLWithPath: #filePath)
            .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
        let shared =
            environment.map { URL(fileURLWithPath: $0) }
            ?? repository.deletingLastPathComponent().appendingPathComponent("shared")
        return shared.appendingPathComponent("media")
    }()

    static var isPresent: Bool { FileManager.default.fileExists(atPath: folder.path) }

    let parameterSets: ParameterSets
    let units: [AccessUnit]

    init(_ name: String, ticksPerPicture: Int64, limit: Int) throws {
        let file = ByteBuffer(
            bytes: try Data(contentsOf: Self.folder.appendingPathComponent(name)))
        parameterSets = try InitSegment.parameterSets(in: file)
        let top = try Box.list(in: file, 0..<file.readableBytes)
        var table = try #require(top.first { $0.type == "moov" })
        for type in ["trak", "mdia", "minf", "stbl"] as [FourCC] {
            table = try #require(Box.list(in: file, table.body).first { $0.type == type })
        }
        let boxes = try Box.list(in: file, table.body)
        func fields(_ type: FourCC) throws -> FieldReader {
            var reader = FieldReader(file, try #require(boxes.first { $0.type == type }).body)
            try reader.skip(4)
            return reader
        }
        var sizes = try fields("stsz")
        try sizes.skip(4)
        let count = min(limit, Int(try sizes.read(UInt32.self)))
        var runs = try fields("stsc")
        var pending: [(firstChunk: UInt32, perChunk: UInt32)] = []
        for _ in 0..<(try runs.read(UInt32.self)) {
            pending.append((try runs.read(UInt32.self), try runs.read(UInt32.self)))
            try runs.skip(4)
        }
        var chunks = try fields("stco")
        var units: [AccessUnit] = []
        for chunk in 1...(try chunks.read(UInt32.self)) {
            var offset = Int(try chunks.read(UInt32.self))
            let perChunk = try #require(pending.last { $0.firstChunk <= chunk }).perChunk
            for _ in 0..<perChunk where units.count < count {
                let size = Int(try sizes.read(UInt32.self))
                let sample = try #require(file.getSlice(at: offset, length: size))
                let isRandomAccessPoint = try AVCC.nalUnits(in: sample).contains {
                    NALUnitType(header: $0.getInteger(at: $0.readerIndex) ?? 0) == .idrSlice
                }
                units.append(
                    AccessUnit(
                        avcc: sample, decodeTime: Int64(units.count) * ticksPerPicture,
                        isRandomAccessPoint: isRandomAccessPoint, wallTime: nil))
                offset += size
            }
        }
        self.units = units
    }
}
