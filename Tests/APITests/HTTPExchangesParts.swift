// Requests in the parts that a connection reads, and what it says of them in words.
// SPDX-License-Identifier: Apache-2.0

import API
import HTTPTypes
import NIOCore
import NIOHTTP1
import Primitives

/// A moment of a connection that is made at second 0.
func second(_ number: Int64) -> Instant {
    Instant(nanoseconds: 1_000_000_000_000) + .seconds(number)
}

func head(
    _ path: String, _ fields: KeyValuePairs<String, String> = [:], method: HTTPMethod = .GET,
    version: HTTPVersion = .http1_1
) -> HTTPServerRequestPart {
    var headers = HTTPHeaders([("Host", "localhost")])
    for (name, value) in fields { headers.add(name: name, value: value) }
    return .head(HTTPRequestHead(version: version, method: method, uri: path, headers: headers))
}

/// The head of a request whose body comes to its handler in parts.
func upload(_ path: String) -> HTTPServerRequestPart {
    head(path, ["Transfer-Encoding": "chunked"])
}

func body(_ text: String) -> HTTPServerRequestPart { .body(ByteBuffer(string: text)) }

func get(
    _ path: String, _ fields: KeyValuePairs<String, String> = [:]
) -> [HTTPServerRequestPart] { [head(path, fields), .end(nil)] }

extension HTTPExchanges {
    init() {
        self.init(Limits(arrival: .seconds(30), silence: .seconds(75)), at: second(0))
    }

    init(after parts: [HTTPServerRequestPart]) {
        self.init()
        receive(parts, at: second(1))
    }

    mutating func receive(_ parts: [HTTPServerRequestPart], at now: Instant) {
        for part in parts { receive(part, at: now) }
    }

    /// What it says, in words that a test can compare.
    mutating func said() -> [String] {
        var words: [String] = []
        while let output = pollOutput() {
            switch output {
            case .ask(let request, .whole(let bytes), let number):
                words.append("ask \(request.path ?? "") \(number) \(String(buffer: bytes))")
            case .ask(let request, .streamed, let number):
                words.append("ask \(request.path ?? "") \(number) …")
            case .body(let bytes): words.append("body \(String(buffer: bytes))")
            case .bodyEnd(let isWhole): words.append(isWhole ? "whole" : "torn")
            case .leaveToSend: words.append("continue")
            case .refuse(_, let isHead): words.append(isHead ? "refuse HEAD" : "refuse")
            case .read: words.append("read")
            case .watchAnswers: words.append("watch")
            case .closeOutput: words.append("close output")
            case .close: words.append("close")
            }
        }
        return words
    }
}
