// A block of addresses, as configurations write it.
// SPDX-License-Identifier: Apache-2.0

package import NIOCore

/// A block of IPv4 or IPv6 addresses (`10.0.0.0/8`, `fd00::/8`).
package struct AddressBlock: Sendable, Equatable, CustomStringConvertible {
    private let bytes: [UInt8]
    private let prefixLength: Int
    package let description: String

    /// `nil` unless the text is an address, a slash, and a prefix length that fits it.
    package init?(_ text: String) {
        let parts = text.split(separator: "/", omittingEmptySubsequences: false)
        guard parts.count == 2, parts[1].utf8.allSatisfy({ (48...57).contains($0) }),
            let length = Int(parts[1]),
            let address = try? SocketAddress(ipAddress: String(parts[0]), port: 0)
        else { return nil }
        let bytes = Self.bytes(of: address)
        guard !bytes.isEmpty, (0...(bytes.count * 8)).contains(length) else { return nil }
        self.bytes = bytes
        prefixLength = length
        description = text
    }

    package func contains(_ address: SocketAddress) -> Bool {
        let other = Self.bytes(of: address)
        guard other.count == bytes.count else { return false }
        for bit in 0..<prefixLength {
            let mask = UInt8(0x80) >> UInt8(bit % 8)
            if bytes[bit / 8] & mask != other[bit / 8] & mask { return false }
        }
        return true
    }

    /// The address in network order, of 4 or 16 bytes; an IPv4-mapped IPv6 address counts as the IPv4
    /// address it hides.
    package static func bytes(of address: SocketAddress) -> [UInt8] {
        switch address {
        case .v4(let v4):
            return withUnsafeBytes(of: v4.address) { Array($0[4..<8]) }  // sockaddr_in.sin_addr
        case .v6(let v6):
            let bytes = withUnsafeBytes(of: v6.address) { Array($0[8..<24]) }  // sin6_addr
            let mapped =
                bytes.prefix(10).allSatisfy { $0 == 0 } && bytes[10] == 255 && bytes[11] == 255
            return mapped ? Array(bytes.suffix(4)) : bytes
        case .unixDomainSocket:
            return []
        }
    }

    /// Addresses at which the known clouds hand out credentials: nothing is asked there, whatever network
    /// they lie in.
    package static let metadataServices = [
        "169.254.169.254/32", "fd00:ec2::254/128", "fd20:ce::254/128", "fd00:c1::a9fe:a9fe/128",
        "100.100.100.200/32", "168.63.129.16/32",
    ].compactMap(AddressBlock.init)
}
