// URLs, slots, digests and the circuit breaker: values without a socket.
// SPDX-License-Identifier: Apache-2.0

import Primitives
import Testing
import Valkey

@Suite struct ValueTests {
    @Test("a URL names hosts, login, database and sentinels")
    func urls() throws {
        let plain = try ValkeyURL(parsing: "valkey://cache")
        #expect(plain.seeds == [ValkeyAddress(host: "cache", port: 6379)])
        #expect(plain.user == nil && plain.password == nil && plain.database == 0)
        let full = try ValkeyURL(parsing: "redis://us%65r:p%40ss:w%2Frd@[::1]:7000/12")
        #expect(full.seeds == [ValkeyAddress(host: "::1", port: 7000)])
        #expect(full.user == "user")
        #expect(full.password?.reveal() == "p@ss:w/rd")
        #expect(full.database == 12)
        #expect(!"\(full)".contains("p@ss"))
        let sentinels = try ValkeyURL(parsing: "valkey://a,b:1?sentinel=main")
        #expect(sentinels.sentinelName == "main")
        #expect(sentinels.seeds.map(\.port) == [26_379, 1])
    }

    @Test("what is no URL is refused; TLS is refused by its own name")
    func wrongURLs() {
        for text in [
            "", "valkey", "valkey://", "http://a", "valkey://a:0", "valkey://a:65536",
            "valkey://a:b", "valkey://a/x", "valkey://a,,b", "valkey://a?tls=1", "valkey://%41%4@a",
            "valkey://a b", "valkey://a?sentinel=",
        ] {
            #expect(throws: ValkeyURLError.invalid, "\(text)") { try ValkeyURL(parsing: text) }
        }
        #expect(throws: ValkeyURLError.encrypted) { try ValkeyURL(parsing: "valkeys://a") }
        #expect(throws: ValkeyURLError.encrypted) { try ValkeyURL(parsing: "rediss://a") }
    }

    @Test("slots are those of the cluster specification")
    func slots() {
        #expect(HashSlot(key: "123456789").rawValue == 0x31C3)
        #expect(HashSlot(key: "{user1000}.following") == HashSlot(key: "{user1000}.followers"))
        #expect(HashSlot(key: "foo{bar}{zap}") == HashSlot(key: "bar"))
        #expect(HashSlot(key: "foo{}{bar}") != HashSlot(key: "bar"))
        #expect(HashSlot(key: "").rawValue == 0)
    }

    @Test("a script's digest is its SHA-1")
    func digests() {
        #expect(ValkeyScript("return 1").digest == "e0e1f9fabfc9d4800c877a703b823ac0578ff8db")
    }

    @Test("the circuit opens after so many failures in a row, and closes after one success")
    func breaker() {
        var breaker = CircuitBreaker(threshold: 3)
        func opens() -> Bool { breaker.fail() }
        #expect(breaker.isClosed)
        for _ in 0..<2 { #expect(!opens()) }
        breaker.succeed()
        for _ in 0..<2 { #expect(!opens()) }
        #expect(opens())
        #expect(breaker.state == .open)
        #expect(!opens())
        breaker.probe()
        #expect(breaker.state == .halfOpen)
        #expect(!breaker.isClosed)
        #expect(opens())
        breaker.probe()
        breaker.succeed()
        #expect(breaker.isClosed)
        breaker.probe()
        #expect(breaker.isClosed)
    }
}
