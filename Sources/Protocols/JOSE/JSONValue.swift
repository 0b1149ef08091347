// JSON for what is signed: one text has one meaning, and one meaning one text.
// SPDX-License-Identifier: Apache-2.0

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
        switch self {
        case .null: "null"
        case .bool(let value): value ? "true" : "false"
        case .number(let text): text
        case .string(let text): Self.quoted(text)
        case .array(let elements):
            "[" + elements.map(\.serialized).joined(separator: ",") + "]"
        case .object(let members):
            "{"
                + members.sorted { $0.key.utf8.lexicographicallyPrecedes($1.key.utf8) }
                .map { Self.quoted($0.key) + ":" + $0.value.serialized }.joined(separator: ",")
                + "}"
        }
    }

    private static func quoted(_ text: String) -> String {
        if text.utf8.allSatisfy({
            $0 >= 0x20 && $0 != UInt8(ascii: "\"") && $0 != UInt8(ascii: "\\")
        }) {
            return "\"\(text)\""
        }
        var result = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"": result += "\\\""
            case "\\": result += "\\\\"
            case "\u{00}"..."\u{1F}":
                let hex = String(scalar.value, radix: 16)
                result += "\\u" + String(repeating: "0", count: 4 - hex.count) + hex
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result + "\""
    }
}

extension JSONValue: ExpressibleByStringLiteral, ExpressibleByIntegerLiteral {
    package init(stringLiteral value: String) { self = .string(value) }
    package init(integerLiteral value: Int64) { self = .number(String(value)) }
}
