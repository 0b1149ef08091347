// The page, and what those who run the server ask it.
// SPDX-License-Identifier: Apache-2.0

import Domain
import HTTPTypes
import Hummingbird
import Ingest
import NIOCore
import Observability
import Primitives

/// `GET /health/ready`.
struct ReadinessBody: Encodable {
    struct Dependency: Encodable {
        var name: String
        var status: String
        var latencyMs: Double
    }
    var status: String
    var dependencies: [Dependency]
}

extension Routes {
    func operations(_ table: RouteTable) {
        table.on(.get, "/", .open, .page) { _, _ in try Page.response("index.html") }
        table.on(.get, "page/:name", .open, .pageFile) { _, context in
            try Page.response(try context.parameters.require("name"))
        }
        table.on(.get, "health", .open, .health) { _, _ in
            try jsonResponse(["status": "ok"])
        }
        table.on(.get, "health/ready", .operations, .readiness) { _, _ in try await ready() }
        table.on(.get, "version", .open, .version) { _, _ in
            try jsonResponse(["name": "marsad", "version": services.version])
        }
        table.on(.get, "metrics", .operations, .metrics) { _, _ in try await metrics() }
        table.on(.get, "openapi.json", .open, .document) { _, _ in
            Response(
                status: .ok,
                headers: [.contentType: JSONType.plain, .cacheControl: "no-cache"],
                body: .init(byteBuffer: try document.get()))
        }
    }

    private func ready() async throws -> Response {
        let begun = services.world.now()
        let isUp = (try? await services.cameras.all(.everything)) != nil
        let milliseconds = (services.world.now() - begun).inSeconds * 1000
        let database = ReadinessBody.Dependency(
            name: "database", status: isUp ? "ok" : "failed", latencyMs: milliseconds)
        return try jsonResponse(
            ReadinessBody(status: isUp ? "ok" : "failed", dependencies: [database]),
            status: isUp ? .ok : .serviceUnavailable)
    }

    private func metrics() async throws -> Response {
        let states = await services.node.states()
        var counts: [String: Int] = [:]
        // A lost database must not blind whoever looks for the reason: the last counts stay.
        for camera in (try? await services.directory.all(.everything)) ?? [] {
            for status in StreamStatus.allCases {
                counts[camera.source.rawValue + "\n" + status.rawValue, default: 0] += 0
            }
            let status = states[camera.id]?.status ?? .connecting
            counts[camera.source.rawValue + "\n" + status.rawValue, default: 0] += 1
        }
        for (key, count) in counts {
            let parts = key.split(separator: "\n").map(String.init)
            services.registry.gauge(
                "cctv_ingest_streams", help: "Cameras, by the state of their stream.",
                labels: ["source": parts[0], "status": parts[1]]
            ).set(Double(count))
        }
        for (source, count) in (try? await viewersBySource(.everything)) ?? [:] {
            services.registry.gauge(
                "cctv_stream_viewers", help: "Connected live viewers.",
                labels: ["source": source.rawValue]
            ).set(Double(count))
        }
        return Response(
            status: .ok, headers: [.contentType: "text/plain; version=0.0.4; charset=utf-8"],
            body: .init(byteBuffer: ByteBuffer(string: services.registry.render())))
    }
}
