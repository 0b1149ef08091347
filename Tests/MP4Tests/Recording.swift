// Recordings of the tests' own making, and a driver for the scanner.
// SPDX-License-Identifier: Apache-2.0

import H26x
import MP4
import NIOCore

/// A file as the recorder would write it, and where its parts end.
struct Recording {
    var file: ByteBuffer
    var ends: [Int]

    /// 640x480 Baseline, and a PPS that only its header makes one.
    static func sampleParameterSets() throws -> ParameterSets {
        let sps: [UInt8] = [0x67, 66, 0xC0, 10, 0xDA, 0x02, 0x80, 0xF6, 0x40]
        return try ParameterSets(
            sps: ByteBuffer(bytes: sps), pps: ByteBuffer(bytes: [0x68, 0xCE, 0x38, 0x80]))
    }

    static func unit(_ size: Int, isRandomAccessPoint: Bool) -> AccessUnit {
        let nal = [isRandomAccessPoint ? 0x65 : 0x41] + [UInt8](repeating: 0xAB, count: size - 1)
        return AccessUnit(
            avcc: AVCC.serialize([ByteBuffer(bytes: nal)]), decodeTime: 0,
            isRandomAccessPoint: isRandomAccessPoint,
            wallTime: nil)
    }

    /// Cuts a fragment before each IDR picture.
    init(_ parameterSets: ParameterSets, _ units: [AccessUnit], duration: UInt32) {
        file = InitSegment.serialize(parameterSets)
        ends = [file.readableBytes]
        var builder = FragmentBuilder(
            sequenceNumber: 1, baseDecodeTime: units.first?.decodeTime ?? 0)
        func close() {
            guard !builder.isEmpty else { return }
            file.writeImmutableBuffer(builder.finish().serialize())
            ends.append(file.readableBytes)
        }
        for unit in units {
            if unit.isRandomAccessPoint { close() }
            builder.append(unit, duration: duration)
        }
        close()
    }

    /// Three fragments of four small pictures.
    static func small() throws -> Recording {
        let units = (0..<12).map { Recording.unit(20 + $0, isRandomAccessPoint: $0 % 4 == 0) }
        return Recording(try sampleParameterSets(), units, duration: 3600)
    }
}

/// Answers a scanner from memory; also says how many bytes it asked for.
func scan(_ file: ByteBuffer) -> (scan: FileScanner.Scan, bytesRead: Int) {
    var scanner = FileScanner(fileLength: UInt64(file.readableBytes))
    var bytes: ByteBuffer?
    var bytesRead = 0
    while true {
        switch scanner.next(bytes) {
        case .need(let offset, let count):
            bytes = file.getSlice(at: Int(offset), length: count)
            bytesRead += count
        case .done(let scan):
            return (scan, bytesRead)
        }
    }
}
