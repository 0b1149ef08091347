// JSON bodies from outside: their keys, depth and numbers are checked before anything is made of them.
// SPDX-License-Identifier: Apache-2.0

package import Domain
import Foundation
package import NIOCore
import NIOFoundationCompat
import Primitives

/// How deep arrays and objects of a JSON text lie in one another: found on the bytes, before a parser
/// follows them. Of a text that is no JSON, at least what a parser would meet before it sees that.
package func nesting(of text: some Sequence<UInt8>) -> Int {
    var depth = 0
    var deepest = 0
    var isInString = false
    var isEscaped = false
    for byte in text {
        if isInString {
            if isEscaped {
                isEscaped = false
            } else if byte == UInt8(ascii: "\\") {
                isEscaped = true
            } else if byte == UInt8(ascii: "\"") {
                isInString = false
            }
            continue
        }
        switch byte {
        case UInt8(ascii: "\""): isInString = true
        case UInt8(ascii: "["), UInt8(ascii: "{"):
            depth += 1
            deepest = max(deepest, depth)
        case UInt8(ascii: "]"), UInt8(ascii: "}"): depth -= 1
        default: break
        }
    }
    return deepest
}

/// A JSON object whose keys were checked: an unknown one is a 400 that names it.
package struct JSONObject {
    private let values: [String: Any]

    package init(parsing body: ByteBuffer, allowing keys: Set<String>) throws(MarsadError) {
        guard let object = try Self.value(parsing: body) as? [String: Any] else {
            throw MarsadError(.invalidRequest, details: ["reason": "the body is not a JSON object"])
        }
        try self.init(object, allowing: keys)
    }

    /// The objects of an array, each for itself.
    /// - Parameter failure: thrown where there are more than `count`.
    static func array(
        parsing body: ByteBuffer, upTo count: Int, else failure: MarsadError,
        allowing keys: Set<String>
    ) throws(MarsadError) -> [Result<JSONObject, MarsadError>] {
        guard let values = try value(parsing: body) as? [Any] else {
            throw MarsadError(.invalidRequest, details: ["reason": "the body is not a JSON array"])
        }
        guard values.count <= count else { throw failure }
        return values.map { value in
            Result { () throws(MarsadError) in
                guard let object = value as? [String: Any] else {
                    throw MarsadError(
                        .invalidRequest, details: ["reason": "this is not a JSON object"])
                }
                return try JSONObject(object, allowing: keys)
            }
        }
    }

    /// `nil` for what is no JSON.
    private static func value(parsing body: ByteBuffer) throws(MarsadError) -> Any? {
        guard nesting(of: body.readableBytesView) <= GatewaySettings.jsonDepth else {
            throw MarsadError(
                .invalidRequest,
                details: ["reason": "nested deeper than \(GatewaySettings.jsonDepth)"])
        }
        return try? JSONSerialization.jsonObject(with: Data(buffer: body))
    }

    private init(_ object: [String: Any], allowing keys: Set<String>) throws(MarsadError) {
        for key in object.keys.sorted() where !keys.contains(key) {
            throw MarsadError(.invalidRequest, details: ["unknown_key": "\(ShownName(key))"])
        }
        values = object
    }

    /// Without NUL: it ends a text for C libraries, and PostgreSQL keeps none.
    func text(_ key: String) throws(MarsadError) -> String? {
        guard let value = values[key] else { return nil }
        guard let text = value as? String, !text.utf8.contains(0) else {
            throw MarsadError(
                .invalidRequest, details: ["key": key, "reason": "a string is required"])
        }
        return text
    }

    func requiredText(_ key: String) throws(MarsadError) -> String {
        guard let text = try text(key) else {
            throw MarsadError(
                .invalidRequest, details: ["key": key, "reason": "a string is required"])
        }
        return text
    }

    func flag(_ key: String) throws(MarsadError) -> Bool? {
        guard let value = values[key] else { return nil }
        guard isFlag(value), let flag = value as? Bool else {
            throw MarsadError(
                .invalidRequest, details: ["key": key, "reason": "true or false is required"])
        }
        return flag
    }

    package func integer(_ key: String, in range: ClosedRange<Int>) throws(MarsadError) -> Int? {
        guard let value = values[key] else { return nil }
        return try bounded(isFlag(value) ? nil : value as? Int, in: range, "key", key)
    }

    package func number(_ key: String, in range: ClosedRange<Double>) throws(MarsadError) -> Double?
    {
        guard let value = values[key] else { return nil }
        return try bounded(isFlag(value) ? nil : value as? Double, in: range, "key", key)
    }

    func object(
        _ key: String, allowing keys: Set<String>
    ) throws(MarsadError) -> JSONObject? {
        guard let value = values[key] else { return nil }
        guard let object = value as? [String: Any] else {
            throw MarsadError(
                .invalidRequest, details: ["key": key, "reason": "an object is required"])
        }
        return try JSONObject(object, allowing: keys)
    }

    func objects(
        _ key: String, upTo count: Int, allowing keys: Set<String>
    ) throws(MarsadError) -> [JSONObject]? {
        guard let value = values[key] else { return nil }
        guard let objects = value as? [[String: Any]], objects.count <= count else {
            throw MarsadError(
                .invalidRequest,
                details: ["key": key, "reason": "at most \(count) objects are required"])
        }
        var parsed: [JSONObject] = []
        for object in objects { parsed.append(try JSONObject(object, allowing: keys)) }
        return parsed
    }

    func texts(_ key: String, upTo count: Int) throws(MarsadError) -> [String]? {
        guard let value = values[key] else { return nil }
        guard let texts = value as? [String], texts.count <= count else {
            throw MarsadError(
                .invalidRequest,
                details: ["key": key, "reason": "at most \(count) strings are required"])
        }
        return texts
    }
}

/// Whether a parsed value was `true` or `false`: as numbers 1 and 0 look like them, and they like numbers.
private func isFlag(_ value: Any) -> Bool {
    (value as? NSNumber)?.objCType.pointee == CChar(UInt8(ascii: "c"))
}
