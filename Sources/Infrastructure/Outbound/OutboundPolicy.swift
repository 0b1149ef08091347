// Which addresses a request to another service may go to: the guard against a name that leads inside.
// SPDX-License-Identifier: Apache-2.0

package import NIOCore

/// Asked of the resolved address, which is then the one connected to: a name that resolves otherwise a
/// moment later (DNS rebinding) changes nothing.
package struct OutboundPolicy: Sendable {
    /// Where requests may go in any case, also without TLS: `outbound.networks`.
    package var networks: [AddressBlock]

    package init(networks: [AddressBlock]) { self.networks = networks }

    /// This host and its neighbours, by whatever form of address: nothing that a service elsewhere has.
    private static let inside = [
        "0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/3",
        // Unspecified, loopback and IPv4-compatible; link-local; multicast; and two that hide IPv4.
        "::/96", "fe80::/10", "ff00::/8", "64:ff9b::/96", "2002::/16",
    ].compactMap(AddressBlock.init)

    /// - Parameter isEncrypted: whether the service proves by TLS who it is.
    package func allows(_ address: SocketAddress, isEncrypted: Bool) -> Bool {
        // What hides an IPv4 address is that address to whoever translates it.
        for address in [address, Self.hidden(in: address)].compactMap(\.self)
        where AddressBlock.metadataServices.contains(where: { $0.contains(address) }) {
            return false
        }
        if networks.contains(where: { $0.contains(address) }) { return true }
        return isEncrypted && !AddressBlock.bytes(of: address).isEmpty
            && !Self.inside.contains { $0.contains(address) }
    }

    /// The IPv4 address in a NAT64 (RFC 6052), 6to4 (RFC 3056) or IPv4-compatible one.
    private static func hidden(in address: SocketAddress) -> SocketAddress? {
        let bytes = AddressBlock.bytes(of: address)
        guard bytes.count == 16 else { return nil }
        let hidden: [UInt8]
        if bytes.starts(with: [0x20, 0x02]) {
            hidden = Array(bytes[2..<6])
        } else if bytes.starts(with: [0, 0x64, 0xFF, 0x9B])
            || bytes.prefix(12).allSatisfy({ $0 == 0 })
        {
            hidden = Array(bytes.suffix(4))
        } else {
            return nil
        }
        return try? SocketAddress(packedIPAddress: ByteBuffer(bytes: hidden), port: 0)
    }
}
