// The credentials that viewers get for relays.
// SPDX-License-Identifier: Apache-2.0

import Live
import Primitives
import Testing

@Suite struct TURNServersTests {
    /// 17:40:00 UTC is 1795282800; the password was computed with another implementation.
    @Test("a credential is the expiry and the holder, signed as coturn checks it")
    func credential() throws {
        let relays = TURNServers(
            urls: ["turn:relay.example:3478?transport=udp"], secret: Redacted("north gate"),
            lifetime: .seconds(3600))
        let servers = relays.servers(
            for: "11111111-2222-4333-8444-555555555555",
            at: WallTime(microseconds: 1_795_279_200_000_000))
        let server = try #require(servers.first)
        #expect(servers.count == 1)
        #expect(server.url == "turn:relay.example:3478?transport=udp")
        #expect(server.username == "1795282800:11111111-2222-4333-8444-555555555555")
        #expect(server.credential.reveal() == "Ajh2GLLZrtI/mvdtXODEjrLZBg4=")
        #expect("\(server)".contains("Ajh2") == false)
    }

    @Test("without relays there are no credentials")
    func none() {
        let relays = TURNServers(urls: [], secret: Redacted(""), lifetime: .seconds(3600))
        #expect(relays.servers(for: "a", at: WallTime(microseconds: 0)).isEmpty)
    }
}
