// RTSP requests and responses as values, and their bytes.
// SPDX-License-Identifier: Apache-2.0

package import NIOCore

/// Header fields in their order; names compare without case (RFC 2326 §4.2).
package struct Headers: Equatable, Sendable {
    private var fields: [(name: String, value: String)] = []

    package init() {}

    /// The value of the first field of that name.
    package subscript(_ name: String) -> String? {
        let lowered = name.lowercased()
        return fields.first { $0.name.lowercased() == lowered }?.value
    }

    /// The values of every field of that name.
    package func all(_ name: String) -> [String] {
        let lowered = name.lowercased()
        return fields.filter { $0.name.lowercased() == lowered }.map(\.value)
    }

    /// Adds a field; control characters, which could start another field, are taken out.
    package mutating func add(_ name: String, _ value: String) {
        fields.append((Self.oneLine(name), Self.oneLine(value)))
    }

    package static func == (a: Headers, b: Headers) -> Bool {
        a.fields.elementsEqual(b.fields) { $0 == $1 }
    }

    func write(to bytes: inout ByteBuffer) {
        for field in fields { bytes.writeString("\(field.name): \(field.value)\r\n") }
    }

    private static func oneLine(_ text: String) -> String {
        guard text.utf8.contains(where: { $0 < 0x20 }) else { return text }
        return String(decoding: text.utf8.filter { $0 >= 0x20 }, as: UTF8.self)
    }
}

/// A request (RFC 2326 §6).
package struct Request: Equatable, Sendable {
    package var method: String
    package var uri: String
    package var headers: Headers
    package var body: ByteBuffer

    package init(method: String, uri: String, headers: Headers, body: ByteBuffer = ByteBuffer()) {
        self.method = method
        self.uri = uri
        self.headers = headers
        self.body = body
    }

    /// The bytes of the request; `Content-Length` is added when there is a body.
    package func serialize() -> ByteBuffer {
        serialized(startLine: "\(method) \(uri) RTSP/1.0", headers, body)
    }
}

/// A response (RFC 2326 §7).
package struct Response: Equatable, Sendable {
    package var status: Int
    package var reason: String
    package var headers: Headers
    package var body: ByteBuffer

    package init(status: Int, reason: String, headers: Headers, body: ByteBuffer = ByteBuffer()) {
        self.status = status
        self.reason = reason
        self.headers = headers
        self.body = body
    }

    /// The bytes of the response; `Content-Length` is added when there is a body.
    package func serialize() -> ByteBuffer {
        serialized(startLine: "RTSP/1.0 \(status) \(reason)", headers, body)
    }
}

/// What one RTSP connection carries.
package enum Message: Equatable, Sendable {
    case request(Request)
    case response(Response)
    /// RTP or RTCP between the messages (RFC 2326 §10.12).
    case interleaved(channel: UInt8, ByteBuffer)
}

private func serialized(startLine: String, _ headers: Headers, _ body: ByteBuffer) -> ByteBuffer {
    var bytes = ByteBuffer()
    bytes.writeString(startLine + "\r\n")
    headers.write(to: &bytes)
    if body.readableBytes > 0 { bytes.writeString("Content-Length: \(body.readableBytes)\r\n") }
    bytes.writeString("\r\n")
    bytes.writeImmutableBuffer(body)
    return bytes
}

extension Headers {
    /// Reads the head of a message: start line and fields. Folded lines are joined, lines without a
    /// colon passed over.
    static func parse(head: ByteBuffer) -> (startLine: String, headers: Headers) {
        var headers = Headers()
        var startLine = ""
        for (index, line) in head.readableBytesView.split(separator: 0x0A).enumerated() {
            let text = String(decoding: line, as: UTF8.self)
            if index == 0 {
                startLine = trimmed(text)
            } else if line.first == 0x20 || line.first == 0x09, var last = headers.fields.popLast()
            {
                last.value += " " + trimmed(text)
                headers.fields.append(last)
            } else if let colon = text.utf8.firstIndex(of: UInt8(ascii: ":")) {
                let value = text.utf8[text.utf8.index(after: colon)...]
                headers.add(
                    trimmed(String(decoding: text.utf8[..<colon], as: UTF8.self)),
                    trimmed(String(decoding: value, as: UTF8.self)))
            }
        }
        return (startLine, headers)
    }
}

/// The text without blanks and control characters at its ends.
func trimmed(_ text: String) -> String {
    let start = text.utf8.drop { $0 <= 0x20 }
    let reversed = start.reversed().drop { $0 <= 0x20 }
    return String(decoding: Array(reversed.reversed()), as: UTF8.self)
}
