// The UDP ports of live viewing: shared by the loops of one service, and with nobody else.
// SPDX-License-Identifier: Apache-2.0

import CNetwork
import Glibc
import Testing

@Suite struct PortTests {
    private func open(_ port: UInt16) throws -> (descriptor: Int32, port: UInt16) {
        var isDual: Int32 = 0
        var bound: UInt16 = 0
        let descriptor = marsad_udp_open(port, 65_536, &isDual, &bound)
        try #require(descriptor >= 0, "errno \(-descriptor)")
        return (descriptor, bound)
    }

    /// Where the kernel may choose among shared ports, a few in hundreds are somebody's.
    @Test("whoever asks for any port gets one of its own, which its other loops share")
    func anyPort() throws {
        var sockets: [(descriptor: Int32, port: UInt16)] = []
        defer { for socket in sockets { close(socket.descriptor) } }
        for _ in 0..<400 { sockets.append(try open(0)) }
        #expect(Set(sockets.map(\.port)).count == 400)
        let first = sockets[0].port
        #expect(marsad_udp_probe(first) == EADDRINUSE)
        sockets.append(try open(first))
        #expect(sockets.last?.port == first)
    }
}
