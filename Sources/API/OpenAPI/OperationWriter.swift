// One route in the document: what its description says, and what follows from its access and method.
// SPDX-License-Identifier: Apache-2.0

import Domain

/// Writes an operation object (OpenAPI 3.1 §4.8.10).
struct OperationWriter {
    let route: Route

    private var operation: Operation { route.operation }

    var written: JSONValue {
        var object: [String: JSONValue] = [
            "operationId": .text(operation.id), "summary": .text(operation.summary),
            "tags": [.text(operation.tag.rawValue)],
            "x-marsad-access": .text(route.access.text),
            "security": .array(
                SecurityScheme.names(route.access).map { .object([$0: []]) }),
            "responses": .object(responses),
        ]
        if let notes = operation.notes { object["description"] = .text(notes) }
        if !parameters.isEmpty { object["parameters"] = .array(parameters) }
        if let body = operation.body {
            object["requestBody"] = [
                "required": .flag(body.isRequired),
                "content": .object(
                    body.alternatives.merging([body.type: body.schema]) { $1 }
                        .mapValues { ["schema": $0.reference] }),
            ]
        }
        return .object(object)
    }

    // MARK: What is taken

    private var parameters: [JSONValue] {
        var all = operation.path.sorted { $0.key < $1.key }.map {
            Self.parameter($0.key, in: "path", $0.value, isRequired: true)
        }
        // What a security scheme says is not said again.
        let scheme = SecurityScheme.names(route.access).compactMap {
            SecurityScheme.all[$0]?["name"]
        }
        all += operation.query.filter { !scheme.contains(.text($0.name)) }
            .map { Self.parameter($0.name, in: "query", $0.schema, isRequired: $0.isRequired) }
        all += operation.headers
            .map { Self.parameter($0.name, in: "header", $0.schema, isRequired: $0.isRequired) }
        if route.isRepeatable {
            let key = Schema.text(1...IdempotentAnswers.keyBytes, pattern: "^[!-~]+$").described(
                "A request that is sent again with the key of the first one is answered as that was."
            )
            all.append(
                Self.parameter("Idempotency-Key", in: "header", key, isRequired: false))
        }
        return all
    }

    private static func parameter(
        _ name: String, in place: String, _ schema: Schema, isRequired: Bool
    ) -> JSONValue {
        [
            "name": .text(name), "in": .text(place), "required": .flag(isRequired),
            "schema": schema.reference,
        ]
    }

    // MARK: What is answered

    private var responses: [String: JSONValue] {
        var all: [String: JSONValue] = [:]
        for failure in failures { all[String(failure.status)] = failure.reference }
        for answer in operation.answers {
            var written = Self.written(answer)
            if let failure = failures.first(where: { $0.status == answer.status }) {
                written = Self.either(failure.definition, written)
            }
            all[String(answer.status)] = written
        }
        return all
    }

    /// A status by which both an error and an answer of the route are told.
    private static func either(_ failure: JSONValue, _ answer: JSONValue) -> JSONValue {
        let schemas = [failure, answer].compactMap { $0["content"]?[JSONType.plain]?["schema"] }
        guard case .object(var both) = failure else { return answer }
        both["content"] = [JSONType.plain: ["schema": ["anyOf": .array(schemas)]]]
        return .object(both)
    }

    private static func written(_ answer: Answer) -> JSONValue {
        var headers: [String: JSONValue] = ["X-Request-ID": FailureAnswer.requestID]
        for (name, schema) in answer.headers {
            headers[name] = ["required": .flag(!schema.isOptional), "schema": schema.reference]
        }
        var object: [String: JSONValue] = [
            "description": .text(answer.summary), "headers": .object(headers),
        ]
        if let type = answer.type {
            // What is no JSON has no schema here: its type says all.
            let schema = answer.schema.map { ["schema": $0.reference] }
            object["content"] = .object([type: .object(schema ?? [:])])
        }
        return .object(object)
    }

    /// Every error, by status.
    var failures: [FailureAnswer] {
        var all = operation.errorsAt.mapValues { Set($0) }
        for code in operation.errors + route.access.errors + inherited {
            all[code.text.status, default: []].insert(code)
        }
        return all.sorted { $0.key < $1.key }.map { FailureAnswer(status: $0.key, codes: $0.value) }
    }

    /// What any address may answer, and what comes of a body and of a key.
    private var inherited: [MarsadError.Code] {
        var codes: [MarsadError.Code] = [
            .invalidRequest, .originNotAllowed, .payloadTooLarge, .rateLimitExceeded,
            .internalError, .overloaded, .storageUnavailable,
        ]
        if operation.body != nil { codes.append(.unsupportedMediaType) }
        if route.isRepeatable { codes += [.conflict, .unprocessable] }
        return codes
    }
}

extension Access {
    /// How callers are refused, before the handler runs or by what it checks for its access.
    fileprivate var errors: [MarsadError.Code] {
        switch self {
        case .open: []
        case .operations: [.addressNotAllowed]
        case .reservation, .publishing: [.missingToken, .invalidToken, .tokenExpired]
        case .signedLink: [.invalidSignature, .sessionRevoked, .linkExpired]
        case .signedBody: [.invalidSignature]
        case .caller, .socket:
            [.missingToken, .invalidToken, .tokenExpired, .sessionRevoked, .userDisabled]
        case .permission: Access.caller.errors + [.forbidden]
        }
    }
}
