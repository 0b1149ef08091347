// `marsad openapi`: the document of the HTTP interface, and a Postman collection made from it.
// SPDX-License-Identifier: Apache-2.0

import API
import ArgumentParser
import NIOCore

struct OpenAPICommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "openapi",
        abstract: "Print the document of the HTTP interface, as GET /openapi.json answers it.")

    func run() throws {
        print(
            String(
                buffer: try Routes.document(version: Installation.version, isPretty: true)))
    }
}
