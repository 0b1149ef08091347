// Real processes for the interop tests: started with files for output, waited for, always killed.
// SPDX-License-Identifier: Apache-2.0

import Foundation
import Glibc
import Testing

/// Every interop test runs alone: they measure times, and a machine may have two cores only.
@Suite(
    .serialized, .timeLimit(.minutes(4)),
    .enabled(
        if: Programs.areThere,
        "SKIPPED: needs ffmpeg and .build/release/marsad (swift build -c release --product marsad)")
)
struct InteropTests {}

/// What an interop test could not do.
struct InteropError: Error, CustomStringConvertible {
    var description: String
    init(_ description: String) { self.description = description }
}

/// Where the programs under test are.
enum Programs {
    /// `MARSAD_PROGRAM`, or the repository's own build.
    static let marsad: String? = {
        let repository = URL(fileURLWithPath: #filePath)
            .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
        let candidates =
            [ProcessInfo.processInfo.environment["MARSAD_PROGRAM"]].compactMap { $0 }
            + ["release", "debug"].map { repository.path + "/.build/\($0)/marsad" }
        return candidates.first { FileManager.default.isExecutableFile(atPath: $0) }
    }()

    static let ffmpeg: String? = {
        let path = ProcessInfo.processInfo.environment["PATH"] ?? "/usr/bin:/bin"
        return path.split(separator: ":").map { $0 + "/ffmpeg" }
            .first { FileManager.default.isExecutableFile(atPath: $0) }
    }()

    static var areThere: Bool { marsad != nil && ffmpeg != nil }
}

/// Polls until there is an answer; what is waited for happens in another process.
func eventually<Answer>(
    _ what: String, within patience: Duration, _ probe: () async throws -> Answer?
) async throws -> Answer {
    let clock = ContinuousClock()
    let deadline = clock.now + patience
    while true {
        if let answer = try await probe() { return answer }
        guard clock.now < deadline else {
            throw InteropError("waited \(patience) for this, and it did not come: \(what)")
        }
        try await Task.sleep(for: .milliseconds(100))
    }
}

/// A temporary folder of one test.
struct Place {
    let folder: URL

    init() throws {
        folder = FileManager.default.temporaryDirectory
            .appendingPathComponent("marsad-interop-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    }

    /// The drawn scenes are the same for all tests and runs: their file names carry the settings.
    static let scenes = FileManager.default.temporaryDirectory
        .appendingPathComponent("marsad-interop-scenes").path

    var data: String { folder.path + "/data" }

    func remove() { try? FileManager.default.removeItem(at: folder) }

    /// All files below a folder of the place, as paths relative to that folder, sorted.
    func files(below name: String) -> [String] {
        let root = folder.appendingPathComponent(name).path
        let all = FileManager.default.enumerator(atPath: root)?.compactMap { $0 as? String } ?? []
        var isFolder: ObjCBool = false
        return all.filter {
            FileManager.default.fileExists(atPath: root + "/" + $0, isDirectory: &isFolder)
                && !isFolder.boolValue
        }.sorted()
    }
}

/// A child process whose output goes to files: a full pipe must not stop it.
final class RunningProgram {
    private let process = Process()
    private let outputFile: URL
    private let errorFile: URL

    init(_ executable: String?, _ arguments: [String], in place: Place) throws {
        guard let executable else { throw InteropError("a program is missing") }
        let name = UUID().uuidString
        outputFile = place.folder.appendingPathComponent(name + ".out")
        errorFile = place.folder.appendingPathComponent(name + ".err")
        try Data().write(to: outputFile)
        try Data().write(to: errorFile)
        process.executableURL = URL(fileURLWithPath: executable)
        process.arguments = arguments
        process.environment = ProcessInfo.processInfo.environment.filter {
            !$0.key.hasPrefix("MARSAD_")
        }
        process.standardInput = FileHandle.nullDevice
        process.standardOutput = try FileHandle(forWritingTo: outputFile)
        process.standardError = try FileHandle(forWritingTo: errorFile)
        try process.run()
    }

    var output: String { Self.text(outputFile) }
    var errors: String { Self.text(errorFile) }

    private static func text(_ file: URL) -> String {
        String(decoding: (try? Data(contentsOf: file)) ?? Data(), as: UTF8.self)
    }

    func signal(_ number: Int32) {
        if process.isRunning { Glibc.kill(process.processIdentifier, number) }
    }

    /// For `defer`: works on a stopped process, too.
    func kill() { signal(SIGKILL) }

    /// Waits for the end and gives the exit status.
    func status(within patience: Duration) async throws -> Int32 {
        try await eventually("the end of \(process.arguments ?? [])", within: patience) {
            process.isRunning ? nil : process.terminationStatus
        }
    }

    /// The `url` of the ready line of `--json`.
    func readyURL(within patience: Duration) async throws -> String {
        struct Ready: Decodable {
            var ready: Bool
            var url: String
        }
        return try await eventually("a ready line; stderr: \(errors)", within: patience) {
            guard process.isRunning else { throw InteropError("it ended early: \(errors)") }
            guard let line = output.split(separator: "\n").first else { return nil }
            return try? JSONDecoder().decode(Ready.self, from: Data(line.utf8)).url
        }
    }
}

/// Runs a program to its end.
func run(
    _ executable: String?, _ arguments: [String], in place: Place
) async throws -> (status: Int32, output: String, errors: String) {
    let program = try RunningProgram(executable, arguments, in: place)
    defer { program.kill() }
    let status = try await program.status(within: .seconds(60))
    return (status, program.output, program.errors)
}

/// Whether ffmpeg decodes an input without a word: an empty answer, or what it complained about.
func complaints(ofFFmpegAbout input: String, in place: Place) async throws -> String {
    let result = try await run(
        Programs.ffmpeg, ["-nostdin", "-v", "error", "-xerror", "-i", input, "-f", "null", "-"],
        in: place)
    return result.status == 0 ? result.errors : "status \(result.status): \(result.errors)"
}

/// What `marsad check` counts.
struct CheckAnswer: Decodable {
    var frames: Int
    var missing: Int
    var doubled: Int
    var damaged: Int
    var out_of_order: Int
    var unstamped: Int

    static func of(_ folder: String, in place: Place) async throws -> CheckAnswer {
        let result = try await run(Programs.marsad, ["check", folder], in: place)
        guard result.status == 0 else { throw InteropError(result.errors) }
        return try JSONDecoder().decode(CheckAnswer.self, from: Data(result.output.utf8))
    }
}
