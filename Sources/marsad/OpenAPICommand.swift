// `marsad openapi`: the document of the HTTP interface, and a Postman collection made from it.
// SPDX-License-Identifier: Apache-2.0

import API
import ArgumentParser
import NIOCore

struct OpenAPICommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "openapi",
        abstract: "Print the document of the HTTP interface, as GET /openapi.json answers it.")

    @Flag(help: "A Postman collection (format 2.1) of the same requests instead.")
    var postman = false

    func run() throws {
        let version = Installation.version
        let text =
            try postman
            ? Routes.postmanCollection() : Routes.document(version: version, isPretty: true)
        print(String(buffer: text))
    }
}
