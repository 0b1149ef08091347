// The address of a camera, parsed once and rebuilt; its password never comes out as text.
// SPDX-License-Identifier: Apache-2.0

package import Primitives

/// A user name and password.
package struct Credentials: Hashable, Sendable {
    package var user: String
    package var password: Redacted<String>

    package init(user: String, password: Redacted<String>) {
        self.user = user
        self.password = password
    }
}

/// An `rtsp:` URL (RFC 2326 §3.2); in messages also an `rtsps:` one, where it only names things.
package struct RTSPURL: Hashable, Sendable {
    /// `rtsp` or `rtsps`.
    package let scheme: String
    /// Lower case; an IPv6 address without its brackets.
    package let host: String
    package let port: Int
    /// The path with its query, from the first `/` or `?` on; empty when there is none.
    package let path: String
    package let credentials: Credentials?

    /// Reads the address of a camera. The user part ends at the last `@` before the path, as passwords
    /// hold bare ones.
    ///
    /// `rtsps:` is refused: who asks for TLS must not have the password sent in the clear.
    package init(parsing text: String) throws(RTSPError) {
        try self.init(inMessage: text)
        guard scheme == "rtsp" else { throw RTSPError(.unsupportedScheme, at: 0) }
    }

    /// Reads what a peer calls itself or its tracks: proxies that end TLS leave `rtsps:` as it was.
    init(inMessage text: String) throws(RTSPError) {
        let bytes = Array(text.utf8)
        for (offset, byte) in bytes.enumerated() where byte <= 0x20 || byte >= 0x7F {
            throw RTSPError(.invalidCharacter, at: offset)
        }
        let lowered = String(decoding: bytes.prefix(8), as: UTF8.self).lowercased()
        let isSecure = lowered.hasPrefix("rtsps://")
        guard isSecure || lowered.hasPrefix("rtsp://") else {
            throw RTSPError(.unsupportedScheme, at: 0)
        }
        scheme = isSecure ? "rtsps" : "rtsp"
        let start = isSecure ? 8 : 7
        let rest = bytes.dropFirst(start)
        let pathStart =
            rest.firstIndex { byte in
                byte == UInt8(ascii: "/") || byte == UInt8(ascii: "?")
                    || byte == UInt8(ascii: "#")
            } ?? rest.endIndex
        path = String(
            decoding: rest[pathStart...].prefix { $0 != UInt8(ascii: "#") }, as: UTF8.self)
        var authority = rest[..<pathStart]
        if let at = authority.lastIndex(of: UInt8(ascii: "@")) {
            credentials = try Self.credentials(in: authority[..<at])
            authority = authority[(at + 1)...]
        } else {
            credentials = nil
        }
        let address = try Self.address(in: authority)
        host = address.host
        port = address.port ?? (isSecure ? 322 : 554)
    }

    /// The same URL with other credentials, or with none.
    package func with(credentials: Credentials?) -> RTSPURL {
        RTSPURL(scheme: scheme, host: host, port: port, path: path, credentials: credentials)
    }

    private init(scheme: String, host: String, port: Int, path: String, credentials: Credentials?) {
        self.scheme = scheme
        self.host = host
        self.port = port
        self.path = path
        self.credentials = credentials
    }

    private static func credentials(in text: ArraySlice<UInt8>) throws(RTSPError) -> Credentials {
        let colon = text.firstIndex(of: UInt8(ascii: ":"))
        let user = try percentDecoded(text[..<(colon ?? text.endIndex)])
        let password = try percentDecoded(colon.map { text[($0 + 1)...] } ?? [])
        return Credentials(user: user, password: Redacted(password))
    }

    private static func percentDecoded(_ text: ArraySlice<UInt8>) throws(RTSPError) -> String {
        var decoded: [UInt8] = []
        var rest = text
        while let byte = rest.popFirst() {
            guard byte == UInt8(ascii: "%") else {
                decoded.append(byte)
                continue
            }
            let at = rest.startIndex - 1
            guard rest.count >= 2,
                let value = UInt8(String(decoding: rest.prefix(2), as: UTF8.self), radix: 16)
            else { throw RTSPError(.invalidPercentEncoding, at: at) }
            decoded.append(value)
            rest = rest.dropFirst(2)
        }
        return String(decoding: decoded, as: UTF8.self)
    }

    private static func address(
        in text: ArraySlice<UInt8>
    ) throws(RTSPError) -> (host: String, port: Int?) {
        let host: ArraySlice<UInt8>
        var rest: ArraySlice<UInt8>
        if text.first == UInt8(ascii: "[") {
            guard let end = text.firstIndex(of: UInt8(ascii: "]")) else {
                throw RTSPError(.invalidHost, at: text.startIndex)
            }
            host = text[(text.startIndex + 1)..<end]
            rest = text[(end + 1)...]
            guard host.contains(UInt8(ascii: ":")), host.allSatisfy(isAddressCharacter) else {
                throw RTSPError(.invalidHost, at: text.startIndex)
            }
        } else {
            host = text.prefix { $0 != UInt8(ascii: ":") }
            rest = text[host.endIndex...]
            guard host.allSatisfy(isNameCharacter) else {
                throw RTSPError(.invalidHost, at: text.startIndex)
            }
        }
        guard !host.isEmpty, host.count <= 253 else {
            throw RTSPError(.invalidHost, at: text.startIndex)
        }
        let name = String(decoding: host, as: UTF8.self).lowercased()
        guard let colon = rest.popFirst() else { return (name, nil) }
        guard colon == UInt8(ascii: ":"), rest.allSatisfy({ (48...57).contains($0) }) else {
            throw RTSPError(.invalidPort, at: rest.startIndex - 1)
        }
        if rest.isEmpty { return (name, nil) }
        guard let port = UInt16(String(decoding: rest, as: UTF8.self)), port > 0 else {
            throw RTSPError(.invalidPort, at: rest.startIndex)
        }
        return (name, Int(port))
    }

    private static func isNameCharacter(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "."),
            UInt8(ascii: "_"):
            true
        default:
            false
        }
    }

    private static func isAddressCharacter(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "f"), UInt8(ascii: "A")...UInt8(ascii: "F"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: ":"), UInt8(ascii: "."):
            true
        default:
            false
        }
    }
}

extension RTSPURL: CustomStringConvertible, CustomDebugStringConvertible {
    /// The URL as sent in requests and shown to people: without credentials.
    package var description: String {
        let bracketed = host.utf8.contains(UInt8(ascii: ":")) ? "[\(host)]" : host
        let suffix = port == (scheme == "rtsps" ? 322 : 554) ? "" : ":\(port)"
        return "\(scheme)://\(bracketed)\(suffix)\(path)"
    }

    package var debugDescription: String { description }

    /// The absolute URL of a control attribute (RFC 2326 §C.1.1): `*` is the base itself; relative ones
    /// are appended to the whole base, query included, because that is what cameras expect (GW
    /// Security, Dahua), not what RFC 3986 would make of them.
    package func resolving(control: String) -> RTSPURL? {
        if control == "*" || control.isEmpty { return self }
        if control.utf8.prefix(8).contains(UInt8(ascii: ":")),
            let absolute = try? RTSPURL(inMessage: control)
        {
            return absolute.with(credentials: nil)
        }
        let relative = String(
            decoding: control.utf8.drop { $0 == UInt8(ascii: "/") }, as: UTF8.self)
        let separator = description.utf8.last == UInt8(ascii: "/") ? "" : "/"
        return try? RTSPURL(inMessage: description + separator + relative)
    }
}
