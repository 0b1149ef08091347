// Services elsewhere that identity asks and tells, as the configuration names them.
// SPDX-License-Identifier: Apache-2.0

import Domain
import Identity
import Logging
import NIOPosix
import Observability
import Outbound
import Primitives

extension Configuration {
    /// The value of a key that `service(_:)` declares; `nil` where it is empty.
    func outboundURL(_ name: String) throws(ConfigurationError) -> OutboundURL? {
        guard let url = OutboundURL(text(name)) else { return nil }
        guard url.isEncrypted || !networks("outbound.networks").isEmpty else {
            throw ConfigurationError(
                description: "\(name) is an http:// address; allowed: https://, or http:// to an "
                    + "address in outbound.networks")
        }
        return url
    }
}

extension OutboundClient {
    /// For the service that a key names; `nil` where it names none.
    static func configured(
        _ configuration: Configuration, for name: String
    ) throws(ConfigurationError) -> OutboundClient? {
        guard !configuration.text(name).isEmpty else { return nil }
        let authorities = configuration.text("outbound.authorities")
        // Of its own: a dead name server holds its threads for tens of seconds, and must hold up no
        // other service.
        let resolver = NIOThreadPool(numberOfThreads: 2)
        resolver.start()
        do throws(OutboundError) {
            return try OutboundClient(
                policy: OutboundPolicy(networks: configuration.networks("outbound.networks")),
                authorities: authorities.isEmpty ? nil : authorities, group: .singleton,
                resolver: resolver)
        } catch {
            throw ConfigurationError(
                description: "outbound.authorities is \"\(authorities)\": \(error); "
                    + "allowed: a PEM file with certificates of authorities")
        }
    }
}

extension WelcomeNotices {
    /// `nil` where nobody welcomes. A command has no logger: it says what failed on its own.
    static func configured(
        _ configuration: Configuration, client: OutboundClient?, world: World,
        registry: MetricsRegistry, logger: Logger?
    ) throws(ConfigurationError) -> WelcomeNotices? {
        let secret = configuration.text("auth.welcome_secret")
        let url = try configuration.outboundURL("auth.welcome_url")
        guard !secret.isEmpty || url != nil else { return nil }
        guard let webhook = IAMWebhook(secret: Redacted(secret)), let url, let client else {
            throw ConfigurationError(
                description: "auth.welcome_url and auth.welcome_secret are needed together")
        }
        // One secret would let the receiver of notices sign events of the identity system.
        guard secret != configuration.text("auth.webhook_secret") else {
            throw ConfigurationError(
                description: "auth.welcome_secret is auth.webhook_secret; allowed: another secret")
        }
        let counter = { @Sendable (result: String) in
            registry.counter(
                "cctv_welcome_notices_total", help: "Notices of new users, by result.",
                labels: ["result": result])
        }
        _ = counter("delivered")
        return WelcomeNotices(
            webhook: webhook, world: world,
            send: { body, headers in
                try await client.post(
                    url, body,
                    headers: [(name: "Content-Type", value: "application/json")] + headers)
            },
            pause: { try await Task.sleep(for: $0) },
            report: { outcome, user in
                let reason: String
                switch outcome {
                case .delivered: return counter("delivered").increment()
                case .failed(let error):
                    counter("failed").increment()
                    reason = (error as? OutboundError)?.description ?? "given up"
                case .dropped:
                    counter("dropped").increment()
                    reason = "too many are waiting"
                }
                guard let logger else {
                    return complain("\(user.loginID) could not be welcomed: \(reason)")
                }
                logger.warning(
                    "a new user could not be welcomed",
                    metadata: [
                        "event": "welcome_failed", "user_id": "\(user.id)", "error": "\(reason)",
                    ])
            })
    }
}
