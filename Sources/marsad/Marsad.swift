// The command line: names of commands, and which failure ends the program with which code.
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Foundation
import Glibc

@main
struct Marsad: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "marsad",
        abstract: "A video management system for city-scale CCTV.",
        version: Installation.version,
        subcommands: [
            Serve.self, Demo.self, CameraCommand.self, UserCommand.self, TokenCommand.self,
            AuditCommand.self, Simulate.self, Bench.self, Repair.self, CheckRecordings.self,
            OpenAPICommand.self,
            Migrate.self,
        ])

    /// Exit codes of the contract: 0 done, 1 failed, 2 wrong usage or configuration, 3 verified and
    /// found false.
    static func main() async {
        // A viewer or camera that closes its socket must not end the process.
        signal(SIGPIPE, SIG_IGN)
        do {
            var command = try parseAsRoot()
            if var asynchronous = command as? any AsyncParsableCommand {
                try await asynchronous.run()
            } else {
                try command.run()
            }
        } catch let error as ConfigurationError {
            complain(error.description)
            Glibc.exit(2)
        } catch {
            let code = exitCode(for: error)
            if code == .validationFailure {
                complain(fullMessage(for: error))
                Glibc.exit(2)
            }
            if code == .success { exit(withError: error) }
            // The command has said why itself.
            if let code = error as? ExitCode { Glibc.exit(code.rawValue) }
            complain("\(error)")
            Glibc.exit(1)
        }
    }
}

/// One JSON value on stdout, with keys in a fixed order.
func printJSON(_ value: some Encodable) throws {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    print(String(decoding: try encoder.encode(value), as: UTF8.self))
}

/// Messages to people go to stderr; data goes to stdout.
func complain(_ text: String) {
    FileHandle.standardError.write(Data(("marsad: " + text + "\n").utf8))
}
