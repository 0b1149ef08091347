// JSON that is written by hand, read back by a parser that is not ours.
// SPDX-License-Identifier: Apache-2.0

import API
import Foundation
import NIOCore
import NIOFoundationCompat
import Testing

@Suite struct JSONTextTests {
    private func parsed(_ bytes: ByteBuffer) throws -> NSDictionary {
        try #require(try JSONSerialization.jsonObject(with: Data(buffer: bytes)) as? NSDictionary)
    }

    @Test("objects, arrays and what is in them come out as they went in")
    func shapes() throws {
        let written = JSONText.object { body in
            body.member("empty") { _ in }
            body.member("nothing", of: [String]()) { $0.member("x", $1) }
            body.member("count", Int.min)
            body.member("inner") { inner in
                inner.member("a", "b")
                inner.member("c", 1)
            }
            body.member("list", of: ["x", "y"]) { $0.member("name", $1) }
            body.member("after", "z")
        }
        let expected: NSDictionary = [
            "empty": [:] as NSDictionary, "nothing": [] as NSArray, "count": Int64.min,
            "inner": ["a": "b", "c": 1] as NSDictionary,
            "list": [["name": "x"], ["name": "y"]] as NSArray, "after": "z",
        ]
        #expect(try parsed(written) == expected)
    }

    @Test(
        "any text is read back as it was",
        arguments: [
            "", "plain", "\"", "\\", "a\"b\\c", "\n\r\t\u{0}\u{1F}\u{7F}", "مرصد", "🎥\u{2028}",
            String((0..<128).map { Character(Unicode.Scalar(UInt8($0))) }),
        ])
    func texts(text: String) throws {
        let written = JSONText.object { $0.member("text", text) }
        #expect(try parsed(written)["text"] as? String == text)
    }
}
