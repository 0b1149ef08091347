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

/// A request's query, which was checked before its route's handler ran: it has the parameters that the
/// route's description names, each as it is described there.
struct Query {
    private let values: [String: String]

    init(_ request: Request) {
        values = Dictionary(
            request.uri.queryParameters.map { (String($0), String($1)) },
            uniquingKeysWith: { first, _ in first })
    }

    /// An unknown name is a 400 that says it, so that a misspelt one never widens a search.
    static func check(_ request: Request, _ parameters: [Parameter]) throws(MarsadError) {
        var seen: Set<String> = []
        for (name, value) in request.uri.queryParameters {
            guard let parameter = parameters.first(where: { $0.name == name }) else {
                throw MarsadError(
                    .invalidRequest, details: ["unknown_parameter": "\(ShownName(name))"])
            }
            guard seen.insert(parameter.name).inserted else {
                throw MarsadError(
                    .invalidRequest, details: ["repeated_parameter": parameter.name])
            }
            if let allowed = parameter.schema.allowed(insteadOf: String(value)) {
                throw MarsadError(
                    .invalidRequest, details: ["parameter": parameter.name, "allowed": allowed])
            }
        }
        for parameter in parameters where parameter.isRequired && !seen.contains(parameter.name) {
            throw MarsadError(
                .invalidRequest, details: ["parameter": parameter.name, "reason": "required"])
        }
    }

    subscript(_ name: String) -> String? { values[name] }

    func integer(_ name: String) -> Int? { values[name].flatMap { Int($0) } }

    func flag(_ name: String) -> Bool? { values[name].flatMap { Bool($0) } }

    func time(_ name: String) throws(MarsadError) -> WallTime {
        guard let text = values[name], let time = WallTime(iso8601: text) else {
            throw MarsadError(
                .invalidRequest, details: ["parameter": name, "allowed": "ISO 8601 in UTC, with Z"])
        }
        return time
    }

    /// What is no camera's id is none.
    func cameraID() throws(MarsadError) -> CameraID {
        guard let id = values["camera_id"].flatMap({ CameraID($0) }) else {
            throw MarsadError(.cameraNotFound)
        }
        return id
    }
}
