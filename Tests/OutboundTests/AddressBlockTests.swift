// Blocks of addresses.
// SPDX-License-Identifier: Apache-2.0

import NIOCore
import Outbound
import Testing

@Suite struct AddressBlockTests {
    @Test(
        "text that is no block is refused",
        arguments: [
            "", "/", "10.0.0.0", "10.0.0.0/", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0/8",
            "fd00::/129",
            "10.0.0.0/8/8", "camera.local/8", "/8", "10.0.0.0/x", "10.0.0.256/8",
        ])
    func malformed(text: String) { #expect(AddressBlock(text) == nil) }

    @Test("a prefix is compared bit by bit")
    func bits() throws {
        let block = try #require(AddressBlock("192.168.5.0/23"))
        #expect(block.description == "192.168.5.0/23")
        for (address, isInside) in [
            ("192.168.4.0", true), ("192.168.5.255", true), ("192.168.6.0", false),
            ("192.168.3.255", false),
        ] {
            #expect(
                block.contains(try SocketAddress(ipAddress: address, port: 0)) == isInside)
        }
        let all = try #require(AddressBlock("0.0.0.0/0"))
        #expect(all.contains(try SocketAddress(ipAddress: "8.8.8.8", port: 0)))
        #expect(!all.contains(try SocketAddress(ipAddress: "2001:db8::1", port: 0)))
    }
}
