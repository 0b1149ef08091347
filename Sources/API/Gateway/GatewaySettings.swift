// What of the gateway can be configured.
// SPDX-License-Identifier: Apache-2.0

package import Outbound

/// The gateway's limits and lists; the defaults are the contract's.
package struct GatewaySettings: Sendable {
    /// Of one user, in any 60 seconds.
    package var requestsPerMinute = 1000
    /// Of one address.
    package var requestsPerSecond = 50
    /// How many requests an address that was quiet may send at once: a page with a wall of cameras
    /// asks a few questions for each when it opens.
    package var requestBurst = 100
    package var connections = 10_000
    package var connectionsPerAddress = 2000
    /// From the first line of a request to the last byte of its body.
    package var requestTimeout = Duration.seconds(30)
    /// Between requests, and while a client takes nothing of an answer.
    package var idleTimeout = Duration.seconds(75)
    /// Proxies whose word on their clients' addresses is taken.
    package var trustedProxies: [AddressBlock] = []
    /// Who may read metrics and readiness.
    package var operationsNetworks = ["127.0.0.0/8", "::1/128"].compactMap { AddressBlock($0) }
    /// Origins whose pages may use the interface, as a browser writes them.
    package var corsOrigins: Set<String> = []
    /// Names by which the server may be called, without port; beside those of the loopback address
    /// where it listens on that.
    package var allowedHosts: Set<String> = []
    package var isLoopbackOnly = true
    /// Whether who shows no token is refused; otherwise he is this machine itself.
    package var isTokenRequired = false
    /// Whether clients come by TLS.
    package var isSecure = false

    package init() {}

    /// In bytes, for any request.
    static let bodyBytes = 10 * 1024 * 1024
    static let addressBytes = 8 * 1024
    package static let headerBytes = 16 * 1024
    package static let headerFields = 100
    static let jsonDepth = 32
    /// Of an object; a list of objects has as many as its lines may.
    static let jsonValues = 4096
}
