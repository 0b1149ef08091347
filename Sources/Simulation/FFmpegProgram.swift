// Runs the `ffmpeg` and `ffprobe` programs, which make the simulated cameras' video beforehand.
// SPDX-License-Identifier: Apache-2.0

package import Foundation

/// Why no clip could be made.
package enum SimulationError: Error, Equatable, CustomStringConvertible {
    /// The program is not in PATH.
    case programMissing(String)
    /// The program ended with this status; its last words are in `reason`.
    case programFailed(program: String, status: Int32, reason: String)
    /// The program's output is not what was asked for.
    case unusableClip(file: String, reason: String)
    /// The server cannot run with these settings.
    case badSettings(String)

    package var description: String {
        switch self {
        case .programMissing(let name):
            "the program '\(name)' is not in PATH: install ffmpeg to simulate cameras"
        case .programFailed(let program, let status, let reason):
            "\(program) ended with status \(status): \(reason)"
        case .unusableClip(let file, let reason): "\(file) is no usable clip: \(reason)"
        case .badSettings(let reason): reason
        }
    }
}

/// The two programs of the ffmpeg package.
package enum FFmpegProgram: String, Sendable {
    case ffmpeg
    case ffprobe

    /// Where the program is; `nil` where it is not in PATH.
    package var location: URL? {
        let path = ProcessInfo.processInfo.environment["PATH"] ?? "/usr/local/bin:/usr/bin:/bin"
        for folder in path.split(separator: ":") {
            let candidate = "\(folder)/\(rawValue)"
            if FileManager.default.isExecutableFile(atPath: candidate) {
                return URL(fileURLWithPath: candidate)
            }
        }
        return nil
    }

    /// Runs the program to its end and returns what it printed.
    ///
    /// `input` is asked for one piece after the other, until it gives `nil`; the work is done on a
    /// thread of its own, because both rendering and waiting block.
    package func run(
        _ arguments: [String], input: (@Sendable (Int) -> [UInt8]?)? = nil
    ) async throws -> Data {
        guard let location else { throw SimulationError.programMissing(rawValue) }
        return try await withCheckedThrowingContinuation { continuation in
            let thread = Thread {
                continuation.resume(
                    with: Result { try runBlocking(location, arguments, input: input) })
            }
            thread.stackSize = 1 << 20
            thread.start()
        }
    }

    private func runBlocking(
        _ location: URL, _ arguments: [String], input: (@Sendable (Int) -> [UInt8]?)?
    ) throws -> Data {
        // A program that dies early must give an error from write, not end this process.
        signal(SIGPIPE, SIG_IGN)
        // Files take what it prints: a pipe nobody reads in time would stop both sides for ever.
        let printed = try TemporaryFile()
        let complaints = try TemporaryFile()
        defer {
            printed.remove()
            complaints.remove()
        }
        let process = Process()
        let feed = Pipe()
        process.executableURL = location
        process.arguments = arguments
        process.standardOutput = printed.handle
        process.standardError = complaints.handle
        process.standardInput = input == nil ? FileHandle.nullDevice : feed
        try process.run()
        if let input {
            var index = 0
            while let piece = input(index) {
                do { try feed.fileHandleForWriting.write(contentsOf: piece) } catch { break }
                index += 1
            }
            try? feed.fileHandleForWriting.close()
        }
        process.waitUntilExit()
        guard process.terminationStatus == 0 else {
            let words = String(decoding: try complaints.contents().suffix(500), as: UTF8.self)
            throw SimulationError.programFailed(
                program: rawValue, status: process.terminationStatus,
                reason: words.trimmingCharacters(in: .whitespacesAndNewlines))
        }
        return try printed.contents()
    }
}

/// A file of one run, removed at its end.
private struct TemporaryFile {
    let url: URL
    let handle: FileHandle

    init() throws {
        url = FileManager.default.temporaryDirectory
            .appendingPathComponent("marsad-simulation-\(UUID().uuidString)")
        try Data().write(to: url)
        handle = try FileHandle(forWritingTo: url)
    }

    func contents() throws -> Data { try Data(contentsOf: url) }

    func remove() {
        try? handle.close()
        try? FileManager.default.removeItem(at: url)
    }
}
