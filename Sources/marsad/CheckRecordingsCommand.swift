// `marsad check`: reads recordings of simulated cameras and names each missing or damaged frame.
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Domain
import Foundation
import H26x
import MP4
import NIOCore
import Recording
import Simulation

/// The stamps of the simulator's frames make a recording checkable unit by unit (checksums).
struct CheckRecordings: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "check", abstract: "Check recordings of simulated cameras, frame by frame.")

    @Argument(help: "A folder of recordings of one camera, or of many.") var folder: String

    private struct Result: Encodable {
        var cameras = 0
        var files = 0
        var frames: UInt64 = 0
        var missing: UInt64 = 0
        var doubled: UInt64 = 0
        var out_of_order: UInt64 = 0
        var damaged: UInt64 = 0
        var unstamped: UInt64 = 0
        var foreign: UInt64 = 0
    }

    func run() async throws {
        var isFolder: ObjCBool = false
        guard FileManager.default.fileExists(atPath: folder, isDirectory: &isFolder),
            isFolder.boolValue
        else { throw ConfigurationError(description: "\(folder): not a folder of recordings") }
        var byCamera: [String: [String]] = [:]
        let root = URL(fileURLWithPath: folder).standardizedFileURL.path
        for file in SegmentFile.files(below: root) where file.hasSuffix(".mp4") {
            // …/{camera}/{yyyy}/{mm}/{dd}/segment_….mp4
            let camera = file.split(separator: "/").dropLast(4).joined(separator: "/")
            byCamera[camera, default: []].append(root + "/" + file)
        }
        var result = Result()
        for files in byCamera.values {
            var checker = StampChecker()
            for file in files { try check(file, &checker) }
            result.cameras += 1
            result.files += files.count
            result.frames += checker.report.frames
            result.missing += checker.report.missing
            result.doubled += checker.report.doubled
            result.out_of_order += checker.report.outOfOrder
            result.damaged += checker.report.damaged
            result.unstamped += checker.report.unstamped
            result.foreign += checker.report.foreign
        }
        try printJSON(result)
    }

    private func check(_ file: String, _ checker: inout StampChecker) throws {
        let size = try FileManager.default.attributesOfItem(atPath: file)[.size] as? UInt64 ?? 0
        var scanner = FileScanner(fileLength: size)
        var step = scanner.next(nil)
        while case .need(let offset, let count) = step {
            step = scanner.next(try SegmentFile.read(file, offset: offset, count: count))
        }
        guard case .done(let scan) = step else { return }
        for fragment in scan.fragments {
            let bytes = try SegmentFile.read(
                file, offset: fragment.offset, count: Int(clamping: fragment.size))
            for sample in try FragmentHeader.parse(bytes).samples {
                guard let unit = bytes.getSlice(at: sample.offset, length: sample.size) else {
                    continue
                }
                checker.append(
                    AccessUnit(
                        avcc: unit, decodeTime: 0, isRandomAccessPoint: sample.isSync, wallTime: nil
                    ))
            }
        }
    }
}
