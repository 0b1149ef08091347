// The head of a request as it came, looked through once.
// SPDX-License-Identifier: Apache-2.0

import HTTPTypes
import NIOHTTP1
import NIOHTTPTypesHTTP1

/// A request without its body, and what its head says about its connection.
struct RequestHead {
    /// How its body ends (RFC 9112 §6.3).
    enum Body {
        case after(bytes: Int)
        case afterLastChunk
    }

    let request: HTTPRequest
    let body: Body
    /// Whether the connection ends with the answer. It does for who offers another protocol: the decoder
    /// reads nothing behind that.
    let isLast: Bool
    /// Whether the client waits for a word before it sends the body (RFC 9110 §10.1.1).
    let expectsContinue: Bool

    /// `nil` for what says twice what a request says once: two readers of it could each believe another
    /// (RFC 9112 §3.2, §6.3).
    init?(_ head: HTTPRequestHead) {
        guard let method = try? HTTPRequest.Method(head.method) else { return nil }
        var fields = HTTPFields()
        fields.reserveCapacity(head.headers.count)
        var host: String?
        var length: Int?
        var isChunked = false
        // Behind a CONNECT comes another protocol, and the decoder reads none of it.
        var isLast = head.version != .http1_1 || head.method == .CONNECT
        var expectsContinue = false
        for (name, value) in head.headers {
            guard let name = HTTPField.Name(name) else { return nil }
            switch name.canonicalName {
            case "host":
                guard host == nil else { return nil }
                host = value
                continue
            case "content-length":
                guard length == nil, let bytes = Int(value), bytes >= 0 else { return nil }
                length = bytes
            case "transfer-encoding":
                guard !isChunked, value.lowercased() == "chunked" else { return nil }
                isChunked = true
            case "connection": isLast = isLast || value.lowercased().contains("close")
            case "upgrade": isLast = true
            case "expect":
                expectsContinue =
                    value.lowercased() == "100-continue" && head.version == .http1_1
            default: break
            }
            fields.append(HTTPField(name: name, value: value))
        }
        guard host != nil || head.version == .http1_0, length == nil || !isChunked else {
            return nil
        }
        body = isChunked ? .afterLastChunk : .after(bytes: length ?? 0)
        self.isLast = isLast
        self.expectsContinue = expectsContinue
        if head.uri.hasPrefix("/") {
            request = HTTPRequest(
                method: method, scheme: "http", authority: host, path: head.uri,
                headerFields: fields)
        } else {
            // The absolute form (RFC 9112 §3.2.2) and others that only proxies are asked with.
            guard
                let whole = try? HTTPRequest(head, secure: false, splitCookie: false)
            else { return nil }
            request = whole
        }
    }
}
