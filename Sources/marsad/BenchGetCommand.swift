// `marsad bench get`: how fast a running server answers one question, asked over and over.
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Simulation

extension Bench {
    struct Get: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Ask a server for one address; prints one JSON object.",
            discussion: "MARSAD_TOKEN in the environment is sent as access token.")

        @Option(help: "What to ask for.") var path = "/health"
        @OptionGroup var options: RequestOptions

        func run() async throws {
            let isPath = path.hasPrefix("/") && path.utf8.allSatisfy { (0x21...0x7E).contains($0) }
            guard isPath, path.utf8.count <= 8000 else {
                throw ConfigurationError(
                    description: "--path is not valid; allowed: /PATH?QUERY, as it is sent")
            }
            var (report, _) = try await options.run(.get(path: path))
            report.path = path
            try printJSON(report)
        }
    }
}
