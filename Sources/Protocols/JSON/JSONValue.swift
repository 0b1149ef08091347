// JSON that is read strictly and written in one way: one text has one meaning, and one meaning one text.
// SPDX-License-Identifier: Apache-2.0

import Primitives

/// A JSON value (RFC 8259) without anything that two readers could read differently.
package enum JSONValue: Hashable, Sendable {
    case null
    case bool(Bool)
    /// As it was written: a double would round identifiers and times.
    case number(String)
    case string(String)
    case array([JSONValue])
    case object([String: JSONValue])

    package var text: String? {
        if case .string(let text) = self { text } else { nil }
    }

    package var members: [String: JSONValue]? {
        if case .object(let members) = self { members } else { nil }
    }

    package var elements: [JSONValue]? {
        if case .array(let elements) = self { elements } else { nil }
    }

    /// The whole part of a number without an exponent; `nil` for any other value, and beyond 15 digits.
    package var integer: Int64? {
        guard case .number(let text) = self, !text.contains(where: { $0 == "e" || $0 == "E" })
        else { return nil }
        let whole = text.prefix { $0 != "." }
        return whole.utf8.count <= 15 ? Int64(whole) : nil
    }

    /// Names in order of their bytes, no blanks: the form that is signed and hashed.
    package var serialized: String {
        var text: [UInt8] = []
        text.reserveCapacity(256)
        write(to: &text)
        return String(decoding: text, as: UTF8.self)
    }

    private func write(to text: inout [UInt8]) {
        switch self {
        case .null: text.append(contentsOf: "null".utf8)
        case .bool(let value): text.append(contentsOf: (value ? "true" : "false").utf8)
        case .number(let number): text.append(contentsOf: number.utf8)
        case .string(let string): text.appendJSONString(string)
        case .array(let elements):
            text.append(UInt8(ascii: "["))
            for (index, element) in elements.enumerated() {
                if index > 0 { text.append(UInt8(ascii: ",")) }
                element.write(to: &text)
            }
            text.append(UInt8(ascii: "]"))
        case .object(let members):
            text.append(UInt8(ascii: "{"))
            let names = members.keys.sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
            for (index, name) in names.enumerated() {
                if index > 0 { text.append(UInt8(ascii: ",")) }
                text.appendJSONString(name)
                text.append(UInt8(ascii: ":"))
                members[name]?.write(to: &text)
            }
            text.append(UInt8(ascii: "}"))
        }
    }
}

extension JSONValue: ExpressibleByStringLiteral, ExpressibleByIntegerLiteral {
    package init(stringLiteral value: String) { self = .string(value) }
    package init(integerLiteral value: Int64) { self = .number(String(value)) }
}
