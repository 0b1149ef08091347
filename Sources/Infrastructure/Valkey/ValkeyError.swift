// Why Valkey did not do it.
// SPDX-License-Identifier: Apache-2.0

/// A failed command. Holds no key, no argument and no password.
package enum ValkeyError: Error, Hashable, Sendable, CustomStringConvertible {
    /// No answer in time; the server may have done it, or may do it yet.
    case timedOut
    /// No connection in time; the server has not seen it.
    case unreachable
    /// The connection ended before the answer; the server may have done it.
    case connectionLost
    /// Not tried: the server failed too often a moment ago.
    case circuitOpen
    /// Not tried: too many commands wait.
    case overloaded
    /// The server answered an error with this code (`OOM`, `WRONGTYPE`, `NOSCRIPT` …).
    case refused(code: String)
    /// An answer of another type than the command has.
    case unexpectedReply
    /// The client was closed.
    case closed

    package var description: String {
        switch self {
        case .timedOut: "Valkey did not answer in time"
        case .unreachable: "Valkey cannot be reached"
        case .connectionLost: "the connection to Valkey was lost"
        case .circuitOpen: "Valkey failed too often a moment ago"
        case .overloaded: "too many commands wait for Valkey"
        case .refused(let code): "Valkey answered \(code)"
        case .unexpectedReply: "Valkey answered what the command does not have"
        case .closed: "the client of Valkey is closed"
        }
    }

    /// Whether it says something about the server's health, and not about the command.
    var isOutage: Bool {
        switch self {
        case .timedOut, .unreachable, .connectionLost: true
        case .refused(let code): RetriedFailure(rawValue: code) != nil
        case .circuitOpen, .overloaded, .unexpectedReply, .closed: false
        }
    }
}

/// Answers that a later try may not meet.
enum RetriedFailure: String {
    case loading = "LOADING"
    case busy = "BUSY"
    case tryAgain = "TRYAGAIN"
    case masterDown = "MASTERDOWN"
    case clusterDown = "CLUSTERDOWN"
    /// The master became a replica: another one is to be looked for.
    case readOnly = "READONLY"
}
