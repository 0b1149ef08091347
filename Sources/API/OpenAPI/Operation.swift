// What a route does, as the document of the interface says it.
// SPDX-License-Identifier: Apache-2.0

package import Domain

/// A route's description: what it takes and what it answers. What follows from its access and its method
/// (tokens, limits, the codes of any address) is not repeated here; the document adds it.
package struct Operation: Sendable {
    /// The parts of the interface, in the order of the contract.
    package enum Tag: String, CaseIterable, Sendable {
        case authentication = "Authentication"
        case streams = "Live streams"
        case publishing = "Publishing"
        case cameras = "Cameras"
        case playback = "Playback"
        case layouts = "Layouts"
        case administration = "Administration"
        case identity = "IAM"
        case audit = "Audit"
        case sockets = "WebSocket"
        case operations = "Operations"
        case page = "Page"
    }

    /// What a request's body is.
    package struct Body: Sendable {
        package var type: String
        package var schema: Schema
        package var isRequired = true
        /// The same in other media types.
        package var alternatives: [String: Schema] = [:]

        package static func json(_ schema: Schema) -> Body {
            Body(type: JSONType.plain, schema: schema)
        }
    }

    /// `operationId`: stable, for generated clients.
    package var id: String
    package var tag: Tag
    package var summary: String
    /// What a reader has to know beyond the summary.
    package var notes: String?
    /// Of each parameter in the path.
    package var path: [String: Schema]
    package var query: [Parameter]
    package var headers: [Parameter]
    package var body: Body?
    package var answers: [Answer]
    /// Codes that it may answer beside those that follow from its access and its body.
    package var errors: [MarsadError.Code]
    /// The same, where the contract gives a code another status than its usual one.
    package var errorsAt: [Int: [MarsadError.Code]]

    package init(
        _ id: String, _ tag: Tag, _ summary: String, notes: String? = nil,
        path: [String: Schema] = [:], query: [Parameter] = [], headers: [Parameter] = [],
        body: Body? = nil, answers: [Answer], errors: [MarsadError.Code] = [],
        errorsAt: [Int: [MarsadError.Code]] = [:]
    ) {
        self.id = id
        self.tag = tag
        self.summary = summary
        self.notes = notes
        self.path = path
        self.query = query
        self.headers = headers
        self.body = body
        self.answers = answers
        self.errors = errors
        self.errorsAt = errorsAt
    }

    /// Whether other parameters than these are refused. The page's files are asked for with any.
    package var hasClosedQuery: Bool { tag != .page }
}

/// A parameter of a query, or a header that means something to one route.
package struct Parameter: Sendable {
    package var name: String
    package var schema: Schema
    package var isRequired: Bool

    package init(_ name: String, _ schema: Schema, isRequired: Bool = false) {
        self.name = name
        self.schema = schema
        self.isRequired = isRequired
    }

    package static func required(_ name: String, _ schema: Schema) -> Parameter {
        Parameter(name, schema, isRequired: true)
    }
}

/// An answer that is no error.
package struct Answer: Sendable {
    package var status: Int
    package var summary: String
    /// `nil` where there is no body.
    package var type: String?
    package var schema: Schema?
    package var headers: [String: Schema]

    package init(
        _ status: Int, _ summary: String, type: String? = nil, schema: Schema? = nil,
        headers: [String: Schema] = [:]
    ) {
        self.status = status
        self.summary = summary
        self.type = type
        self.schema = schema
        self.headers = headers
    }

    package static func json(
        _ schema: Schema, status: Int = 200, type: String = JSONType.plain,
        headers: [String: Schema] = [:]
    ) -> Answer {
        Answer(
            status, schema.name ?? "Done", type: type, schema: schema, headers: headers)
    }

    /// 201 with the address of what was made.
    package static func created(_ schema: Schema) -> Answer {
        json(schema, status: 201, headers: ["Location": .text(pattern: "^/api/v1/")])
    }

    package static let noContent = Answer(204, "Done")

    package static func media(_ type: String, headers: [String: Schema] = [:]) -> Answer {
        Answer(200, type, type: type, headers: headers)
    }
}

/// The media types of JSON that are answered.
package enum JSONType {
    package static let plain = "application/json"
    package static let keySet = "application/jwk-set+json"
}
