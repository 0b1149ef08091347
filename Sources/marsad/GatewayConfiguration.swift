// The gateway's settings, as they are configured.
// SPDX-License-Identifier: Apache-2.0

import API

extension Configuration {
    /// From `http.*`, `limits.*` and `auth.required`.
    var gatewaySettings: GatewaySettings {
        var settings = GatewaySettings()
        settings.requestsPerMinute = number("limits.requests_per_minute")
        settings.requestsPerSecond = number("limits.address_per_second")
        settings.requestBurst = number("limits.address_burst")
        settings.connections = number("limits.connections")
        settings.connectionsPerAddress = number("limits.connections_per_address")
        settings.requestTimeout = .seconds(number("limits.request_seconds"))
        settings.idleTimeout = .seconds(number("limits.idle_seconds"))
        settings.trustedProxies = networks("http.trusted_proxies")
        settings.operationsNetworks = networks("http.operations_networks")
        settings.corsOrigins = Set(ConfigurationKey.list(text("http.cors_origins")))
        settings.allowedHosts = Set(
            ConfigurationKey.list(text("http.allowed_hosts")).map { $0.lowercased() })
        settings.isLoopbackOnly = ConfigurationKey.isLoopback(text("http.host"))
        settings.isSecure = isSecure
        settings.isTokenRequired = text("auth.required") == "on"
        return settings
    }
}
