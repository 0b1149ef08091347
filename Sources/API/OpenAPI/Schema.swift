// What a value of the interface may be: JSON Schema, as far as the contract needs it.
// SPDX-License-Identifier: Apache-2.0

/// A JSON Schema (draft 2020-12, which OpenAPI 3.1 uses). An object has the keys that are listed here
/// and no other.
package struct Schema: Hashable, Sendable {
    /// Under which the document keeps it once; `nil` for one that is written where it is used.
    package private(set) var name: String?
    /// Whether an object may lack it.
    package private(set) var isOptional = false
    private var keywords: [String: JSONValue]
    private var properties: [String: Schema]?
    private var items: [Schema] = []
    private var values: [Schema] = []

    private init(_ keywords: [String: JSONValue]) { self.keywords = keywords }

    // MARK: Kinds

    /// - Parameters:
    ///   - length: in characters.
    ///   - pattern: a regular expression that both ECMA 262 and Python read alike.
    package static func text(
        _ length: ClosedRange<Int>? = nil, pattern: String? = nil, format: String? = nil
    ) -> Schema {
        var schema = Schema(["type": "string"])
        if let length {
            schema.keywords["minLength"] = .integer(length.lowerBound)
            schema.keywords["maxLength"] = .integer(length.upperBound)
        }
        if let pattern { schema.keywords["pattern"] = .text(pattern) }
        if let format { schema.keywords["format"] = .text(format) }
        return schema
    }

    package static func integer(_ range: ClosedRange<Int>? = nil) -> Schema {
        var schema = Schema(["type": "integer"])
        if let range {
            schema.keywords["minimum"] = .integer(range.lowerBound)
            schema.keywords["maximum"] = .integer(range.upperBound)
        }
        return schema
    }

    package static func number(_ range: ClosedRange<Double>? = nil) -> Schema {
        var schema = Schema(["type": "number"])
        if let range {
            schema.keywords["minimum"] = .number(range.lowerBound)
            schema.keywords["maximum"] = .number(range.upperBound)
        }
        return schema
    }

    package static let flag = Schema(["type": "boolean"])

    /// One of these words.
    package static func choice(_ words: [String]) -> Schema {
        Schema(["type": "string", "enum": .array(words.map { .text($0) })])
    }

    /// One of an enumeration's words.
    package static func choice<Value: RawRepresentable<String>>(_ values: [Value]) -> Schema {
        choice(values.map(\.rawValue))
    }

    package static func list(_ item: Schema, upTo count: Int? = nil) -> Schema {
        var schema = Schema(["type": "array"])
        schema.items = [item]
        if let count { schema.keywords["maxItems"] = .integer(count) }
        return schema
    }

    /// - Parameter name: as the document's readers are to call it.
    package static func object(_ name: String, _ properties: [String: Schema]) -> Schema {
        var schema = object(properties)
        schema.name = name
        return schema
    }

    /// One that has one place, and needs no name.
    package static func object(_ properties: [String: Schema]) -> Schema {
        var schema = Schema(["type": "object", "additionalProperties": false])
        schema.properties = properties
        return schema
    }

    /// An object of any keys, whose values are alike.
    package static func table(_ value: Schema) -> Schema {
        var schema = Schema(["type": "object"])
        schema.values = [value]
        return schema
    }

    package static let anything = Schema([:])

    // MARK: Variations

    /// The same as a property that an object may lack.
    package var optional: Schema {
        var schema = self
        schema.isOptional = true
        return schema
    }

    /// The same, kept by the document once under this name.
    package func named(_ name: String) -> Schema {
        var schema = self
        schema.name = name
        return schema
    }

    package func described(_ text: String) -> Schema {
        var schema = self
        schema.name = nil
        schema.keywords["description"] = .text(text)
        return schema
    }

    package func defaulting(to value: JSONValue) -> Schema {
        var schema = self
        schema.name = nil
        schema.keywords["default"] = value
        return schema
    }

    package func example(_ value: JSONValue) -> Schema {
        var schema = self
        schema.name = nil
        schema.keywords["examples"] = [value]
        return schema
    }

    // MARK: What it says

    /// The keys of an object: what its parser lets through.
    package var keys: Set<String> { Set(properties?.keys ?? [:].keys) }

    /// What a text in an address has to be instead; `nil` where it is that. A text with a pattern is its
    /// parser's to judge: what is no identifier is answered as one that nobody has.
    func allowed(insteadOf text: String) -> String? {
        switch keywords["type"] {
        case "integer":
            guard let number = Int(text), String(number) == text,
                range("minimum", "maximum").contains(number)
            else { return range("minimum", "maximum").text }
        case "string":
            if case .array(let words)? = keywords["enum"] {
                guard !words.contains(.text(text)) else { return nil }
                let known = words.compactMap { if case .text(let word) = $0 { word } else { nil } }
                return known.joined(separator: ", ")
            }
            let length = range("minLength", "maxLength")
            let isProse = keywords["pattern"] == .text(Self.prosePattern)
            guard isProse || keywords["pattern"] == nil else { return nil }
            guard length.contains(text.unicodeScalars.count), !isProse || !text.contains("\0")
            else { return "\(length.text) characters" }
        case "boolean":
            return Bool(text) == nil ? "true, false" : nil
        default: break
        }
        return nil
    }

    private func range(_ lower: String, _ upper: String) -> ClosedRange<Int> {
        guard case .integer(let first)? = keywords[lower],
            case .integer(let last)? = keywords[upper], first <= last
        else { return 0...Int(Int32.max) }
        return first...last
    }

    /// The object with some more properties, for one place only.
    package func adding(_ more: [String: Schema]) -> Schema {
        var schema = self
        schema.name = nil
        schema.properties = (properties ?? [:]).merging(more) { _, new in new }
        return schema
    }

    /// An example, where one was given: of itself, or put together from its properties'.
    package var exampleValue: JSONValue? {
        if case .array(let given)? = keywords["examples"], let first = given.first { return first }
        if let value = keywords["default"] { return value }
        if case .array(let words)? = keywords["enum"], let first = words.first { return first }
        if let properties {
            return .object(
                properties.filter { !$0.value.isOptional }.compactMapValues(\.exampleValue))
        }
        switch keywords["type"] {
        case "string": return "text"
        case "integer", "number": return keywords["minimum"] ?? 1
        case "boolean": return true
        case "array": return []
        case "object": return [:]
        default: return nil
        }
    }

    /// As it stands where it is used.
    package var reference: JSONValue {
        name.map { ["$ref": "#/components/schemas/\($0)"] } ?? definition
    }

    /// Written out.
    package var definition: JSONValue {
        var written = keywords
        if let properties {
            written["properties"] = .object(properties.mapValues(\.reference))
            let required = properties.filter { !$0.value.isOptional }.keys.sorted()
            if !required.isEmpty { written["required"] = .array(required.map { .text($0) }) }
        }
        if let item = items.first { written["items"] = item.reference }
        if let value = values.first { written["additionalProperties"] = value.reference }
        return .object(written)
    }

    /// Itself and those in it that have a name.
    package var components: [String: Schema] {
        var found: [String: Schema] = [:]
        for part in Array((properties ?? [:]).values) + items + values {
            found.merge(part.components) { first, _ in first }
        }
        if let name { found[name] = self }
        return found
    }
}

extension ClosedRange<Int> {
    fileprivate var text: String { "\(lowerBound)…\(upperBound)" }
}
