// Where a datagram comes from or goes to, as plain integers.
// SPDX-License-Identifier: Apache-2.0

/// An IP address and port of one transport, cheap to compare and to hash: no reference, no text.
///
/// An IPv4 address that arrives mapped into IPv6 (`::ffff:a.b.c.d`, as dual-stack sockets give it)
/// is the IPv4 address, so that a peer is told the address it knows itself by.
package struct TransportAddress: Hashable, Sendable {
    /// Port number.
    package let port: UInt16
    /// Whether the address has 128 bits.
    package let isIPv6: Bool
    /// UDP datagrams, or framed packets of a TCP connection (RFC 6544).
    package let transport: Transport
    private let upper: UInt64
    private let lower: UInt64

    /// What carries the packets; the same port of UDP and of TCP are two addresses.
    package enum Transport: UInt8, Hashable, Sendable {
        case udp
        case tcp
    }

    /// An IPv4 address in host order.
    package init(ipv4: UInt32, port: UInt16, transport: Transport = .udp) {
        self.port = port
        self.transport = transport
        isIPv6 = false
        upper = 0
        lower = UInt64(ipv4)
    }

    /// An IPv6 address as its upper and lower 64 bits in host order.
    package init(
        ipv6 address: (upper: UInt64, lower: UInt64), port: UInt16, transport: Transport = .udp
    ) {
        let isMapped = address.upper == 0 && address.lower >> 32 == 0xFFFF
        self.port = port
        self.transport = transport
        isIPv6 = !isMapped
        upper = isMapped ? 0 : address.upper
        lower = isMapped ? address.lower & 0xFFFF_FFFF : address.lower
    }

    /// A numeric address (RFC 4291 §2.2 for IPv6, brackets allowed); names and zones are refused.
    package init?(host: String, port: UInt16, transport: Transport = .udp) {
        guard host.utf8.count <= 47 else { return nil }
        if let address = Self.ipv4(host[...]) {
            self.init(ipv4: address, port: port, transport: transport)
        } else {
            var text = host[...]
            if text.hasPrefix("["), text.hasSuffix("]") { text = text.dropFirst().dropLast() }
            guard let address = Self.ipv6(text) else { return nil }
            self.init(ipv6: address, port: port, transport: transport)
        }
    }

    /// The IPv4 address in host order; `nil` for IPv6.
    package var ipv4: UInt32? { isIPv6 ? nil : UInt32(truncatingIfNeeded: lower) }

    /// The IPv6 address as two halves in host order; `nil` for IPv4.
    package var ipv6: (upper: UInt64, lower: UInt64)? { isIPv6 ? (upper, lower) : nil }

    /// The address without the port: dotted, or as RFC 5952 §4 writes it.
    package var host: String {
        guard isIPv6 else {
            return [24, 16, 8, 0].map { String(lower >> UInt64($0) & 0xFF) }.joined(separator: ".")
        }
        let groups = [upper, lower].flatMap { half in
            [48, 32, 16, 0].map { UInt16(truncatingIfNeeded: half >> UInt64($0)) }
        }
        var run = 0..<0
        var start = 0
        for (index, group) in groups.enumerated() {
            if group != 0 { start = index + 1 }
            if index + 1 - start > run.count { run = start..<(index + 1) }
        }
        func text(_ part: ArraySlice<UInt16>) -> String {
            part.map { String($0, radix: 16) }.joined(separator: ":")
        }
        if run.count < 2 { return text(groups[...]) }
        return text(groups[..<run.lowerBound]) + "::" + text(groups[run.upperBound...])
    }

    private static func ipv4(_ text: Substring) -> UInt32? {
        let parts = text.utf8.split(
            separator: UInt8(ascii: "."), maxSplits: 4, omittingEmptySubsequences: false)
        guard parts.count == 4 else { return nil }
        var address: UInt32 = 0
        for part in parts {
            guard (1...3).contains(part.count), part.allSatisfy({ (48...57).contains($0) }),
                part.count == 1 || part.first != 48
            else { return nil }
            let value = part.reduce(UInt32(0)) { $0 * 10 + UInt32($1 - 48) }
            guard value <= 255 else { return nil }
            address = address << 8 | value
        }
        return address
    }

    private static func ipv6(_ text: Substring) -> (upper: UInt64, lower: UInt64)? {
        let halves = text.split(separator: "::", maxSplits: 2, omittingEmptySubsequences: false)
        guard let first = halves.first, halves.count <= 2,
            let head = groups(first, mayEndDotted: halves.count == 1)
        else { return nil }
        var all = head
        if halves.count == 2, let last = halves.last {
            guard let tail = groups(last, mayEndDotted: true), head.count + tail.count < 8 else {
                return nil
            }
            all += Array(repeating: 0, count: 8 - head.count - tail.count) + tail
        }
        guard all.count == 8 else { return nil }
        func joined(_ part: ArraySlice<UInt16>) -> UInt64 {
            part.reduce(0) { $0 << 16 | UInt64($1) }
        }
        return (joined(all[..<4]), joined(all[4...]))
    }

    private static func groups(_ text: Substring, mayEndDotted: Bool) -> [UInt16]? {
        if text.isEmpty { return [] }
        let parts = text.split(separator: ":", maxSplits: 8, omittingEmptySubsequences: false)
        guard parts.count <= 8 else { return nil }
        var groups: [UInt16] = []
        for (index, part) in parts.enumerated() {
            if mayEndDotted, index == parts.count - 1, let address = ipv4(part) {
                groups.append(UInt16(truncatingIfNeeded: address >> 16))
                groups.append(UInt16(truncatingIfNeeded: address))
                continue
            }
            guard part.utf8.count <= 4, part.first != "+", part.first != "-",
                let value = UInt16(part, radix: 16)
            else { return nil }
            groups.append(value)
        }
        return groups
    }
}

extension TransportAddress: CustomStringConvertible {
    /// `192.0.2.1:5000`, `[2001:db8::1]:5000`, with `/tcp` behind an address of TCP.
    package var description: String {
        (isIPv6 ? "[\(host)]:\(port)" : "\(host):\(port)") + (transport == .tcp ? "/tcp" : "")
    }
}
