// The document of the interface: which routes there are, and that it says of each what it has to.
// SPDX-License-Identifier: Apache-2.0

import API
import Domain
import Foundation
import HTTPTypes
import NIOCore
import NIOFoundationCompat
import Testing

/// The parts of the contract that this version covers, as the contract writes them. What is added to one
/// side only fails.
private let covered: Set<String> = [
    // Authentication
    "POST /api/v1/auth/token", "POST /api/v1/auth/refresh", "POST /api/v1/auth/logout",
    "GET /.well-known/jwks.json",
    // Live streams
    "POST /api/v1/stream/reserve", "POST /api/v1/stream/heartbeat/{id}",
    "DELETE /api/v1/stream/release/{id}", "GET /api/v1/stream/stats", "GET /ws/stream/stats",
    "GET /ws/updates", "POST /api/v1/ws/ticket", "POST /api/v1/live/{id}/whep",
    "PATCH /api/v1/live/{id}/whep/{session}", "DELETE /api/v1/live/{id}/whep/{session}",
    "POST /api/v1/ingest/{id}/whip", "PATCH /api/v1/ingest/{id}/whip/{session}",
    "DELETE /api/v1/ingest/{id}/whip/{session}", "GET /api/v1/live/{id}/clock",
    "GET /api/v1/live/{id}/hls/index.m3u8", "GET /api/v1/live/{id}/hls/{segment}/{name}",
    // Cameras
    "GET /api/v1/cameras", "POST /api/v1/cameras", "GET /api/v1/cameras/{id}",
    "PUT /api/v1/cameras/{id}", "DELETE /api/v1/cameras/{id}",
    "GET /api/v1/cameras/{id}/snapshot.jpg", "POST /api/v1/cameras/import",
    "POST /api/v1/cameras/probe",
    // Folders, for what the contract calls groups of cameras
    "GET /api/v1/folders", "POST /api/v1/folders", "GET /api/v1/folders/{source}/{folder}",
    "PUT /api/v1/folders/{source}/{folder}", "DELETE /api/v1/folders/{source}/{folder}",
    // Layouts
    "GET /api/v1/layouts", "POST /api/v1/layouts", "GET /api/v1/layouts/{id}",
    "PUT /api/v1/layouts/{id}", "DELETE /api/v1/layouts/{id}",
    // Storage administration
    "GET /api/v1/admin/limits", "PUT /api/v1/admin/limits",
    // Playback
    "POST /api/v1/playback/prepare", "GET /api/v1/playback/status/{session}",
    "GET /api/v1/playback/playlist/{name}", "GET /api/v1/playback/segment/{session}/{name}",
    "GET /api/v1/playback/timeline", "GET /api/v1/playback/thumbnail",
    // IAM
    "GET /api/v1/iam/me", "GET /api/v1/iam/users", "POST /api/v1/iam/users",
    "GET /api/v1/iam/users/{id}", "PUT /api/v1/iam/users/{id}",
    "PATCH /api/v1/iam/users/{id}/status", "POST /api/v1/iam/users/{id}/groups",
    "DELETE /api/v1/iam/users/{id}/groups/{group}", "GET /api/v1/iam/groups",
    "POST /api/v1/iam/groups", "GET /api/v1/iam/groups/{id}", "PUT /api/v1/iam/groups/{id}",
    "DELETE /api/v1/iam/groups/{id}", "GET /api/v1/audit", "POST /webhook/iam",
    // Operations and the page
    "GET /health", "GET /health/ready", "GET /metrics", "GET /openapi.json", "GET /version",
    "GET /", "GET /page/{name}",
]

private func line(_ route: Route) -> String { "\(route.method.rawValue) \(route.path)" }

private func document() throws -> [String: Any] {
    let bytes = try Routes.document(version: "0")
    return try #require(
        try JSONSerialization.jsonObject(with: Data(buffer: bytes)) as? [String: Any])
}

@Suite struct DocumentTests {
    @Test("every covered part of the contract is a route, and every route is covered")
    func routes() {
        // What players ask before they begin is of their protocols' drafts, not of the contract.
        let isDiscovery = { (route: Route) in
            ["whep", "whip"].contains { route.path.contains($0) } && route.access == .open
        }
        let registered = Set(Routes.described().filter { !isDiscovery($0) }.map(line))
        #expect(registered.subtracting(covered).sorted() == [])
        #expect(covered.subtracting(registered).sorted() == [])
    }

    @Test("the document has every route and no other")
    func paths() throws {
        let paths = try #require(try document()["paths"] as? [String: [String: Any]])
        let told = Set(
            paths.flatMap { path, methods in methods.keys.map { "\($0.uppercased()) \(path)" } })
        let routes = Routes.described()
        let registered = Set(routes.map(line))
        #expect(told == registered)
        #expect(registered.count == routes.count)
    }

    @Test("each says who may use it, and describes exactly the parameters of its path")
    func operations() throws {
        let routes = Routes.described()
        #expect(Set(routes.map(\.operation.id)).count == routes.count)
        for route in routes {
            let named = route.path.split(separator: "/").filter { $0.hasPrefix("{") }
                .map { String($0.dropFirst().dropLast()) }
            #expect(Set(route.operation.path.keys) == Set(named), "\(line(route))")
            #expect(!route.operation.answers.isEmpty, "\(line(route))")
            let takesBody = [.post, .put, .patch].contains(route.method)
            #expect(route.operation.body == nil || takesBody, "\(line(route))")
        }
        for path in try #require(try document()["paths"] as? [String: [String: Any]]) {
            for (method, operation) in path.value {
                let access = (operation as? [String: Any])?["x-marsad-access"] as? String
                #expect(access?.isEmpty == false, "\(method) \(path.key)")
            }
        }
    }

    @Test("every reference leads somewhere, and nothing is kept that none leads to")
    func references() throws {
        let all = try document()
        let text = String(
            decoding: try Routes.document(version: "0").readableBytesView, as: UTF8.self)
        let components = try #require(all["components"] as? [String: [String: Any]])
        let known = Set(
            components.filter { $0.key != "securitySchemes" }
                .flatMap { kind, parts in parts.keys.map { "#/components/\(kind)/\($0)" } })
        let used = Set(
            text.split(separator: "\"").filter { $0.hasPrefix("#/components/") }.map(String.init))
        #expect(used.subtracting(known).sorted() == [])
        #expect(known.subtracting(used).sorted() == [])
    }

    @Test("the collection in the documentation is the one that these routes make")
    func postman() throws {
        let file = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
            .deletingLastPathComponent().deletingLastPathComponent()
            .appendingPathComponent("docs/integration/marsad.postman_collection.json")
        let kept = try String(contentsOf: file, encoding: .utf8)
        let made = String(buffer: try Routes.postmanCollection())
        #expect(
            kept == made + "\n",
            "write it anew: marsad openapi --postman > docs/integration/\(file.lastPathComponent)")
    }
}

@Suite struct SchemaTests {
    @Test("an example is made of what the parts say, and of what an object must have")
    func examples() {
        let schema = Schema.object([
            "name": .text(1...9).example("Gate"), "source": .choice(["METRO"]),
            "days": .integer(3...9), "note": .text().optional,
        ])
        #expect(schema.exampleValue == ["name": "Gate", "source": "METRO", "days": 3])
        #expect(schema.keys == ["name", "source", "days", "note"])
    }

    @Test("an object names what it must have, and takes nothing else")
    func definition() {
        let schema = Schema.object("Pair", ["a": .flag, "b": .text().optional])
        #expect(
            schema.definition == [
                "type": "object", "additionalProperties": false, "required": ["a"],
                "properties": ["a": ["type": "boolean"], "b": ["type": "string"]],
            ])
        #expect(schema.reference == ["$ref": "#/components/schemas/Pair"])
        #expect(Schema.list(schema).components.keys.sorted() == ["Pair"])
    }
}
