// The strict reader of JSON: a name twice, a stray byte or a deep nest ends it.
// SPDX-License-Identifier: Apache-2.0

extension JSONValue {
    /// Reads exactly one value; throws for duplicate names, trailing bytes and invalid UTF-8.
    /// - Parameters:
    ///   - depth: of arrays and objects in one another, at most.
    ///   - count: of values in all, at most.
    package init(parsing bytes: [UInt8], depth: Int, count: Int) throws(JSONError) {
        var parser = JSONParser(bytes: bytes, maxDepth: depth, maxValues: count)
        self = try parser.document()
    }
}

private struct JSONParser {
    let bytes: [UInt8]
    let maxDepth: Int
    let maxValues: Int
    var position = 0
    var values = 0

    private func malformed(_ reason: String) -> JSONError { .malformed(reason, at: position) }

    var next: UInt8? { position < bytes.count ? bytes[position] : nil }

    mutating func document() throws(JSONError) -> JSONValue {
        let value = try value(depth: 0)
        skipBlanks()
        guard position == bytes.count else { throw malformed("bytes after the value") }
        return value
    }

    private mutating func value(depth: Int) throws(JSONError) -> JSONValue {
        guard values < maxValues else { throw .tooLarge }
        values += 1
        skipBlanks()
        switch next {
        case UInt8(ascii: "{"): return try object(depth: depth)
        case UInt8(ascii: "["): return try array(depth: depth)
        case UInt8(ascii: "\""): return .string(try string())
        case UInt8(ascii: "t"): return try word("true", .bool(true))
        case UInt8(ascii: "f"): return try word("false", .bool(false))
        case UInt8(ascii: "n"): return try word("null", .null)
        default: return .number(try number())
        }
    }

    private mutating func object(depth: Int) throws(JSONError) -> JSONValue {
        guard depth < maxDepth else { throw .tooDeep }
        position += 1
        var members: [String: JSONValue] = [:]
        skipBlanks()
        if take("}") { return .object(members) }
        while true {
            skipBlanks()
            guard next == UInt8(ascii: "\"") else { throw malformed("name expected") }
            let name = try string()
            skipBlanks()
            guard take(":") else { throw malformed("colon expected") }
            let value = try value(depth: depth + 1)
            guard members.updateValue(value, forKey: name) == nil else {
                throw .duplicateName(name)
            }
            skipBlanks()
            if take("}") { return .object(members) }
            guard take(",") else { throw malformed("comma expected") }
        }
    }

    private mutating func array(depth: Int) throws(JSONError) -> JSONValue {
        guard depth < maxDepth else { throw .tooDeep }
        position += 1
        var elements: [JSONValue] = []
        skipBlanks()
        if take("]") { return .array(elements) }
        while true {
            elements.append(try value(depth: depth + 1))
            skipBlanks()
            if take("]") { return .array(elements) }
            guard take(",") else { throw malformed("comma expected") }
        }
    }

    private mutating func string() throws(JSONError) -> String {
        position += 1
        var content: [UInt8] = []
        while let byte = next {
            position += 1
            switch byte {
            case UInt8(ascii: "\""):
                guard let text = String(validating: content, as: UTF8.self) else {
                    throw malformed("not UTF-8")
                }
                return text
            case UInt8(ascii: "\\"): content += try escaped()
            case 0..<0x20: throw malformed("control character")
            default: content.append(byte)
            }
        }
        throw malformed("string without an end")
    }

    private mutating func escaped() throws(JSONError) -> [UInt8] {
        guard let byte = next else { throw malformed("escape without an end") }
        position += 1
        switch byte {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): return [byte]
        case UInt8(ascii: "b"): return [8]
        case UInt8(ascii: "f"): return [12]
        case UInt8(ascii: "n"): return [10]
        case UInt8(ascii: "r"): return [13]
        case UInt8(ascii: "t"): return [9]
        case UInt8(ascii: "u"): return try unicodeEscape()
        default: throw malformed("unknown escape")
        }
    }

    /// A surrogate counts only as a pair (RFC 8259 §8.2).
    private mutating func unicodeEscape() throws(JSONError) -> [UInt8] {
        var code = try hexDigits()
        if (0xD800..<0xDC00).contains(code) {
            guard take("\\"), take("u") else { throw malformed("half a surrogate pair") }
            let low = try hexDigits()
            guard (0xDC00..<0xE000).contains(low) else { throw malformed("half a surrogate pair") }
            code = 0x10000 + (code - 0xD800) << 10 + (low - 0xDC00)
        }
        // A zero byte ends a text for C, and for what stores it.
        guard code != 0, let scalar = Unicode.Scalar(code) else {
            throw malformed("not a character")
        }
        return Array(String(Character(scalar)).utf8)
    }

    private mutating func hexDigits() throws(JSONError) -> UInt32 {
        var value: UInt32 = 0
        for _ in 0..<4 {
            guard let byte = next else { throw malformed("escape without an end") }
            position += 1
            switch byte {
            case 48...57: value = value << 4 | UInt32(byte - 48)
            case 65...70: value = value << 4 | UInt32(byte - 55)
            case 97...102: value = value << 4 | UInt32(byte - 87)
            default: throw malformed("not a hexadecimal digit")
            }
        }
        return value
    }

    private mutating func number() throws(JSONError) -> String {
        let start = position
        _ = take("-")
        let whole = position
        guard digits() > 0, bytes[whole] != 48 || position == whole + 1 else {
            throw malformed("not a value")
        }
        if take("."), digits() == 0 { throw malformed("not a number") }
        if take("e") || take("E") {
            if !take("+") { _ = take("-") }
            if digits() == 0 { throw malformed("not a number") }
        }
        return String(decoding: bytes[start..<position], as: UTF8.self)
    }

    private mutating func digits() -> Int {
        let start = position
        while let byte = next, (48...57).contains(byte) { position += 1 }
        return position - start
    }

    private mutating func word(_ text: StaticString, _ value: JSONValue) throws(JSONError)
        -> JSONValue
    {
        for byte in "\(text)".utf8 {
            guard next == byte else { throw malformed("not a value") }
            position += 1
        }
        return value
    }

    private mutating func take(_ character: Unicode.Scalar) -> Bool {
        guard next == UInt8(ascii: character) else { return false }
        position += 1
        return true
    }

    private mutating func skipBlanks() {
        while let byte = next, byte == 32 || byte == 9 || byte == 10 || byte == 13 {
            position += 1
        }
    }
}
