// Reading session descriptions as cameras and browsers write them: tolerant, in one place.
// SPDX-License-Identifier: Apache-2.0

package import NIOCore

extension SessionDescription {
    private static let maxBytes = 256 * 1024
    private static let maxMedia = 64
    /// A browser's video section has about 200; the rest is passed over.
    fileprivate static let maxAttributes = 512

    /// Reads a description from text.
    package init(parsing text: String) throws(SDPError) {
        try self.init(parsing: ByteBuffer(string: text))
    }

    /// Reads a description. Unknown lines, lines out of order and damaged attributes are passed over;
    /// only text that is no description at all is refused.
    package init(parsing bytes: ByteBuffer) throws(SDPError) {
        guard bytes.readableBytes <= Self.maxBytes else { throw SDPError(.tooLarge, line: 0) }
        self.init(name: "", control: nil, media: [])
        var isDescription = false
        var isSkipping = false
        var number = 0
        let lines = bytes.readableBytesView.split(
            omittingEmptySubsequences: false, whereSeparator: { $0 == 0x0A })
        for line in lines {
            number += 1
            guard line.count >= 2, line[line.startIndex + 1] == UInt8(ascii: "=") else { continue }
            let value = Self.trimmed(String(decoding: line.dropFirst(2), as: UTF8.self))
            switch line[line.startIndex] {
            case UInt8(ascii: "v"):
                isDescription = true
            case UInt8(ascii: "s"):
                name = value
            case UInt8(ascii: "m"):
                guard media.count < Self.maxMedia else {
                    throw SDPError(.tooManyMedia, line: number)
                }
                isDescription = true
                // Without a kind the section means nothing, nor do the attributes after it.
                let section = Media(mediaLine: value)
                isSkipping = section.kind.isEmpty
                if !isSkipping { media.append(section) }
            case UInt8(ascii: "a") where !isSkipping:
                let (name, text) = Self.cut(value, at: UInt8(ascii: ":"))
                if media.isEmpty {
                    read(attribute: name.lowercased(), text)
                } else {
                    media[media.count - 1].read(attribute: name.lowercased(), text)
                }
            default:
                continue
            }
        }
        guard isDescription else { throw SDPError(.notASessionDescription, line: number) }
    }

    private mutating func read(attribute: String, _ text: String) {
        if attribute == "control" {
            control = text
        } else if !attribute.isEmpty, attributes.count < Self.maxAttributes {
            attributes.append(Attribute(attribute, text))
        }
    }

    /// The text before and after the first `separator`, both trimmed; after is empty without one.
    static func cut(_ text: String, at separator: UInt8) -> (String, String) {
        guard let index = text.utf8.firstIndex(of: separator) else { return (text, "") }
        let after = text.utf8[text.utf8.index(after: index)...]
        return (
            trimmed(String(decoding: text.utf8[..<index], as: UTF8.self)),
            trimmed(String(decoding: after, as: UTF8.self))
        )
    }

    static func trimmed(_ text: String) -> String {
        func isBlank(_ byte: UInt8) -> Bool { byte <= 0x20 }
        let start = text.utf8.drop(while: isBlank)
        let end = start.reversed().drop(while: isBlank)
        return String(decoding: Array(end.reversed()), as: UTF8.self)
    }
}

extension SessionDescription.Media {
    /// `<kind> <port>[/<count>] <proto> <fmt>…`; formats that are no payload type are left out
    /// (TP-Link: `application/TP-LINK 0 RTP/AVP smart/1/90000`).
    fileprivate init(mediaLine: String) {
        let parts = mediaLine.utf8.split { $0 == 0x20 || $0 == 0x09 }
            .map { String(decoding: $0, as: UTF8.self) }
        let port = parts.dropFirst().first.map { SessionDescription.cut($0, at: 0x2F).0 }
        self.init(
            kind: SessionDescription.oneLine(parts.first ?? "").lowercased(),
            port: port.flatMap { UInt16($0) }.map(Int.init) ?? 0,
            transport: parts.dropFirst(2).first ?? "RTP/AVP",
            payloadTypes: parts.dropFirst(3).prefix(128).compactMap { text in
                UInt8(text).flatMap { $0 < 128 ? $0 : nil }
            })
    }

    fileprivate mutating func read(attribute: String, _ text: String) {
        switch attribute {
        case "control":
            control = text
        case "rtpmap":
            let (type, encoding) = SessionDescription.cut(text, at: 0x20)
            let (name, clock) = SessionDescription.cut(encoding, at: 0x2F)
            let (rateText, channels) = SessionDescription.cut(clock, at: 0x2F)
            guard let type = UInt8(type), !name.isEmpty, let rate = UInt32(rateText), rate > 0
            else { return }
            rtpmap[type] = SessionDescription.RTPMap(
                encoding: name, clockRate: Int(rate), channels: UInt8(channels).map(Int.init) ?? 1)
        case "fmtp":
            let (type, list) = SessionDescription.cut(text, at: 0x20)
            guard let type = UInt8(type) else { return }
            var parameters = fmtp[type] ?? [:]
            for item in list.utf8.split(separator: UInt8(ascii: ";")).prefix(64) {
                let pair = String(decoding: item, as: UTF8.self)
                let (name, value) = SessionDescription.cut(pair, at: UInt8(ascii: "="))
                let key = SessionDescription.trimmed(name).lowercased()
                if !key.isEmpty { parameters[key] = value }
            }
            fmtp[type] = parameters
        default:
            guard !attribute.isEmpty, attributes.count < SessionDescription.maxAttributes else {
                return
            }
            attributes.append(SessionDescription.Attribute(attribute, text))
        }
    }
}
