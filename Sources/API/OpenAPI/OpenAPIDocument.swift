// The document of the interface, made from the routes that are registered (OpenAPI 3.1).
// SPDX-License-Identifier: Apache-2.0

import Domain
import HTTPTypes

/// `GET /openapi.json`.
package struct OpenAPIDocument: Sendable {
    package let value: JSONValue

    /// - Parameter version: the program's.
    package init(_ routes: [Route], version: String) {
        var paths: [String: [String: JSONValue]] = [:]
        var schemas = ["Error": ErrorBody.schema]
        var failures: [String: JSONValue] = [:]
        for route in routes {
            let writer = OperationWriter(route: route)
            paths[route.path, default: [:]][route.method.rawValue.lowercased()] = writer.written
            for failure in writer.failures { failures[failure.name] = failure.definition }
            let operation = route.operation
            let parts =
                operation.answers.compactMap(\.schema) + [operation.body?.schema].compactMap(\.self)
                + operation.answers.flatMap(\.headers.values) + Array(operation.path.values)
                + (operation.query + operation.headers).map(\.schema)
            for part in parts { schemas.merge(part.components) { first, _ in first } }
        }
        value = [
            "openapi": "3.1.0",
            "info": [
                "title": "Marsad", "version": .text(version),
                "summary": "Video management for city-scale CCTV",
                "description": .text(Self.introduction),
                "license": ["name": "Apache-2.0", "identifier": "Apache-2.0"],
            ],
            "servers": [["url": "/", "description": "The server that answers this document"]],
            "tags": .array(
                Operation.Tag.allCases.filter { tag in
                    routes.contains { $0.operation.tag == tag }
                }.map { ["name": .text($0.rawValue)] }),
            "paths": .object(paths.mapValues { .object($0) }),
            "components": [
                "schemas": .object(schemas.mapValues(\.definition)),
                "responses": .object(failures),
                "headers": [
                    "RequestID": [
                        "description": .text(Self.requestID),
                        "required": true,
                        "schema": ["type": "string", "minLength": 1, "maxLength": 64],
                    ],
                    "RetryAfter": [
                        "description": "Seconds to wait before trying again.", "required": true,
                        "schema": ["type": "integer", "minimum": 1],
                    ],
                ],
                "securitySchemes": .object(SecurityScheme.all),
            ],
        ]
    }

    private static let requestID =
        "The caller's X-Request-ID where it is 8 to 64 letters, digits, - and _; "
        + "else one that the server made."

    private static let introduction = """
        Keys are snake_case, identifiers are lower-case UUIDs, times are ISO 8601 in UTC with a \
        trailing Z. Unknown query parameters and unknown keys of bodies are refused with 400. Every \
        answer carries X-Request-ID; every error has the one shape of `Error`, whose code is \
        stable. A camera that the caller may not see is answered as one that does not exist. \
        `x-marsad-access` says what a route asks of its callers.
        """
}

/// What a caller shows, by kind of route.
enum SecurityScheme {
    static let all: [String: JSONValue] = [
        "bearer": [
            "type": "http", "scheme": "bearer", "bearerFormat": "JWT",
            "description": "An access token, from POST /api/v1/auth/token.",
        ],
        "reservation": [
            "type": "http", "scheme": "bearer",
            "description": "A reservation's token, from POST /api/v1/stream/reserve.",
        ],
        "publishing": [
            "type": "http", "scheme": "bearer",
            "description": "A publishing camera's token, told once when it is added.",
        ],
        "signedLink": [
            "type": "apiKey", "in": "query", "name": "token",
            "description": "Part of the links that playback answers.",
        ],
        "signedBody": [
            "type": "apiKey", "in": "header", "name": "X-IAM-Signature",
            "description": "HMAC-SHA256 over X-IAM-Timestamp, a full stop and the body.",
        ],
        "socketTicket": [
            "type": "apiKey", "in": "header", "name": "Sec-WebSocket-Protocol",
            "description": "`marsad, ticket.…` from POST /api/v1/ws/ticket, or `marsad, bearer.…`.",
        ],
    ]

    /// Any one of these is enough; none for a route that asks for nothing.
    static func names(_ access: Access) -> [String] {
        switch access {
        case .open, .operations: []
        case .reservation: ["reservation"]
        case .publishing: ["publishing"]
        case .signedLink: ["signedLink"]
        case .signedBody: ["signedBody"]
        case .caller, .permission: ["bearer"]
        case .socket: ["socketTicket", "bearer"]
        }
    }
}

extension Access {
    /// As `x-marsad-access` says it: `open`, `operations`, …, or `permission camera:view`.
    package var text: String {
        switch self {
        case .open: "open"
        case .operations: "operations"
        case .reservation: "reservation"
        case .publishing: "publishing"
        case .signedLink: "signed link"
        case .signedBody: "signed body"
        case .caller: "caller"
        case .socket: "socket"
        case .permission(let action): "permission " + action.rawValue
        }
    }
}
