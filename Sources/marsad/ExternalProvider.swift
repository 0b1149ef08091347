// The identity provider of an organisation, as the configuration names it.
// SPDX-License-Identifier: Apache-2.0

import Domain
import Foundation
import Identity
import Logging
import Observability
import Outbound
import Primitives
import Synchronization

extension ExternalTokens {
    private static let keyFileBytes: UInt64 = 256 * 1024

    /// `nil` where no provider is named. Its keys are at an address of its own, or a file that whoever
    /// rotates them replaces: read when a token names an unknown key, and every hour.
    static func configured(
        _ configuration: Configuration, client: OutboundClient?, world: World,
        registry: MetricsRegistry, logger: Logger?
    ) throws(ConfigurationError) -> ExternalTokens? {
        let issuer = configuration.text("auth.provider_issuer")
        let path = configuration.text("auth.provider_keys")
        let url = try configuration.outboundURL("auth.provider_jwks_url")
        guard !issuer.isEmpty || !path.isEmpty || url != nil else { return nil }
        guard path.isEmpty || url == nil else {
            throw ConfigurationError(
                description: "auth.provider_jwks_url and auth.provider_keys are both given; "
                    + "allowed: one of them")
        }
        guard !issuer.isEmpty, !path.isEmpty || url != nil else {
            throw ConfigurationError(
                description: "auth.provider_issuer and auth.provider_keys or "
                    + "auth.provider_jwks_url are needed together")
        }
        guard issuer != configuration.text("auth.issuer") else {
            throw ConfigurationError(
                description: "auth.provider_issuer is \"\(issuer)\", as auth.issuer; "
                    + "allowed: the provider's own name")
        }
        guard url != nil || (try? keys(path)) != nil else {
            throw ConfigurationError(
                description: "auth.provider_keys is \"\(path)\"; allowed: a file with a JWK set")
        }
        let provider = Provider(
            issuer: issuer, audience: configuration.text("auth.provider_audience"))
        let report = KeyFetchReport(world: world, registry: registry, logger: logger)
        return ExternalTokens(
            provider: provider, world: world,
            fetch: {
                guard let url, let client else { return try keys(path) }
                return try await client.get(
                    url, accepting: "application/jwk-set+json, application/json",
                    upTo: keySetBytes)
            }, report: report.tell)
    }

    private static func keys(_ path: String) throws -> [UInt8] {
        let attributes = try FileManager.default.attributesOfItem(atPath: path)
        guard let size = attributes[.size] as? UInt64, size <= keyFileBytes else {
            throw CocoaError(.fileReadTooLarge)
        }
        return Array(try Data(contentsOf: URL(fileURLWithPath: path)))
    }
}

/// Counts what becomes of fetching the provider's keys. A failure that lasts is a line of the log when it
/// begins and every ten minutes.
private final class KeyFetchReport: Sendable {
    private static let interval = Duration.seconds(600)

    private let world: World
    private let registry: MetricsRegistry
    private let logger: Logger?
    /// When the failure that lasts was last told.
    private let toldAt = Mutex<Instant?>(nil)

    init(world: World, registry: MetricsRegistry, logger: Logger?) {
        self.world = world
        self.registry = registry
        self.logger = logger
        _ = counter("taken")
    }

    func tell(_ fetch: KeyFetch) {
        switch fetch {
        case .taken(let keys):
            counter("taken").increment()
            guard toldAt.withLock({ $0.take() }) != nil else { return }
            logger?.info(
                "the identity provider's keys are there again",
                metadata: ["event": "provider_keys_taken", "keys": "\(keys)"])
        case .failed(let error):
            let failure = error as? OutboundError
            counter(failure?.label ?? "malformed").increment()
            let now = world.now()
            let isNews = toldAt.withLock { toldAt in
                if let last = toldAt, now - last < Self.interval { return false }
                toldAt = now
                return true
            }
            guard isNews else { return }
            logger?.warning(
                "the identity provider's keys cannot be fetched, those that are known stay",
                metadata: [
                    "event": "provider_keys_failed",
                    "error": "\(failure?.description ?? "no JWK set that can be read")",
                ])
        }
    }

    private func counter(_ result: String) -> Counter {
        registry.counter(
            "cctv_identity_key_fetches_total",
            help: "Fetches of the identity provider's keys, by result.",
            labels: ["result": result])
    }
}
