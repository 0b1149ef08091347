// A collection for Postman, made from the routes: each request with an example of what it takes.
// SPDX-License-Identifier: Apache-2.0

import HTTPTypes

/// Postman's collection format, version 2.1.0.
struct PostmanCollection {
    let value: JSONValue

    init(_ routes: [Route]) throws {
        let folders = try Operation.Tag.allCases.compactMap { tag -> JSONValue? in
            // OPTIONS and HEAD are asked by browsers and players, not by people.
            let own = routes.filter {
                $0.operation.tag == tag && ![.options, .head].contains($0.method)
            }
            guard !own.isEmpty, tag != .page else { return nil }
            return ["name": .text(tag.rawValue), "item": .array(try own.map(Self.item))]
        }
        value = [
            "info": [
                "name": "Marsad",
                "description":
                    "Set base_url, then send Authentication / sign_in: it keeps the token.",
                "schema": "https://schema.getpostman.com/json/collection/v2.1.0/collection.json",
            ],
            "auth": Self.bearer("access_token"),
            "variable": .array(
                [
                    ("base_url", "http://127.0.0.1:8080"), ("access_token", ""),
                    ("reservation_token", ""), ("publishing_token", ""),
                ].map { ["key": .text($0.0), "value": .text($0.1), "type": "string"] }),
            "item": .array(folders),
        ]
    }

    private static func item(_ route: Route) throws -> JSONValue {
        let operation = route.operation
        var headers: [JSONValue] = operation.headers.map {
            header($0.name, $0.schema.exampleText, isDisabled: !$0.isRequired)
        }
        var request: [String: JSONValue] = [
            "method": .text(route.method.rawValue), "url": url(route),
            "description": .text(
                [operation.summary, operation.notes, "Access: \(route.access.text)."]
                    .compactMap(\.self).joined(separator: "\n\n")),
        ]
        if let body = operation.body {
            headers.append(header("Content-Type", body.type, isDisabled: false))
            request["body"] = ["mode": "raw", "raw": .text(try text(of: body))]
        }
        request["header"] = .array(headers)
        switch route.access {
        case .open, .operations, .signedLink, .signedBody: request["auth"] = ["type": "noauth"]
        case .reservation: request["auth"] = bearer("reservation_token")
        case .publishing: request["auth"] = bearer("publishing_token")
        case .caller, .socket, .permission: break
        }
        var item: [String: JSONValue] = [
            "name": .text(operation.id), "request": .object(request), "response": [],
        ]
        if let kept = kept(operation) { item["event"] = [kept] }
        return .object(item)
    }

    private static func text(of body: Operation.Body) throws -> String {
        guard body.type == JSONType.plain else { return "" }
        return String(
            decoding: try (body.schema.exampleValue ?? [:]).bytes(isPretty: true), as: UTF8.self)
    }

    private static func url(_ route: Route) -> JSONValue {
        let path = route.path.split(separator: "/").map { part in
            part.hasPrefix("{") ? ":" + part.dropFirst().dropLast() : String(part)
        }
        var raw = "{{base_url}}/" + path.joined(separator: "/")
        let query = route.operation.query
        if !query.isEmpty {
            raw += "?" + query.map { "\($0.name)=" }.joined(separator: "&")
        }
        return [
            "raw": .text(raw), "host": ["{{base_url}}"], "path": .array(path.map { .text($0) }),
            "query": .array(
                query.map {
                    [
                        "key": .text($0.name), "value": .text($0.schema.exampleText),
                        "disabled": .flag(!$0.isRequired),
                    ]
                }),
            "variable": .array(
                route.operation.path.sorted { $0.key < $1.key }.map {
                    ["key": .text($0.key), "value": .text($0.value.exampleText)]
                }),
        ]
    }

    private static func header(_ name: String, _ value: String, isDisabled: Bool) -> JSONValue {
        ["key": .text(name), "value": .text(value), "disabled": .flag(isDisabled)]
    }

    private static func bearer(_ variable: String) -> JSONValue {
        [
            "type": "bearer",
            "bearer": [["key": "token", "value": .text("{{\(variable)}}"), "type": "string"]],
        ]
    }

    /// What later requests need of an answer is put where they find it.
    private static func kept(_ operation: Operation) -> JSONValue? {
        let places = [
            "sign_in": ("access_token", "access_token"),
            "refresh_token": ("access_token", "access_token"),
            "reserve_stream": ("reservation_token", "token"),
            "add_camera": ("publishing_token", "token"),
        ]
        guard let (variable, key) = places[operation.id] else { return nil }
        let line =
            "if (pm.response.code < 300 && pm.response.json().\(key)) "
            + "pm.collectionVariables.set(\"\(variable)\", pm.response.json().\(key));"
        return [
            "listen": "test", "script": ["type": "text/javascript", "exec": [.text(line)]],
        ]
    }
}

extension Schema {
    /// An example as an address or a header holds it.
    fileprivate var exampleText: String {
        switch exampleValue {
        case .text(let text): text
        case .integer(let number): String(number)
        case .flag(let flag): String(flag)
        default: ""
        }
    }
}
