// Errors in the document of the interface: one answer for each set of codes of a status.
// SPDX-License-Identifier: Apache-2.0

import Domain

/// The answer by which any of these codes is told.
struct FailureAnswer {
    static let requestID: JSONValue = ["$ref": "#/components/headers/RequestID"]

    let status: Int
    /// In a fixed order, so that equal answers have one name.
    let codes: [MarsadError.Code]

    init(status: Int, codes: Set<MarsadError.Code>) {
        self.status = status
        self.codes = codes.sorted { $0.rawValue < $1.rawValue }
    }

    /// Under which the document keeps it once.
    var name: String { "\(status)-" + codes.map(\.rawValue).joined(separator: "-") }

    var reference: JSONValue { ["$ref": "#/components/responses/\(name)"] }

    var definition: JSONValue {
        var headers: [String: JSONValue] = ["X-Request-ID": Self.requestID]
        if status == 503 { headers["Retry-After"] = ["$ref": "#/components/headers/RetryAfter"] }
        let code: JSONValue = ["properties": ["code": Schema.choice(codes).definition]]
        let schema: JSONValue = [
            "allOf": [ErrorBody.schema.reference, ["properties": ["error": code]]]
        ]
        let lines = codes.map { "\($0.rawValue): \($0.text.english)" }
        return [
            "description": .text(lines.joined(separator: "\n")), "headers": .object(headers),
            "content": .object([JSONType.plain: ["schema": schema]]),
        ]
    }
}
