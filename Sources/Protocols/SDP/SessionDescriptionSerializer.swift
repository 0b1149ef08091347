// Writing session descriptions: strict, whatever was read before.
// SPDX-License-Identifier: Apache-2.0

package import NIOCore

extension SessionDescription {
    /// The bytes of the description (RFC 8866 §5). A section without a kind is left out: nothing
    /// could read its `m=` line.
    package func serialize() -> ByteBuffer {
        let title = Self.oneLine(name)
        var lines = [
            "v=0", "o=- 0 0 IN IP4 0.0.0.0", "s=\(title.isEmpty ? "-" : title)",
            "c=IN IP4 0.0.0.0", "t=0 0",
        ]
        if let control { lines.append("a=control:\(Self.oneLine(control))") }
        lines.append(contentsOf: attributes.map(\.line))
        for section in media { lines.append(contentsOf: section.lines) }
        return ByteBuffer(string: lines.joined(separator: "\r\n") + "\r\n")
    }

    /// No value may start a line of its own.
    static func oneLine(_ text: String) -> String {
        String(decoding: text.utf8.filter { $0 >= 0x20 && $0 != 0x7F }, as: UTF8.self)
    }
}

extension SessionDescription.Attribute {
    fileprivate var line: String {
        let text = SessionDescription.oneLine(value)
        return "a=\(SessionDescription.oneLine(name))" + (text.isEmpty ? "" : ":\(text)")
    }
}

extension SessionDescription.Media {
    fileprivate var lines: [String] {
        let kind = SessionDescription.oneLine(kind)
        guard !kind.isEmpty else { return [] }
        let types = payloadTypes.map(String.init).joined(separator: " ")
        var lines = ["m=\(kind) \(port) \(SessionDescription.oneLine(transport)) \(types)"]
        for type in payloadTypes {
            if let map = rtpmap[type] {
                let channels = map.channels > 1 ? "/\(map.channels)" : ""
                let encoding = SessionDescription.oneLine(map.encoding)
                lines.append("a=rtpmap:\(type) \(encoding)/\(map.clockRate)\(channels)")
            }
            if let parameters = fmtp[type], !parameters.isEmpty {
                let list = parameters.sorted { $0.key < $1.key }.map(Self.pair)
                lines.append("a=fmtp:\(type) \(list.joined(separator: ";"))")
            }
        }
        if let control { lines.append("a=control:\(SessionDescription.oneLine(control))") }
        return lines + attributes.map(\.line)
    }

    private static func pair(_ name: String, _ value: String) -> String {
        "\(SessionDescription.oneLine(name))=\(SessionDescription.oneLine(value))"
    }
}
