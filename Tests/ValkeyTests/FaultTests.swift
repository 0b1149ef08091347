// The client against answers that a healthy server never gives.
// SPDX-License-Identifier: Apache-2.0

import NIOCore
import NIOPosix
import RESP
import Synchronization
import Testing
import Valkey

@Suite struct FaultTests {
    /// Answers each name from its list, the last one for ever; a handshake goes by itself.
    private static func script(
        _ answers: [String: [ScriptedAnswer]]
    ) -> ScriptedServer.Script {
        let left = Counts()
        return { command in
            let name = command.first ?? ""
            guard let list = answers[name] else { return .ok }
            return list[min(left.next(name), list.count - 1)]
        }
    }

    private final class Counts: Sendable {
        private let counts = Mutex<[String: Int]>([:])
        func next(_ name: String) -> Int {
            counts.withLock { counts in
                defer { counts[name, default: 0] += 1 }
                return counts[name] ?? 0
            }
        }
    }

    @Test("answers that come byte by byte are whole")
    func torn() async throws {
        var bytes = ByteBuffer()
        bytes.writeValue(.array([.integer(1), .bulkString(ByteBuffer(string: "two\r\n"))]))
        let wire = Array(bytes.readableBytesView)
        let server = try await ScriptedServer(Self.script(["GET": [.dripped(wire)]]))
        try await withClient(server.url) { (client) async throws in
            for _ in 0..<20 {
                let value = try await client.command(["GET", "k"])
                #expect(value.elements?.last?.text == "two\r\n")
            }
        }
        await server.stop()
    }

    @Test(
        "a server that loads or is busy is asked again, until the time is over",
        arguments: [
            "LOADING", "BUSY", "TRYAGAIN", "MASTERDOWN", "CLUSTERDOWN",
        ])
    func retried(code: String) async throws {
        let server = try await ScriptedServer(
            Self.script([
                "GET": [.failure("\(code) not now"), .failure("\(code) not now"), .ok],
                "SET": [.failure("\(code) never")],
            ]))
        try await withClient(server.url, timeout: .milliseconds(200)) { (client) async throws in
            #expect(try await client.command(["GET", "k"]) == .simpleString("OK"))
            #expect(server.commands.count == 3)
            let error = await failure { _ = try await client.command(["SET", "k", "v"]) }
            #expect(error == .refused(code: code))
        }
        await server.stop()
    }

    @Test("a master that became a replica is left and looked for again")
    func readOnly() async throws {
        let server = try await ScriptedServer(
            Self.script(["SET": [.failure("READONLY You can't write"), .ok]]))
        try await withClient(server.url) { (client) async throws in
            #expect(try await client.command(["SET", "k", "v"]) == .simpleString("OK"))
            #expect(server.greetings.count == 2)
        }
        await server.stop()
    }

    @Test("MOVED is followed and remembered; ASK is followed once and not")
    func redirected() async throws {
        let other = try await ScriptedServer(Self.script(["GET": [.value(.integer(2))]]))
        let slot = HashSlot(key: "k").rawValue
        let server = try await ScriptedServer(
            Self.script([
                "GET": [
                    .failure("ASK \(slot) 127.0.0.1:\(other.port)"),
                    .failure("MOVED \(slot) 127.0.0.1:\(other.port)"),
                ]
            ]))
        try await withClient(server.url) { (client) async throws in
            for _ in 0..<3 {
                #expect(try await client.command(["GET", "k"], key: "k") == .integer(2))
            }
            #expect(server.commands.count == 2)
            #expect(
                other.commands == [["ASKING"], ["GET", "k"], ["GET", "k"], ["GET", "k"]])
        }
        await server.stop()
        await other.stop()
    }

    @Test("redirections in a circle end")
    func circle() async throws {
        let port = try await ValkeyServer.freePort()
        let server = try await ScriptedServer(
            port: port, Self.script(["GET": [.failure("MOVED 1 127.0.0.1:\(port)")]]))
        try await withClient(server.url) { (client) async throws in
            let error = await failure { _ = try await client.command(["GET", "k"], key: "k") }
            #expect(error == .refused(code: "MOVED"))
        }
        await server.stop()
    }

    @Test("a late answer is not taken for the next command's")
    func late() async throws {
        // Silent to one command, while another on the connection is answered.
        let server = try await ScriptedServer { command in
            command.first == "GET" ? .silence : .value(.simpleString(command.first ?? ""))
        }
        try await withClient(server.url, timeout: .milliseconds(100)) { (client) async throws in
            let error = await failure { _ = try await client.command(["GET", "k"]) }
            #expect(error == .timedOut)
            #expect(try await client.command(["PING"]) == .simpleString("PING"))
            // The connection was given up with the answer it owed.
            #expect(server.greetings.count == 2)
        }
        await server.stop()
    }

    @Test("a connection that ends tells every command that waits for it")
    func hungUp() async throws {
        let server = try await ScriptedServer(Self.script(["QUIT": [.hangUp], "GET": [.silence]]))
        try await withClient(server.url, timeout: .seconds(10)) { (client) async throws in
            await withTaskGroup(of: ValkeyError?.self) { group in
                for _ in 0..<20 {
                    group.addTask {
                        await failure { _ = try await client.command(["GET", "k"]) }
                    }
                }
                group.addTask { await failure { _ = try await client.command(["QUIT"]) } }
                for await error in group { #expect(error == .connectionLost) }
            }
        }
        await server.stop()
    }

    @Test("bytes that are not RESP end the connection, not the process")
    func garbage() async throws {
        let server = try await ScriptedServer(
            Self.script(["GET": [.dripped(Array("HTTP/1.1 400 Bad\r\n".utf8)), .ok]]))
        try await withClient(server.url) { (client) async throws in
            let error = await failure { _ = try await client.command(["GET", "k"]) }
            #expect(error == .connectionLost)
            #expect(try await client.command(["GET", "k"]) == .simpleString("OK"))
        }
        await server.stop()
    }

    @Test("a closed client refuses, and what waited is told")
    func closed() async throws {
        let port = try await ValkeyServer.freePort()
        let client = try await ValkeyClient.open(
            try ValkeyURL(parsing: "valkey://127.0.0.1:\(port)"),
            on: MultiThreadedEventLoopGroup.singleton.next(), timeout: .seconds(60))
        async let waiting = failure { _ = try await client.command(["PING"]) }
        await client.close()
        #expect(await waiting == .closed)
        #expect(await failure { _ = try await client.command(["PING"]) } == .closed)
    }
}
