// The client against a real server: pipelining, scripts, logins, crashes and hangs.
// SPDX-License-Identifier: Apache-2.0

import NIOCore
import NIOPosix
import RESP
import Testing
import Valkey

/// Runs a body with a client and closes it.
func withClient<Result: Sendable>(
    _ url: String, timeout: TimeAmount = .milliseconds(500),
    _ body: (ValkeyClient) async throws -> Result
) async throws -> Result {
    let client = try await ValkeyClient.open(
        try ValkeyURL(parsing: url), on: MultiThreadedEventLoopGroup.singleton.next(),
        timeout: timeout)
    do {
        let result = try await body(client)
        await client.close()
        return result
    } catch {
        await client.close()
        throw error
    }
}

/// The error of a command, or `nil` when it went well.
func failure(_ work: () async throws -> Void) async -> ValkeyError? {
    do {
        try await work()
        return nil
    } catch {
        return error as? ValkeyError
    }
}

@Suite(.enabled(if: ValkeyServer.isInstalled, ValkeyServer.missing))
struct ClientTests {
    private static let add = ValkeyScript(
        "return redis.call('INCRBY', KEYS[1], ARGV[1])")

    @Test("commands, scripts and errors; a script that the server forgot is sent again")
    func basics() async throws {
        try await withValkeyServer { (server) async throws in
            try await withClient(server.url) { (client) async throws in
                #expect(try await client.command(["PING"]) == .simpleString("PONG"))
                _ = try await client.command(["HSET", "h", "field", "value"])
                #expect(
                    try await client.command(["HGETALL", "h"])
                        == .map([
                            RESPEntry(
                                key: .bulkString(ByteBuffer(string: "field")),
                                value: .bulkString(ByteBuffer(string: "value")))
                        ]))
                for total: Int64 in 1...3 {
                    let value = try await client.run(Self.add, keys: ["k"], arguments: ["1"])
                    #expect(value == .integer(total))
                    _ = try await client.command(["SCRIPT", "FLUSH"])
                }
                let wrong = await failure { _ = try await client.command(["INCR", "h"]) }
                #expect(wrong == .refused(code: "WRONGTYPE"))
                #expect(client.circuit == .closed)
            }
        }
    }

    @Test("a thousand tasks at once get each its own answer")
    func pipelined() async throws {
        try await withValkeyServer { (server) async throws in
            try await withClient(server.url, timeout: .seconds(30)) { (client) async throws in
                try await withThrowingTaskGroup(of: Void.self) { group in
                    for task in 0..<1000 {
                        group.addTask {
                            for round in 0..<10 {
                                let text = "\(task):\(round)"
                                let answer = try await client.command(["ECHO", text])
                                #expect(answer.text == text)
                            }
                        }
                    }
                    try await group.waitForAll()
                }
            }
        }
    }

    @Test("a password and a database are those of the URL; a wrong password never shows")
    func login() async throws {
        try await withValkeyServer(options: ["--requirepass", "s3cr3t/word"]) {
            (server) async throws in
            try await withClient("valkey://:s3cr3t%2Fword@127.0.0.1:\(server.port)/3") {
                (client) async throws in
                _ = try await client.command(["SET", "k", "v"])
                let info = try await client.command(["CLIENT", "INFO"])
                #expect(info.text?.contains("db=3") == true)
                #expect(info.text?.contains("name=marsad") == true)
            }
            try await withClient("valkey://:wr0ng@127.0.0.1:\(server.port)") {
                (client) async throws in
                let error = await failure { _ = try await client.command(["PING"]) }
                #expect(error == .unreachable)
                #expect(!"\(String(describing: error))".contains("wr0ng"))
                var events = client.events.makeAsyncIterator()
                #expect(await events.next() == .refused(code: "WRONGPASS"))
            }
        }
    }

    @Test("a server that was killed is found again by itself")
    func killed() async throws {
        try await withValkeyServer { (server) async throws in
            try await withClient(server.url) { (client) async throws in
                var events = client.events.makeAsyncIterator()
                #expect(await events.next() == .connected)
                _ = try await client.command(["PING"])
                await server.kill()
                let down = await failure { _ = try await client.command(["PING"]) }
                #expect(down == .unreachable || down == .connectionLost)
                try await server.start()
                #expect(await events.next() == .connected)
                #expect(try await client.command(["PING"]) == .simpleString("PONG"))
            }
        }
    }

    @Test("a server that hangs costs the time-out until the circuit opens, then nothing")
    func hanging() async throws {
        try await withValkeyServer { (server) async throws in
            try await withClient(server.url) { (client) async throws in
                var events = client.events.makeAsyncIterator()
                _ = try await client.command(["PING"])
                #expect(await events.next() == .connected)
                await server.pause()
                var failures: [ValkeyError?] = []
                repeat {
                    failures.append(await failure { _ = try await client.command(["PING"]) })
                } while client.circuit == .closed && failures.count < 50
                #expect(failures.count == 5)
                #expect(failures.allSatisfy { $0 == .timedOut || $0 == .unreachable })
                #expect(await events.next() == .circuit(.open))
                let refused = await failure { _ = try await client.command(["PING"]) }
                #expect(refused == .circuitOpen)
                await server.resume()
                var seen: [ValkeyEvent] = []
                while let event = await events.next() {
                    seen.append(event)
                    if event == .circuit(.closed) { break }
                }
                #expect(seen.contains(.circuit(.halfOpen)))
                #expect(seen.contains(.connected))
                #expect(try await client.command(["PING"]) == .simpleString("PONG"))
            }
        }
    }

    @Test("a full server refuses; that does not open the circuit")
    func outOfMemory() async throws {
        try await withValkeyServer(options: ["--maxmemory", "1000"]) { (server) async throws in
            try await withClient(server.url) { (client) async throws in
                for _ in 0..<8 {
                    let error = await failure {
                        _ = try await client.command(
                            ["SET", "k", String(repeating: "x", count: 1000)])
                    }
                    #expect(error == .refused(code: "OOM"))
                }
                #expect(client.circuit == .closed)
            }
        }
    }

    @Test("the members of a cluster are found by their redirections")
    func cluster() async throws {
        let options = ["--cluster-enabled", "yes", "--cluster-announce-ip", "127.0.0.1"]
        try await withValkeyServer(options: options) { one in
            try await withValkeyServer(options: options) { two in
                let middle = 8192
                try await withClient(one.url) { (client) async throws in
                    _ = try await client.command(
                        ["CLUSTER", "ADDSLOTSRANGE", "0", String(middle - 1)])
                    _ = try await client.command(
                        ["CLUSTER", "MEET", "127.0.0.1", String(two.port)])
                }
                try await withClient(two.url) { (client) async throws in
                    _ = try await client.command(
                        ["CLUSTER", "ADDSLOTSRANGE", String(middle), "16383"])
                }
                try await withClient(one.url, timeout: .seconds(20)) { (client) async throws in
                    // CLUSTERDOWN until the two know each other; the client waits for that.
                    var isHere = [false, false]
                    for number in 0..<40 {
                        let key = "key:\(number)"
                        let value = try await client.run(
                            Self.add, keys: [key], arguments: ["1"])
                        #expect(value == .integer(1))
                        isHere[HashSlot(key: key).rawValue < middle ? 0 : 1] = true
                    }
                    #expect(isHere == [true, true])
                }
            }
        }
    }

    @Test("sentinels say who the master is")
    func sentinel() async throws {
        try await withValkeyServer { master in
            let sentinel = try await ScriptedServer { command in
                switch command.first {
                case "SENTINEL":
                    return .value(
                        .array([
                            .bulkString(ByteBuffer(string: "127.0.0.1")),
                            .bulkString(ByteBuffer(string: String(master.port))),
                        ]))
                default: return .failure("ERR unknown command")
                }
            }
            let dead = try await ValkeyServer.freePort()
            let hosts = "127.0.0.1:\(dead),127.0.0.1:\(sentinel.port)"
            try await withClient("valkey://\(hosts)?sentinel=main") { (client) async throws in
                #expect(try await client.command(["PING"]) == .simpleString("PONG"))
                #expect(
                    sentinel.commands == [["SENTINEL", "GET-MASTER-ADDR-BY-NAME", "main"]])
            }
            await sentinel.stop()
        }
    }
}
