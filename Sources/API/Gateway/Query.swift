// Numbers and names from outside: checked where they come in.
// SPDX-License-Identifier: Apache-2.0

import Domain
import Hummingbird
import Primitives

/// A number in its range, or a 400 that says which: one that was never bounded can end the process in
/// some later sum. What is not a number is in no range.
func bounded<Number: Comparable>(
    _ value: Number?, in range: ClosedRange<Number>, _ kind: String, _ name: String
) throws(MarsadError) -> Number {
    guard let value, range.contains(value) else {
        throw MarsadError(
            .invalidRequest,
            details: [kind: name, "allowed": "\(range.lowerBound)…\(range.upperBound)"])
    }
    return value
}

/// A request's query, whose names were checked: an unknown one is a 400 that names it.
struct Query {
    private let values: [String: String]

    init(_ request: Request, allowing names: Set<String>) throws(MarsadError) {
        var values: [String: String] = [:]
        for (name, value) in request.uri.queryParameters {
            guard names.contains(String(name)) else {
                throw MarsadError(
                    .invalidRequest, details: ["unknown_parameter": String(name.prefix(64))])
            }
            guard values.updateValue(String(value), forKey: String(name)) == nil else {
                throw MarsadError(.invalidRequest, details: ["repeated_parameter": String(name)])
            }
        }
        self.values = values
    }

    subscript(_ name: String) -> String? { values[name] }

    func integer(_ name: String, in range: ClosedRange<Int>) throws(MarsadError) -> Int? {
        guard let text = values[name] else { return nil }
        return try bounded(Int(text), in: range, "parameter", name)
    }

    func time(_ name: String) throws(MarsadError) -> WallTime {
        guard let text = values[name], let time = WallTime(iso8601: text) else {
            throw MarsadError(
                .invalidRequest, details: ["parameter": name, "allowed": "ISO 8601 in UTC, with Z"])
        }
        return time
    }

    func cameraID() throws(MarsadError) -> CameraID {
        guard let text = values["camera_id"] else {
            throw MarsadError(
                .invalidRequest, details: ["parameter": "camera_id", "reason": "required"])
        }
        guard let id = CameraID(text) else { throw MarsadError(.cameraNotFound) }
        return id
    }
}
