// Which addresses a camera may have.
// SPDX-License-Identifier: Apache-2.0

import Ingest
import NIOCore
import Outbound
import Testing

@Suite struct NetworkPolicyTests {
    private func allows(_ address: String) throws -> Bool {
        NetworkPolicy.privateNetworks.allows(try SocketAddress(ipAddress: address, port: 554))
    }

    @Test(
        "private addresses are cameras' addresses, also when hidden in IPv6",
        arguments: [
            "10.0.0.1", "10.255.255.255", "172.16.0.1", "172.31.255.255", "192.168.1.64",
            "fd12:3456:789a::1", "::ffff:10.1.2.3", "::ffff:192.168.1.64",
        ])
    func allowed(address: String) throws { #expect(try allows(address)) }

    @Test(
        "loopback, link-local, metadata and public addresses are not",
        arguments: [
            "127.0.0.1", "127.255.255.254", "0.0.0.0", "169.254.169.254", "169.254.0.1", "8.8.8.8",
            "172.15.255.255", "172.32.0.0", "11.0.0.0", "9.255.255.255", "192.169.0.1", "::1", "::",
            "fe80::1", "2001:db8::1", "::ffff:127.0.0.1", "::ffff:169.254.169.254",
            "::ffff:8.8.8.8",
            "255.255.255.255", "224.0.0.1", "fc00::1",
        ])
    func refused(address: String) throws { #expect(try !allows(address)) }

    @Test("a socket file is nobody's camera")
    func unixSocket() throws {
        let address = try SocketAddress(unixDomainSocketPath: "/tmp/socket")
        #expect(!NetworkPolicy.privateNetworks.allows(address))
        let everything = NetworkPolicy(
            blocks: ["0.0.0.0/0", "::/0"].compactMap { AddressBlock($0) })
        #expect(!everything.allows(address))
    }
}
