// `marsad camera import`: many cameras from a file of CSV or JSON.
// SPDX-License-Identifier: Apache-2.0

import API
import ArgumentParser
import Domain
import Foundation
import Ingest
import NIOCore

extension CameraCommand {
    struct Import: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract:
                "Add and change the cameras that a file lists; the same file twice does nothing.",
            discussion: """
                The file is CSV with a header, or a JSON array of objects (a name that ends with \
                .json): name, name_ar, source, folder_id, external_id, rtsp_url, sub_rtsp_url, \
                has_audio, recording, retention_days. Ends with 1 where a line was refused; the \
                others are done all the same.
                """)

        @Argument(help: "The file.") var file: String
        @Flag(help: "Say what would be done, and do nothing.") var dryRun = false
        @OptionGroup var options: FolderOptions

        func run() async throws {
            guard let handle = FileHandle(forReadingAtPath: file),
                let data = try? handle.read(upToCount: Self.bytes + 1)
            else {
                throw ConfigurationError(description: "\(file): cannot be read")
            }
            guard data.count <= Self.bytes else {
                throw ConfigurationError(description: "\(file): allowed: up to \(Self.bytes) bytes")
            }
            try await withCameras(options) { administration, caller in
                let lines =
                    file.lowercased().hasSuffix(".json")
                    ? try CameraSheet.lines(json: ByteBuffer(bytes: data))
                    : try CameraSheet.lines(csv: Array(data))
                let outcomes = try await CameraImport(administration).run(
                    lines, isDryRun: dryRun, by: caller)
                try show(outcomes)
                if outcomes.contains(where: { $0.status == .error }) { throw ExitCode(1) }
            }
        }

        /// What the API takes of one request.
        private static let bytes = 10 * 1024 * 1024

        private func show(_ outcomes: [ImportOutcome]) throws {
            if options.json {
                let body = try jsonBytes(ImportBody(outcomes, isDryRun: dryRun))
                return print(String(buffer: body))
            }
            for outcome in outcomes {
                guard let failure = outcome.failure else {
                    print(outcome.line, outcome.status.rawValue, outcome.cameraID?.rawValue ?? "")
                    continue
                }
                let details = failure.details.sorted { $0.key < $1.key }.map { "\($0): \($1)" }
                print(
                    outcome.line, outcome.status.rawValue, failure.code.rawValue,
                    details.joined(separator: "; "))
            }
        }
    }
}
