// The running server that a benchmark loads, as the command line names it.
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Foundation
import Primitives

struct BenchServer: ParsableArguments {
    @Option(help: "The server.") var url = "http://127.0.0.1:8080"
    @Flag(help: "Print the report as JSON; it always is.") var json = false

    struct Address {
        var host: String
        var port: Int
    }

    func address() throws -> Address {
        guard let server = URL(string: url), server.scheme == "http", let host = server.host else {
            throw ConfigurationError(
                description: "--url is \"\(url)\"; allowed: http://HOST:PORT")
        }
        return Address(
            host: host.trimmingCharacters(in: ["[", "]"]), port: server.port ?? 80)
    }

    /// MARSAD_TOKEN: an access token; never an argument, which others see.
    static var token: Redacted<String>? {
        ProcessInfo.processInfo.environment["MARSAD_TOKEN"].map { Redacted($0) }
    }

    /// Refuses what is out of range in the words of a command line.
    static func check(_ name: String, _ value: Double, _ allowed: ClosedRange<Double>) throws {
        guard allowed.contains(value) else {
            throw ConfigurationError(
                description: "--\(name) is \(value); allowed: \(allowed.lowerBound) to "
                    + "\(allowed.upperBound)")
        }
    }
}
