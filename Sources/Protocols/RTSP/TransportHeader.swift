// The one header that says how media travel.
// SPDX-License-Identifier: Apache-2.0

/// A `Transport` value (RFC 2326 §12.39), read for interleaving only.
struct TransportHeader: Equatable, Sendable {
    var isTCP: Bool
    /// The RTP channel; RTCP takes the next one.
    var channel: UInt8?

    init(parsing text: String) {
        let parts = text.utf8.split(separator: UInt8(ascii: ";")).prefix(32)
            .map { trimmed(String(decoding: $0, as: UTF8.self)).lowercased() }
        isTCP = parts.first == "rtp/avp/tcp"
        for part in parts where part.hasPrefix("interleaved=") {
            let range = part.utf8.dropFirst(12)
            let first = range.prefix { $0 != UInt8(ascii: "-") }
            channel = UInt8(trimmed(String(decoding: first, as: UTF8.self)))
        }
    }

    /// The first of a list of alternatives that travels over this connection.
    static func interleaved(in header: String) -> TransportHeader? {
        header.utf8.split(separator: UInt8(ascii: ",")).prefix(8)
            .map { TransportHeader(parsing: String(decoding: $0, as: UTF8.self)) }
            .first { $0.isTCP }
    }
}
