// `marsad repair`: what the next start would do for the recordings, done or only told.
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Domain
import Foundation
import Recording

struct Repair: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Adopt recordings without a row; cut unfinished ends; never delete.")

    @Flag(help: "Change nothing, only tell.") var dryRun = false
    @OptionGroup var options: FolderOptions

    private struct Result: Encodable {
        var adopted: [String]
        var trimmed_bytes: [String: UInt64]
        var quarantined: [String: String]
        var damaged: [String]
        var failed: [String: String]
    }

    func run() async throws {
        let world = World.system
        let folder = try await DataFolder.open(
            try options.configuration(), world: world, exclusive: true)
        let report = try await SegmentRepair(
            dataFolder: folder.path, index: RecordingIndex(database: folder.database),
            isDryRun: dryRun
        ).run(at: world.wallTime())
        let result = Result(
            adopted: report.adopted, trimmed_bytes: report.trimmed,
            quarantined: report.quarantined, damaged: report.damaged, failed: report.failed)
        if options.json {
            try printJSON(result)
        } else {
            complain(
                "\(result.adopted.count) adopted, \(result.trimmed_bytes.count) trimmed, "
                    + "\(result.quarantined.count) quarantined, \(result.failed.count) failed")
        }
        if !report.failed.isEmpty { throw ExitCode(1) }
    }
}
