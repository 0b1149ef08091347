// By which names the server is called, and whose pages may open its WebSockets.
// SPDX-License-Identifier: Apache-2.0

extension GatewaySettings {
    /// Whether the server is meant by this name. A page of another site can reach the loopback address
    /// by a name of its own that resolves to it (DNS rebinding).
    package func isCalled(_ authority: String?) -> Bool {
        guard let authority else { return true }
        let host = Self.host(of: authority).lowercased()
        if allowedHosts.contains(host) { return true }
        guard isLoopbackOnly else { return allowedHosts.isEmpty }
        let isIPv4 =
            host.hasPrefix("127.") && host.utf8.allSatisfy { (46...57).contains($0) && $0 != 47 }
        return isIPv4 || host == "::1" || host == "localhost"
    }

    /// Whether a page of this origin may open a WebSocket: our own pages, and the configured origins.
    /// The header of a browser cannot be forged by a page; a request without one is no browser's.
    package func mayConnect(from origin: String?, to authority: String?) -> Bool {
        guard let origin else { return true }
        if corsOrigins.contains(origin) { return true }
        guard let authority, let scheme = ["http://", "https://"].first(where: origin.hasPrefix)
        else { return false }
        return origin.dropFirst(scheme.count).lowercased() == authority.lowercased()
    }

    private static func host(of authority: String) -> String {
        if authority.utf8.first == UInt8(ascii: "[") {
            return String(authority.dropFirst().prefix { $0 != "]" })
        }
        return authority.utf8.firstIndex(of: UInt8(ascii: ":")).map { String(authority[..<$0]) }
            ?? authority
    }
}
