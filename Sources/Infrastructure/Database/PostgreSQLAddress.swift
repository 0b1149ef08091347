// Where a PostgreSQL server is, as whom to speak to it, and how long to wait for it.
// SPDX-License-Identifier: Apache-2.0
import CPQ
import Primitives

/// A `postgresql://` address in the parts that libpq takes. It holds a password and is never printed.
package struct PostgreSQLAddress: Sendable {
    private let parameters: Redacted<[String: String]>

    /// - Parameter url: `postgresql://user:password@host:port/database?sslmode=verify-full`; every
    ///   parameter of libpq may follow (PostgreSQL's manual, "Connection Strings").
    /// - Returns: `nil` where it is no such address, or its password seems to go on behind an `@` that should
    ///   be `%40`: errors name hosts and databases.
    package init?(parsing url: String) {
        guard ["postgresql://", "postgres://"].contains(where: url.hasPrefix),
            url.utf8.count <= 4096,
            !url.utf8.contains(0), let options = PQconninfoParse(url, nil)
        else { return nil }
        defer { PQconninfoFree(options) }
        var parameters: [String: String] = [:]
        var next = options
        while let keyword = next.pointee.keyword {
            if let value = next.pointee.val {
                parameters[String(cString: keyword)] = String(cString: value)
            }
            next += 1
        }
        guard Self.isHost(parameters["host"] ?? ""), parameters["dbname"]?.contains("@") != true
        else { return nil }
        self.parameters = Redacted(parameters)
    }

    /// Names and addresses in a list, or folders of sockets.
    private static func isHost(_ text: String) -> Bool {
        text.split(separator: ",").allSatisfy { host in
            host.hasPrefix("/") || host.hasPrefix("@")
                || host.utf8.allSatisfy { byte in
                    UInt8(ascii: "0")...UInt8(ascii: "9") ~= byte
                        || UInt8(ascii: "a")...UInt8(ascii: "z") ~= byte | 0x20
                        || byte > 0x7F || ".-_:%".utf8.contains(byte)
                }
        }
    }

    /// The parameters with ours where the address says nothing, in two lists as libpq takes them.
    func options(
        _ timeouts: PostgreSQLTimeouts
    ) -> (keywords: [String], values: [String]) {
        var all = [
            "application_name": "marsad",
            // A standby would answer with what was; of several hosts, the one that takes changes.
            "target_session_attrs": "primary",
            "connect_timeout": String(timeouts.connectSeconds),
            // A peer that is gone without a word is noticed by the system.
            "keepalives_idle": "10", "keepalives_interval": "5", "keepalives_count": "3",
            "tcp_user_timeout": String(timeouts.answerSeconds * 1000),
        ].merging(parameters.reveal()) { $1 }
        all["client_encoding"] = "UTF8"
        all["options"] = [
            all["options"], "-c statement_timeout=\(timeouts.statementSeconds * 1000)",
            "-c lock_timeout=\(timeouts.lockSeconds * 1000)",
            "-c idle_in_transaction_session_timeout=\(timeouts.statementSeconds * 1000)",
        ].compactMap { $0 }.joined(separator: " ")
        let sorted = all.sorted { $0.key < $1.key }
        return (sorted.map(\.key), sorted.map(\.value))
    }
}

/// How long a connection waits, in whole seconds.
package struct PostgreSQLTimeouts: Sendable {
    /// For a connection, host by host; libpq takes 2 at least.
    package var connectSeconds = 5
    /// For another writer.
    package var lockSeconds = 5
    /// For one statement, after which the server ends it.
    package var statementSeconds = 30
    /// For any answer; a server that says nothing until then is taken for lost.
    package var answerSeconds = 40

    package init() {}
}
