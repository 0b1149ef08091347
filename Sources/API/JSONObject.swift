// JSON bodies from outside: their keys, depth and numbers are checked before anything is made of them.
// SPDX-License-Identifier: Apache-2.0

package import Domain
import JSON
package import NIOCore
import Primitives

/// A JSON object whose keys were checked: an unknown one is a 400 that names it.
package struct JSONObject {
    /// The document of the interface has a `JSONValue` of its own.
    private typealias Value = JSON.JSONValue

    private let values: [String: Value]

    package init(parsing body: ByteBuffer, allowing keys: Set<String>) throws(MarsadError) {
        let value = try Self.value(
            parsing: body, count: GatewaySettings.jsonValues,
            tooMany: MarsadError(
                .invalidRequest,
                details: ["reason": "more than \(GatewaySettings.jsonValues) values"]))
        guard case .object(let object) = value else {
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
        // Each object has its keys and is a value itself; the array is one more.
        let value = try value(
            parsing: body, count: count * (keys.count + 1) + 1, tooMany: failure)
        guard case .array(let values) = value else {
            throw MarsadError(.invalidRequest, details: ["reason": "the body is not a JSON array"])
        }
        guard values.count <= count else { throw failure }
        return values.map { value in
            Result { () throws(MarsadError) in
                guard case .object(let object) = value else {
                    throw MarsadError(
                        .invalidRequest, details: ["reason": "this is not a JSON object"])
                }
                return try JSONObject(object, allowing: keys)
            }
        }
    }

    /// A byte order mark before it is passed over (RFC 8259 §8.1): some editors write one.
    private static func value(
        parsing body: ByteBuffer, count: Int, tooMany: MarsadError
    ) throws(MarsadError) -> Value {
        var bytes = Array(body.readableBytesView)
        if bytes.starts(with: [0xEF, 0xBB, 0xBF]) { bytes.removeFirst(3) }
        do throws(JSONError) {
            return try Value(parsing: bytes, depth: GatewaySettings.jsonDepth, count: count)
        } catch {
            let details =
                switch error {
                case .tooLarge: throw tooMany
                case .tooDeep: ["reason": "nested deeper than \(GatewaySettings.jsonDepth)"]
                case .duplicateName(let name):
                    ["key": "\(ShownName(name))", "reason": "the key is there twice"]
                case .malformed(let reason, let place):
                    ["reason": "the body is not JSON: \(reason) at byte \(place)"]
                }
            throw MarsadError(.invalidRequest, details: details)
        }
    }

    private init(_ object: [String: Value], allowing keys: Set<String>) throws(MarsadError) {
        for key in object.keys.sorted() where !keys.contains(key) {
            throw MarsadError(.invalidRequest, details: ["unknown_key": "\(ShownName(key))"])
        }
        values = object
    }

    /// Without NUL, which no JSON that is read here has: it ends a text for C libraries.
    func text(_ key: String) throws(MarsadError) -> String? {
        guard let value = values[key] else { return nil }
        guard let text = value.text else { throw wrong(key, "a string is required") }
        return text
    }

    func requiredText(_ key: String) throws(MarsadError) -> String {
        guard let text = try text(key) else { throw wrong(key, "a string is required") }
        return text
    }

    func flag(_ key: String) throws(MarsadError) -> Bool? {
        guard let value = values[key] else { return nil }
        guard case .bool(let flag) = value else { throw wrong(key, "true or false is required") }
        return flag
    }

    /// Also one that is written with a fraction of nothing, as 5.0.
    package func integer(_ key: String, in range: ClosedRange<Int>) throws(MarsadError) -> Int? {
        guard let value = values[key] else { return nil }
        return try bounded(value.whole, in: range, "key", key)
    }

    package func number(_ key: String, in range: ClosedRange<Double>) throws(MarsadError) -> Double?
    {
        guard let value = values[key] else { return nil }
        return try bounded(value.numeral.flatMap { Double($0) }, in: range, "key", key)
    }

    func object(
        _ key: String, allowing keys: Set<String>
    ) throws(MarsadError) -> JSONObject? {
        guard let value = values[key] else { return nil }
        guard let object = value.members else { throw wrong(key, "an object is required") }
        return try JSONObject(object, allowing: keys)
    }

    func objects(
        _ key: String, upTo count: Int, allowing keys: Set<String>
    ) throws(MarsadError) -> [JSONObject]? {
        guard let value = values[key] else { return nil }
        let objects = value.elements?.compactMap(\.members)
        guard let objects, objects.count == value.elements?.count, objects.count <= count else {
            throw wrong(key, "at most \(count) objects are required")
        }
        var parsed: [JSONObject] = []
        for object in objects { parsed.append(try JSONObject(object, allowing: keys)) }
        return parsed
    }

    func texts(_ key: String, upTo count: Int) throws(MarsadError) -> [String]? {
        guard let value = values[key] else { return nil }
        let texts = value.elements?.compactMap(\.text)
        guard let texts, texts.count == value.elements?.count, texts.count <= count else {
            throw wrong(key, "at most \(count) strings are required")
        }
        return texts
    }

    private func wrong(_ key: String, _ reason: String) -> MarsadError {
        MarsadError(.invalidRequest, details: ["key": key, "reason": reason])
    }
}

extension JSON.JSONValue {
    /// By its digits, of which a double would lose some.
    fileprivate var whole: Int? {
        guard let integer, let numeral else { return nil }
        let fraction = numeral.drop { $0 != "." }.dropFirst()
        return fraction.allSatisfy { $0 == "0" } ? Int(integer) : nil
    }

    /// A number as it was written.
    fileprivate var numeral: String? {
        if case .number(let text) = self { text } else { nil }
    }
}
