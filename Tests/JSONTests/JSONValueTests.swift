// The strict reader of JSON, and what it writes.
// SPDX-License-Identifier: Apache-2.0

import JSON
import Testing

private func parsed(_ bytes: some Sequence<UInt8>) throws(JSONError) -> JSONValue {
    try JSONValue(parsing: Array(bytes), depth: 8, count: 4096)
}

@Suite struct JSONValueTests {
    @Test("a text that is written is read as the same value")
    func roundTrip() throws {
        let value = JSONValue.object([
            "ب": "شرطة دبي \u{1F6A8}", "a\"\\\n\u{1}": .array([.null, .bool(false), 12]),
            "o": .object([:]), "n": .number("-0.5e+10"),
        ])
        #expect(try parsed(value.serialized.utf8) == value)
        let escaped = Array(#" { "a" : "\u0628\uD83D\uDEA8\/" } "#.utf8)
        #expect(try parsed(escaped).members?["a"] == "ب\u{1F6A8}/")
    }

    @Test("refuses what RFC 8259 does not allow, and what two readers would read differently")
    func strict() {
        let bad = [
            "", " ", "tru", "nul", "01", "1.", ".5", "+1", "1e", "NaN", "'a'", "{a:1}", "[1,]",
            "{\"a\":1,}", "[1 2]", "{\"a\" 1}", "\"\u{1}\"", "\"\\x\"", "\"\\u12\"", "1 1",
            "\"\\udc00\"", "\"\\ud800\\u0041\"", "{\"a\":1,\"a\":1}",
            String(repeating: "[", count: 100) + String(repeating: "]", count: 100),
            "[" + Array(repeating: "1", count: 5000).joined(separator: ",") + "]",
        ]
        for text in bad {
            #expect(throws: JSONError.self, "\(text.prefix(40))") {
                try parsed(text.utf8)
            }
        }
        #expect(throws: JSONError.self) { try parsed([34, 0xC0, 0xAF, 34]) }
    }

    @Test(
        "depth is counted as arrays and objects lie in one another",
        arguments: [
            ("1", 0), ("{}", 1), (#"{"a":[{"b":1}]}"#, 3), (#"{"a":"[[[["}"#, 1),
            (#"{"a":"\"[["}"#, 1), (#"["\\",[1]]"#, 2), ("[[],[[]]]", 3),
        ])
    func depth(text: String, expected: Int) throws {
        let bytes = Array(text.utf8)
        _ = try JSONValue(parsing: bytes, depth: expected, count: 10)
        guard expected > 0 else { return }
        #expect(throws: JSONError.tooDeep) {
            try JSONValue(parsing: bytes, depth: expected - 1, count: 10)
        }
    }

    @Test("what is wrong is told with its place")
    func place() {
        #expect(throws: JSONError.malformed("colon expected", at: 5)) {
            try parsed(#"{"a" 1}"#.utf8)
        }
        #expect(throws: JSONError.duplicateName("a")) { try parsed(#"{"a":1,"a":2}"#.utf8) }
    }
}
