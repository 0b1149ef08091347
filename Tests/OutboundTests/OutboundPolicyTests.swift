// Where requests to other services may go.
// SPDX-License-Identifier: Apache-2.0

import NIOCore
import Outbound
import Testing

@Suite struct OutboundPolicyTests {
    private func allows(
        _ address: String, isEncrypted: Bool = true, networks: [String] = []
    ) throws -> Bool {
        OutboundPolicy(networks: networks.compactMap { AddressBlock($0) })
            .allows(try SocketAddress(ipAddress: address, port: 443), isEncrypted: isEncrypted)
    }

    @Test(
        "a service may be anywhere but here",
        arguments: [
            "8.8.8.8", "10.0.0.1", "192.168.1.1", "2001:db8::1", "fd12::1", "::ffff:8.8.8.8",
        ])
    func elsewhere(address: String) throws {
        #expect(try allows(address))
        #expect(try !allows(address, isEncrypted: false))
    }

    @Test(
        "loopback, link-local, multicast and unspecified addresses are refused, however they are written",
        arguments: [
            "127.0.0.1", "127.255.255.254", "0.0.0.0", "0.1.2.3", "169.254.0.1",
            "169.254.169.254", "224.0.0.1", "255.255.255.255", "240.0.0.1", "::", "::1",
            "::127.0.0.1", "fe80::1", "febf::1", "ff02::1", "::ffff:127.0.0.1",
            "::ffff:169.254.169.254", "::ffff:0.0.0.0", "fd00:ec2::254", "64:ff9b::7f00:1",
            "64:ff9b::a9fe:a9fe", "2002:7f00:1::1",
        ])
    func inside(address: String) throws {
        #expect(try !allows(address))
        #expect(try !allows(address, isEncrypted: false))
    }

    @Test("a network that is configured is allowed, also without TLS; the others are as before")
    func configured() throws {
        let networks = ["127.0.0.0/8", "10.1.0.0/16", "fd00::/8"]
        for address in ["127.0.0.1", "10.1.2.3", "fd12::1", "::ffff:127.0.0.1"] {
            #expect(try allows(address, networks: networks))
            #expect(try allows(address, isEncrypted: false, networks: networks))
        }
        #expect(try !allows("::1", networks: networks))
        #expect(try !allows("10.2.0.1", isEncrypted: false, networks: networks))
    }

    @Test("where clouds hand out credentials nothing is asked, whatever is configured")
    func metadata() throws {
        for address in [
            "169.254.169.254", "::ffff:169.254.169.254", "fd00:ec2::254", "fd20:ce::254",
            "168.63.129.16", "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::", "::169.254.169.254",
        ] {
            #expect(try !allows(address, networks: ["0.0.0.0/0", "::/0"]))
        }
    }

    @Test("a socket file is no service")
    func unixSocket() throws {
        let address = try SocketAddress(unixDomainSocketPath: "/tmp/socket")
        #expect(!OutboundPolicy(networks: []).allows(address, isEncrypted: true))
    }
}

@Suite struct OutboundURLTests {
    @Test("the host and the port of a URL")
    func parsed() throws {
        for (text, host, port, isEncrypted) in [
            ("https://login.example/keys", "login.example", 443, true),
            ("https://login.example:8443/realms/a/certs?x=1", "login.example", 8443, true),
            ("http://idp_1.internal", "idp_1.internal", 80, false),
            ("HTTPS://10.0.0.1/", "10.0.0.1", 443, true),
            ("https://[fd00::1]:444/k", "fd00::1", 444, true),
            // Written so that it hides the loopback address: resolved like a name, then refused.
            ("https://2130706433/", "2130706433", 443, true),
        ] {
            let url = try #require(OutboundURL(text), "\(text)")
            #expect(url.host == host)
            #expect(url.port == port)
            #expect(url.isEncrypted == isEncrypted)
        }
    }

    @Test(
        "what is no plain address of a service is refused",
        arguments: [
            "", "login.example", "//login.example", "https://", "https:///keys", "ftp://a.example/",
            "file:///etc/passwd", "http+unix://%2Ftmp%2Fa/", "https://user@a.example/",
            "https://user:pass@a.example/", "https://@a.example/", "https://a.example/#x",
            "https://a.example:0/", "https://a.example:65536/", "https://a.example:x/",
            "https://a.example\\@b.example/", "https://a b.example/", "https://a.example/\r\nX: y",
            "https://a%2eexample/", "https://müller.example/", "https://[fe80::1%25eth0]/",
            "https://[::1", "https://a.example,b.example/",
            "https://" + String(repeating: "a", count: 254) + "/",
            "https://a.example/" + String(repeating: "a", count: 2048),
        ])
    func refused(text: String) { #expect(OutboundURL(text) == nil) }
}
