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

/// A request's query. Its names were checked before its route's handler ran.
struct Query {
    private let values: [String: String]

    init(_ request: Request) {
        values = Dictionary(
            request.uri.queryParameters.map { (String($0), String($1)) },
            uniquingKeysWith: { first, _ in first })
    }

    /// An unknown name is a 400 that says it, so that a misspelt one never widens a search.
    static func check(_ request: Request, _ names: Set<String>) throws(MarsadError) {
        var seen: Set<String> = []
        for (name, _) in request.uri.queryParameters {
            guard names.contains(String(name)) else {
                throw MarsadError(
                    .invalidRequest, details: ["unknown_parameter": String(name.prefix(64))])
            }
            guard seen.insert(String(name)).inserted else {
                throw MarsadError(.invalidRequest, details: ["repeated_parameter": String(name)])
            }
        }
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
