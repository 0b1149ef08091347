// ICE candidates as SDP writes them.
// SPDX-License-Identifier: Apache-2.0

/// One `a=candidate` line (RFC 8839 §5.1, RFC 6544 §4.5), of the only component there is.
package struct Candidate: Hashable, Sendable {
    /// How the address was found.
    package enum Kind: String, Hashable, Sendable {
        case host
        case serverReflexive = "srflx"
        case peerReflexive = "prflx"
        case relay
    }

    package var kind: Kind
    /// Of UDP, or of a TCP listener: who sends the line waits for a connection (`passive`).
    package var address: TransportAddress
    package var priority: UInt32
    /// Alike for candidates of one kind, transport and base address.
    package var foundation: String

    /// An own host candidate; among several, the higher `preference` is tried first.
    package init(_ address: TransportAddress, preference: UInt16 = .max) {
        self.address = address
        kind = .host
        // Type preferences that let any UDP path win over TCP (RFC 8445 §5.1.2.1). The upper bits
        // of a TCP preference are its direction: 4 for passive (RFC 6544 §4.2).
        let isUDP = address.transport == .udp
        let local = isUDP ? UInt32(preference) : 4 << 13 | UInt32(preference >> 3)
        priority = (isUDP ? 126 : 90) << 24 | local << 8 | 255
        var hash: UInt32 = isUDP ? 0x811C_9DC5 : 0x811C_9DC4
        for byte in address.host.utf8 { hash = (hash ^ UInt32(byte)) &* 0x0100_0193 }
        foundation = String(hash)
    }

    /// Reads what follows `a=`, with or without `candidate:`. `nil` for what this server cannot
    /// use or read: other transports, other components, mDNS names (`….local`), damage.
    package init?(parsing text: String) {
        let words = text.utf8.split(separator: 0x20, maxSplits: 40)
            .map { String(decoding: $0, as: UTF8.self) }
        guard words.count >= 8, words[1] == "1", words[6].lowercased() == "typ",
            let transport = Self.transport(words), let priority = UInt32(words[3]),
            let port = UInt16(words[5]), port > 0,
            let address = TransportAddress(host: words[4], port: port, transport: transport),
            let kind = Kind(rawValue: words[7].lowercased())
        else { return nil }
        self.priority = priority
        self.address = address
        self.kind = kind
        let prefix = "candidate:"
        let first = words[0]
        foundation = first.hasPrefix(prefix) ? String(first.dropFirst(prefix.count)) : first
    }

    private static func transport(_ words: [String]) -> TransportAddress.Transport? {
        switch words[2].lowercased() {
        case "udp":
            return .udp
        case "tcp":
            let type = words.firstIndex(of: "tcptype").flatMap { words.dropFirst($0 + 1).first }
            return type?.lowercased() == "passive" ? .tcp : nil
        default:
            return nil
        }
    }

    /// What follows `a=candidate:`.
    package var text: String {
        let isUDP = address.transport == .udp
        let head = "\(foundation) 1 \(isUDP ? "udp" : "tcp") \(priority)"
        let line = "\(head) \(address.host) \(address.port) typ \(kind.rawValue)"
        // A reflexive or relayed address names its base; ours is nobody's business (RFC 8839 §5.1).
        let base = kind == .host ? "" : " raddr 0.0.0.0 rport 9"
        return line + base + (isUDP ? "" : " tcptype passive")
    }
}
