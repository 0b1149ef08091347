// The quota over a real Valkey that is killed and paused.
// SPDX-License-Identifier: Apache-2.0

import Domain
import Logging
import NIOCore
import NIOPosix
import Observability
import Primitives
import Quota
import Testing
import Valkey

@Suite(.enabled(if: ValkeyServer.isInstalled, ValkeyServer.missing))
struct OutageTests {
    private let clock = ManualClock()

    /// One process of an installation: a client and a service of its own.
    private func withProcess(
        _ server: ValkeyServer, limit: Int,
        _ body: (QuotaService, any QuotaStore, ValkeyClient) async throws -> Void
    ) async throws {
        let client = try await ValkeyClient.open(
            try ValkeyURL(parsing: server.url), on: MultiThreadedEventLoopGroup.singleton.next())
        let store = ValkeyQuotaStore(client: client, unit: .camera, world: clock.world)
        let quota = QuotaService(
            store: store, unit: .camera,
            limits: SeatLimits(agencies: [try source("METRO"): .init(limit: limit)]),
            world: clock.world, registry: MetricsRegistry(),
            logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
        do {
            try await body(quota, store, client)
        } catch {
            await client.close()
            throw error
        }
        await client.close()
    }

    private func wish(_ number: Int) throws -> SeatRequest {
        SeatRequest(
            reservation: "r\(number)", cameraID: try camera(number), source: try source("METRO"))
    }

    /// Until the client is connected, for the first time or again, and its circuit is closed.
    private func waitForConnection(_ client: ValkeyClient) async {
        for await event in client.events {
            if event == .connected { break }
        }
        await waitForCircuit(client)
    }

    private func waitForCircuit(_ client: ValkeyClient) async {
        guard client.circuit != .closed else { return }
        for await event in client.events {
            if event == .circuit(.closed) { return }
        }
    }

    @Test("killed at random, Valkey has every seat again after one renewal, and none too many")
    func killed() async throws {
        let metro = try source("METRO")
        let seed = UInt64.random(in: 1...UInt64.max)
        var random = SeededRandom(seed: seed)
        try await withValkeyServer { (server) async throws in
            try await withProcess(server, limit: 6) { (quota, store, client) async throws in
                var held: Set<Int> = []
                for round in 0..<4 {
                    await waitForConnection(client)
                    await quota.renew()
                    for _ in 0..<12 {
                        let number = Int.random(in: 0..<10, using: &random)
                        if held.remove(number) != nil {
                            await quota.giveBack("r\(number)")
                        } else if await code({ _ = try await quota.take(wish(number)) }) == nil {
                            held.insert(number)
                        }
                        #expect(held.count <= 6, "seed \(seed)")
                    }
                    #expect(
                        try await store.usage()[metro] ?? 0 == held.count,
                        "seed \(seed), round \(round)")
                    await server.kill()
                    // Grants go on by the last counts, never beyond the limit.
                    for number in 0..<10 where !held.contains(number) {
                        if await code({ _ = try await quota.take(wish(number)) }) == nil {
                            held.insert(number)
                        }
                    }
                    #expect(held.count == 6, "seed \(seed)")
                    try await server.start()
                }
                await waitForConnection(client)
                await quota.renew()
                #expect(try await store.usage()[metro] == 6, "seed \(seed)")
            }
        }
    }

    @Test(
        "a Valkey that hangs is asked no more; what was granted meanwhile is counted when it is back"
    )
    func hanging() async throws {
        let metro = try source("METRO")
        try await withValkeyServer { (server) async throws in
            try await withProcess(server, limit: 8) { (quota, store, client) async throws in
                await waitForConnection(client)
                _ = try await quota.take(wish(0))
                await server.pause()
                for number in 1..<8 { _ = try await quota.take(wish(number)) }
                #expect(client.circuit != .closed)
                let full = await code { _ = try await quota.take(wish(8)) }
                #expect(full == .agencyLimitExceeded)
                clock.advance(.seconds(31))
                await quota.giveBack("r1")
                #expect(await code { _ = try await quota.take(wish(9)) } == .overloaded)
                await server.resume()
                await waitForCircuit(client)
                await quota.renew()
                // What the server was asked before it hung it may do yet; then that seat ends by itself.
                #expect((7...8).contains(try await store.usage()[metro] ?? 0))
                #expect(await quota.report().sources.first?.current ?? 0 >= 7)
            }
        }
    }

    @Test("the seats of a process that was killed are free within a lease; the others' stay")
    func processKilled() async throws {
        let metro = try source("METRO")
        try await withValkeyServer { (server) async throws in
            try await withProcess(server, limit: 3) { (survivor, store, client) async throws in
                await waitForConnection(client)
                try await withProcess(server, limit: 3) { (killed, _, _) async throws in
                    _ = try await killed.take(wish(1))
                    _ = try await killed.take(wish(2))
                }
                _ = try await survivor.take(wish(3))
                #expect(try await store.usage() == [metro: 3])
                let rig = StoreRig(store: store, clock: clock, client: client)
                for _ in 0..<5 {
                    try await rig.advance(.seconds(5))
                    await survivor.renew()
                }
                #expect(try await store.usage() == [metro: 1])
                _ = try await survivor.take(wish(4))
                #expect(await survivor.report().total == 2)
            }
        }
    }
}
