// The way that a session's packets take: datagrams, or a connection.
// SPDX-License-Identifier: Apache-2.0

package import WebRTC

/// What became of a send.
package enum SendOutcome: Equatable {
    case sent
    /// The socket's buffer is full: what was to be sent is lost.
    case congested
    case failed(errorNumber: Int32)
}

/// Where packets go. The session that sends knows no more of it.
package enum MediaPath {
    case datagrams(LiveSocket, TransportAddress)
    case connection(LiveConnection)

    /// Whether it is sensible to begin something: a connection may still be busy with what it got.
    package var isReady: Bool {
        switch self {
        case .datagrams: true
        case .connection(let connection): connection.isReady
        }
    }

    /// Sends bytes as packets of `segment` bytes, the last one shorter; 0 for a single packet.
    package func send(_ bytes: UnsafeRawBufferPointer, segment: Int) -> SendOutcome {
        switch self {
        case .datagrams(let socket, let address):
            socket.send(bytes, segment: segment, to: address)
        case .connection(let connection):
            connection.send(bytes, segment: segment)
        }
    }
}
