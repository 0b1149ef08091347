// The address of a service that the configuration names.
// SPDX-License-Identifier: Apache-2.0

import Foundation
import NIOCore

/// An `https` or `http` URL without user, password and fragment.
package struct OutboundURL: Sendable, Equatable {
    private static let longest = 2048

    let text: String
    /// A name or an address, without brackets.
    package let host: String
    package let port: Int
    package let isEncrypted: Bool

    /// `nil` for anything else, and for a host that is neither an address nor a plain name: what reads
    /// the URL later must not find another host in it.
    package init?(_ text: String) {
        guard text.utf8.count <= Self.longest,
            text.utf8.allSatisfy({ (0x21...0x7E).contains($0) && $0 != UInt8(ascii: "\\") }),
            !Self.authority(of: text).contains("%"),
            let url = URL(string: text), let scheme = url.scheme?.lowercased(),
            scheme == "https" || scheme == "http",
            url.user == nil, url.password == nil, url.fragment == nil, let named = url.host
        else { return nil }
        let host = named.hasPrefix("[") ? String(named.dropFirst().dropLast()) : named
        let port = url.port ?? (scheme == "https" ? 443 : 80)
        guard (1...65_535).contains(port), Self.isName(host) || Self.isAddress(host) else {
            return nil
        }
        self.text = text
        self.host = host
        self.port = port
        isEncrypted = scheme == "https"
    }

    /// What stands between `//` and the path.
    private static func authority(of text: String) -> Substring {
        text.drop { $0 != "/" }.dropFirst(2).prefix { !"/?#".contains($0) }
    }

    private static func isAddress(_ host: String) -> Bool {
        (try? SocketAddress(ipAddress: host, port: 0)) != nil
    }

    private static func isName(_ host: String) -> Bool {
        (1...253).contains(host.utf8.count)
            && host.utf8.allSatisfy {
                switch $0 {
                case 48...57, 65...90, 97...122: true
                default: [UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_")].contains($0)
                }
            }
    }
}
