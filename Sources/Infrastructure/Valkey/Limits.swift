// Every limit of the Valkey client in one place.
// SPDX-License-Identifier: Apache-2.0

import NIOCore

enum Limits {
    /// Commands of one server that wait for a connection or an answer.
    static let pending = 10_000
    /// Servers of a cluster that are remembered.
    static let nodes = 64
    /// How often a command follows the server to where its key lives.
    static let redirects = 3
    /// Between two looks at the deadlines.
    static let tick = TimeAmount.milliseconds(20)
    /// Before a server that is loading or busy is asked again.
    static let retryPause = TimeAmount.milliseconds(25)
    static let firstBackoff = TimeAmount.milliseconds(50)
    static let longestBackoff = TimeAmount.seconds(2)
    /// For the name, the connection, and the handshake each.
    static let connectTimeout = TimeAmount.milliseconds(500)
    /// Failures in a row that open the circuit.
    static let failures = 5
    /// How long an open circuit stays open before the server is tried again.
    static let probePause = TimeAmount.milliseconds(500)
    /// Changes of the client's health that are kept for who listens.
    static let events = 16
}
