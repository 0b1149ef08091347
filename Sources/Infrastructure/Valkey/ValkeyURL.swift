// Where Valkey is and how to log in: one URL.
// SPDX-License-Identifier: Apache-2.0

package import Primitives

/// A server's address.
package struct ValkeyAddress: Hashable, Sendable, CustomStringConvertible {
    package var host: String
    package var port: Int

    package init(host: String, port: Int) {
        self.host = host
        self.port = port
    }

    /// `host:port`, also with an IPv6 address in brackets or bare, as servers write it.
    init?(_ text: some StringProtocol, defaultPort: Int? = nil) {
        let host: String
        let rest: Substring
        if text.hasPrefix("["), let end = text.firstIndex(of: "]") {
            host = String(text[text.index(after: text.startIndex)..<end])
            rest = Substring(text[text.index(after: end)...])
        } else if let colon = text.lastIndex(of: ":") {
            host = String(text[..<colon])
            rest = Substring(text[colon...])
        } else {
            host = String(text)
            rest = ""
        }
        guard host.utf8.count <= 255, host.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F }) else {
            return nil
        }
        if rest.isEmpty {
            guard let defaultPort else { return nil }
            port = defaultPort
        } else {
            guard rest.first == ":", let number = UInt16(rest.dropFirst()), number > 0 else {
                return nil
            }
            port = Int(number)
        }
        self.host = host
    }

    package var description: String { host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)" }
}

/// Why a text is no address of Valkey. Never holds the text, which may hold a password.
package enum ValkeyURLError: Error, Hashable, Sendable {
    case invalid
    /// `valkeys://` and `rediss://`: this program does not speak TLS to Valkey.
    case encrypted
}

/// `valkey://[user:password@]host[:port][,host[:port]…][/database][?sentinel=name]`.
///
/// More hosts are further members of a cluster, or with `sentinel` the sentinels that know the master.
package struct ValkeyURL: Sendable {
    package var seeds: [ValkeyAddress] = []
    /// The name by which sentinels know the master.
    package var sentinelName: String?
    package var user: String?
    package var password: Redacted<String>?
    package var database = 0

    package init(parsing text: String) throws(ValkeyURLError) {
        guard let separator = text.firstRange(of: "://"), text.utf8.count <= 2048 else {
            throw .invalid
        }
        switch text[..<separator.lowerBound].lowercased() {
        case "valkey", "redis": break
        case "valkeys", "rediss": throw .encrypted
        default: throw .invalid
        }
        var rest = text[separator.upperBound...]
        if let mark = rest.firstIndex(of: "?") {
            let query = rest[rest.index(after: mark)...]
            guard query.hasPrefix("sentinel="),
                let name = Self.decoded(query.dropFirst("sentinel=".count)), !name.isEmpty
            else { throw .invalid }
            sentinelName = name
            rest = rest[..<mark]
        }
        if let at = rest.lastIndex(of: "@") {
            try takeCredentials(rest[..<at])
            rest = rest[rest.index(after: at)...]
        }
        if let slash = rest.firstIndex(of: "/") {
            let digits = rest[rest.index(after: slash)...]
            if !digits.isEmpty {
                guard let number = UInt16(digits) else { throw .invalid }
                database = Int(number)
            }
            rest = rest[..<slash]
        }
        let defaultPort = sentinelName == nil ? 6379 : 26_379
        for part in rest.split(separator: ",", omittingEmptySubsequences: false) {
            guard let address = ValkeyAddress(part, defaultPort: defaultPort), !address.host.isEmpty
            else { throw .invalid }
            seeds.append(address)
        }
        guard (1...16).contains(seeds.count) else { throw .invalid }
    }

    private mutating func takeCredentials(_ text: Substring) throws(ValkeyURLError) {
        let parts = text.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
        guard let name = Self.decoded(parts[0]) else { throw .invalid }
        user = name.isEmpty ? nil : name
        guard parts.count == 2 else { return }
        guard let word = Self.decoded(parts[1]) else { throw .invalid }
        password = Redacted(word)
    }

    /// RFC 3986 §2.1.
    private static func decoded(_ text: Substring) -> String? {
        var bytes: [UInt8] = []
        var rest = text.utf8
        while let byte = rest.popFirst() {
            guard byte == UInt8(ascii: "%") else {
                bytes.append(byte)
                continue
            }
            guard let value = UInt8(String(decoding: rest.prefix(2), as: UTF8.self), radix: 16),
                rest.count >= 2
            else { return nil }
            bytes.append(value)
            rest = rest.dropFirst(2)
        }
        return String(validating: bytes, as: UTF8.self)
    }
}
