// Where a request comes from, behind the proxies whose word is taken.
// SPDX-License-Identifier: Apache-2.0

package import NIOCore
package import Outbound

/// A client's address without its port.
package struct ClientAddress: Sendable, Hashable {
    package let text: String
    private let socket: SocketAddress?

    package init(_ socket: SocketAddress?) {
        self.socket = socket
        text = socket?.ipAddress ?? "unknown"
    }

    /// - Parameters:
    ///   - forwarded: all X-Forwarded-For fields, joined by commas. Each proxy adds who called it at
    ///     the right; what a client wrote itself stands at the left and is believed by nobody.
    package init(peer: ClientAddress, forwarded: String?, trusting proxies: [AddressBlock]) {
        var address = peer
        var hops = forwarded?.split(separator: ",", omittingEmptySubsequences: false)[...] ?? []
        while let hop = hops.popLast(), proxies.contains(where: address.isIn),
            let next = Self.parse(hop)
        {
            address = ClientAddress(next)
        }
        self = address
    }

    package func isIn(_ block: AddressBlock) -> Bool { socket.map(block.contains) ?? false }

    /// What is counted as one client: the address, or the /64 of an IPv6 address, which one
    /// subscriber has whole.
    package var network: [UInt8] {
        let bytes = socket.map(AddressBlock.bytes(of:)) ?? []
        return bytes.count == 16 ? Array(bytes.prefix(8)) : bytes
    }

    /// `203.0.113.7`, `203.0.113.7:4711`, `2001:db8::1` or `[2001:db8::1]:4711`.
    private static func parse(_ hop: Substring) -> SocketAddress? {
        var text = hop.filter { $0 != " " && $0 != "\t" && $0 != "\"" }
        if text.hasPrefix("[") {
            text = String(text.dropFirst().prefix { $0 != "]" })
        } else if text.filter({ $0 == ":" }).count == 1 {
            text = String(text.prefix { $0 != ":" })
        }
        return try? SocketAddress(ipAddress: text, port: 0)
    }
}
