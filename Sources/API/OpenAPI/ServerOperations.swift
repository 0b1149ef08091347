// The page, the WebSockets and what those who run the server ask, in the document of the interface.
// SPDX-License-Identifier: Apache-2.0

import Domain

extension Operation {
    static let page = Operation(
        "get_page", .page, "The operator's page", answers: [.media("text/html")])

    static let pageFile = Operation(
        "get_page_file", .page, "A file of the operator's page",
        path: ["name": .part.example("app.js")],
        answers: [
            Answer(200, "A script or a style sheet", type: "text/*")
        ], errors: [.notFound])

    static let health = Operation(
        "get_health", .operations, "Whether the program is alive",
        answers: [.json(.object("Health", ["status": .choice(["ok"])]))])

    static let readiness = Operation(
        "get_readiness", .operations, "Each part that the program depends on",
        answers: [
            .json(ReadinessBody.schema), .json(ReadinessBody.schema, status: 503),
        ])

    static let version = Operation(
        "get_version", .operations, "The program's name and version",
        answers: [.json(.object("Version", ["name": .choice(["marsad"]), "version": .text()]))])

    static let metrics = Operation(
        "get_metrics", .operations, "Metrics, as Prometheus reads them",
        answers: [.media("text/plain")])

    static let document = Operation(
        "get_openapi", .operations, "This document", answers: [.json(.table(.anything))])

    static let socketTicket = Operation(
        "create_ws_ticket", .sockets, "A ticket that opens one WebSocket within half a minute",
        answers: [
            .json(.object("SocketTicket", ["ticket": .text(), "expires_in": .count]))
        ])

    static let updates = socket(
        "open_updates", "Changes, by WebSocket: of the topics that the client subscribes to")
    static let statsUpdates = socket(
        "open_stream_stats", "Seats and viewers, by WebSocket")

    private static func socket(_ id: String, _ summary: String) -> Operation {
        Operation(
            id, .sockets, summary, answers: [Answer(101, "A WebSocket")],
            errorsAt: [426: [.invalidRequest]])
    }
}

extension ReadinessBody {
    static let schema = Schema.object(
        "Readiness",
        [
            "status": .choice(["ok", "failed"]),
            "dependencies": .list(
                .object([
                    "name": .text(), "status": .choice(["ok", "failed"]), "latency_ms": .number(),
                ])),
        ])
}
