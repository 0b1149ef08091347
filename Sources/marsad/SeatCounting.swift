// The quota's wiring: which store counts, which limits are in force, and who keeps the seats renewed.
// SPDX-License-Identifier: Apache-2.0

import Database
import Domain
import Identity
import Logging
import NIOCore
import Observability
import Primitives
import Quota
import Valkey

/// The quota of one installation.
struct SeatCounting: Sendable {
    let quota: QuotaService
    private let client: ValkeyClient?
    private let limitStore: LimitStore
    /// In force while the settings hold none.
    private let configured: SeatLimits
    private let metrics: ValkeyMetrics
    private let logger: Logger

    init(
        configuration: Configuration, database: any DatabaseEngine, world: World,
        registry: MetricsRegistry, logger: Logger, eventLoop: any EventLoop
    ) async throws {
        self.logger = logger
        let metrics = ValkeyMetrics(registry: registry)
        self.metrics = metrics
        limitStore = LimitStore(database: database)
        let total = configuration.number("limits.total")
        let agencies = ConfigurationKey.list(configuration.text("limits.sources"))
            .compactMap(ConfigurationKey.agency)
        configured = SeatLimits(
            agencies: Dictionary(agencies, uniquingKeysWith: { _, last in last }),
            total: total == 0 ? nil : total)
        let unit = SeatUnit(rawValue: configuration.text("quota.unit")) ?? .camera
        let store: any QuotaStore
        let url = configuration.text("valkey.url")
        if url.isEmpty {
            client = nil
            store = MemoryQuotaStore(world: world)
        } else {
            let client = try await ValkeyClient.open(
                try ValkeyURL(parsing: url), on: eventLoop)
            self.client = client
            store = ValkeyQuotaStore(client: client, unit: unit, world: world) {
                metrics.observe($0, $1)
            }
        }
        let stored = try? await limitStore.current()
        quota = QuotaService(
            store: store, unit: unit, limits: stored ?? configured, world: world,
            registry: registry, logger: logger)
    }

    /// How the limits are changed over HTTP.
    func administration(world: World, audit: AuditLog) -> LimitAdministration {
        LimitAdministration(
            store: limitStore, quota: quota, configured: configured, world: world
        ) { event, statements throws(DatabaseError) in
            try await audit.commit(event, with: statements)
        }
    }

    /// Keeps seats renewed and follows changes of the limits, until it is cancelled.
    func run() async {
        await withTaskGroup(of: Void.self) { group in
            group.addTask {
                await Self.repeated(every: QuotaService.renewalInterval) { await quota.renew() }
            }
            group.addTask { await Self.repeated(every: .seconds(2)) { await followLimits() } }
            if let client { group.addTask { await follow(client) } }
        }
    }

    /// Gives back what this process has.
    func stop() async {
        await quota.close()
        await client?.close()
    }

    private static func repeated(
        every interval: Duration, _ work: @Sendable () async -> Void
    ) async {
        while !Task.isCancelled {
            await work()
            do { try await Task.sleep(for: interval) } catch { return }
        }
    }

    /// A document that cannot be read changes nothing: the limits before it stay.
    private func followLimits() async {
        guard let stored = try? await limitStore.current() else { return }
        await quota.setLimits(stored)
    }

    /// A Valkey that comes back may have lost everything: it is told at once what is taken here.
    private func follow(_ client: ValkeyClient) async {
        for await event in client.events {
            switch event {
            case .connected: await quota.renew()
            case .refused(let code):
                logger.error(
                    "Valkey refuses the login",
                    metadata: ["event": "valkey_refused", "code": "\(code)"])
            case .circuit(let state):
                metrics.setCircuit(state == .closed ? 0 : state == .open ? 1 : 2)
                logger.log(
                    level: state == .closed ? .info : .warning, "Valkey's circuit changed",
                    metadata: ["event": "valkey_circuit", "state": "\(state.rawValue)"])
                if state == .closed { await quota.renew() }
            }
        }
    }
}
