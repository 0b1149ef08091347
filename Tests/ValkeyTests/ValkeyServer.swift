// A real valkey-server for tests: a free port, no files, killed, paused and started again at will.
// SPDX-License-Identifier: Apache-2.0

import Foundation
import NIOCore
import NIOPosix
import Testing

/// One server process. End it with `stop()`.
actor ValkeyServer {
    static let program = ["/usr/bin/valkey-server", "/usr/local/bin/valkey-server"].first {
        FileManager.default.isExecutableFile(atPath: $0)
    }
    static var isInstalled: Bool { program != nil }
    /// Said where the tests of a real server are left out.
    static let missing: Comment = "SKIPPED: valkey-server is not installed (scripts/bootstrap test)"

    struct NotReady: Error {
        var output: String
    }

    let port: Int
    private let options: [String]
    private var process: Process?
    /// Ends when the process has.
    private var exits = AsyncStream<Void> { $0.finish() }
    private let folder: URL

    nonisolated var url: String { "valkey://127.0.0.1:\(port)" }

    /// Starts a server that keeps nothing on disk.
    init(options: [String] = []) async throws {
        self.options = options
        port = try await Self.freePort()
        folder = FileManager.default.temporaryDirectory
            .appendingPathComponent("marsad-valkey-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        try await start()
    }

    /// Low enough for a member of a cluster, which also takes the port 10,000 above its own.
    static func freePort() async throws -> Int {
        while true {
            let channel = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
                .bind(host: "127.0.0.1", port: 0).get()
            let port = channel.localAddress?.port ?? 0
            try await channel.close()
            if port <= 55_535 { return port }
        }
    }

    /// Another test may have the port for a moment: a server that was killed leaves it free.
    func start() async throws {
        for attempt in 1... {
            do {
                return try await startOnce()
            } catch let failure as NotReady {
                let mayBeTaken = failure.output.isEmpty || failure.output.contains("in use")
                guard attempt < 100, mayBeTaken else { throw failure }
            }
        }
    }

    private func startOnce() async throws {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: Self.program ?? "")
        process.arguments =
            ["--port", String(port), "--bind", "127.0.0.1", "--save", "", "--dir", folder.path]
            + options
        let pipe = Pipe()
        process.standardOutput = pipe
        process.standardError = FileHandle.nullDevice
        let (lines, line) = AsyncStream.makeStream(of: Data.self)
        pipe.fileHandleForReading.readabilityHandler = { handle in
            let data = handle.availableData
            if data.isEmpty { handle.readabilityHandler = nil } else { line.yield(data) }
        }
        let (exits, exit) = AsyncStream.makeStream(of: Void.self)
        // Not the pipe's end: other children may have inherited it, and it would never come.
        process.terminationHandler = { _ in
            exit.finish()
            line.finish()
        }
        try process.run()
        self.process = process
        self.exits = exits
        var output = ""
        for await data in lines {
            output += String(decoding: data, as: UTF8.self)
            // The pipe is read on, so that the server never waits for it.
            if output.contains("Ready to accept connections") { return }
        }
        throw NotReady(output: String(output.suffix(500)))
    }

    func pause() { signal(SIGSTOP) }
    func resume() { signal(SIGCONT) }

    /// As a crash does it.
    func kill() async {
        signal(SIGKILL)
        for await _ in exits {}
        process = nil
    }

    func stop() async {
        if process != nil { await kill() }
        try? FileManager.default.removeItem(at: folder)
    }

    private func signal(_ number: Int32) {
        if let process { _ = Foundation.kill(process.processIdentifier, number) }
    }
}

/// Runs a body with a server of its own.
func withValkeyServer<Result: Sendable>(
    options: [String] = [], _ body: (ValkeyServer) async throws -> Result
) async throws -> Result {
    let server = try await ValkeyServer(options: options)
    do {
        let result = try await body(server)
        await server.stop()
        return result
    } catch {
        await server.stop()
        throw error
    }
}
