// The gateway's counts, by simulated time.
// SPDX-License-Identifier: Apache-2.0

import API
import Domain
import NIOCore
import Outbound
import Primitives
import Testing

private func at(_ milliseconds: Int64) -> Instant {
    Instant(nanoseconds: 1_000_000_000_000 + milliseconds * 1_000_000)
}

@Suite struct SlidingWindowTests {
    @Test("a thousand in a minute are let through, the next one is not")
    func limit() {
        var window = SlidingWindow(at: at(0))
        for request in 0..<1000 {
            #expect(window.take(limit: 1000, at: at(Int64(request) * 10)) == nil)
        }
        #expect(window.take(limit: 1000, at: at(10_000)) == .seconds(50))
    }

    @Test("what is a minute old does not count; what was refused never did")
    func sliding() {
        var window = SlidingWindow(at: at(0))
        for _ in 0..<3 { #expect(window.take(limit: 3, at: at(0)) == nil) }
        #expect(window.take(limit: 3, at: at(59_999)) == .seconds(1))
        #expect(window.take(limit: 3, at: at(60_000)) == nil)
        #expect(window.take(limit: 3, at: at(60_500)) == nil)
        #expect(window.take(limit: 3, at: at(61_000)) == nil)
        #expect(window.take(limit: 3, at: at(61_000)) != nil)
    }

    @Test("a long silence empties it, and a clock that stands still does no harm")
    func silence() {
        var window = SlidingWindow(at: at(0))
        for _ in 0..<5 { _ = window.take(limit: 5, at: at(0)) }
        #expect(window.take(limit: 5, at: at(86_400_000)) == nil)
        #expect(window.take(limit: 1, at: at(0)) != nil)
    }
}

@Suite struct TokenBucketTests {
    @Test("a burst of its depth passes, then its rate")
    func burst() {
        var bucket = TokenBucket(depth: 100, at: at(0))
        for _ in 0..<100 { #expect(bucket.take(perSecond: 50, depth: 100, at: at(0)) == nil) }
        #expect(bucket.take(perSecond: 50, depth: 100, at: at(0)) == .milliseconds(20))
        #expect(bucket.take(perSecond: 50, depth: 100, at: at(20)) == nil)
        #expect(bucket.take(perSecond: 50, depth: 100, at: at(20)) != nil)
    }

    @Test("it never holds more than its depth")
    func depth() {
        var bucket = TokenBucket(depth: 2, at: at(0))
        #expect(bucket.take(perSecond: 50, depth: 2, at: at(3_600_000)) == nil)
        #expect(bucket.take(perSecond: 50, depth: 2, at: at(3_600_000)) == nil)
        #expect(bucket.take(perSecond: 50, depth: 2, at: at(3_600_000)) != nil)
    }
}

@Suite struct RecentTableTests {
    @Test("strangers cannot fill it, and who comes often stays")
    func bounded() {
        var table = RecentTable<Int, Int>(capacity: 100)
        for stranger in 1...10_000 {
            table.update(stranger, default: { 0 }) { $0 += 1 }
            table.update(0, default: { 0 }) { $0 += 1 }
            #expect(table.count <= 102)
        }
        #expect(table.update(0, default: { 0 }) { $0 } == 10_000)
        #expect(table.update(1, default: { 0 }) { $0 } == 0)
    }
}

@Suite struct ClientAddressTests {
    private static func seen(
        from peer: String, _ forwarded: String?, trusting: [String]
    ) throws -> String {
        ClientAddress(
            peer: ClientAddress(try SocketAddress(ipAddress: peer, port: 1)),
            forwarded: forwarded,
            trusting: trusting.compactMap { AddressBlock($0) }
        ).text
    }

    @Test(
        "the rightmost address that is not a trusted proxy's is the client's",
        arguments: [
            ("198.51.100.9", "203.0.113.7", [], "198.51.100.9"),
            ("198.51.100.9", "203.0.113.7", ["10.0.0.0/8"], "198.51.100.9"),
            ("10.0.0.1", "203.0.113.7", ["10.0.0.0/8"], "203.0.113.7"),
            ("10.0.0.1", "6.6.6.6, 203.0.113.7", ["10.0.0.0/8"], "203.0.113.7"),
            ("10.0.0.1", "203.0.113.7, 10.0.0.2", ["10.0.0.0/8"], "203.0.113.7"),
            ("10.0.0.1", "203.0.113.7:4711", ["10.0.0.0/8"], "203.0.113.7"),
            ("10.0.0.1", "[2001:db8::1]:4711", ["10.0.0.0/8"], "2001:db8::1"),
            ("10.0.0.1", "\"[2001:db8::1]\"", ["10.0.0.0/8"], "2001:db8::1"),
            ("10.0.0.1", "10.0.0.3, 10.0.0.2", ["10.0.0.0/8"], "10.0.0.3"),
            ("10.0.0.1", "203.0.113.7, nonsense", ["10.0.0.0/8"], "10.0.0.1"),
            ("10.0.0.1", "203.0.113.7, ,", ["10.0.0.0/8"], "10.0.0.1"),
            ("10.0.0.1", nil, ["10.0.0.0/8"], "10.0.0.1"),
            ("::ffff:10.0.0.1", "203.0.113.7", ["10.0.0.0/8"], "203.0.113.7"),
        ] as [(String, String?, [String], String)])
    func forwarded(peer: String, field: String?, proxies: [String], client: String) throws {
        #expect(try Self.seen(from: peer, field, trusting: proxies) == client)
    }

    @Test("addresses of one IPv6 subscriber count as one, IPv4 addresses each for itself")
    func network() throws {
        func network(_ text: String) throws -> [UInt8] {
            ClientAddress(try SocketAddress(ipAddress: text, port: 1)).network
        }
        #expect(try network("2001:db8:1:2::1") == network("2001:db8:1:2:ffff::9"))
        #expect(try network("2001:db8:1:2::1") != network("2001:db8:1:3::1"))
        #expect(try network("203.0.113.7") == network("::ffff:203.0.113.7"))
        #expect(try network("203.0.113.7") != network("203.0.113.8"))
    }
}

@Suite struct GatewayRuleTests {
    @Test(
        "the loopback address is called by its own names only",
        arguments: [
            ("127.0.0.1:8080", true), ("localhost:1", true), ("LOCALHOST", true),
            ("[::1]:80", true),
            ("127.0.0.1.evil.example", false), ("evil.example:8080", false), ("", false),
            ("wall.example:443", true),
        ])
    func names(host: String, isAllowed: Bool) {
        var settings = GatewaySettings()
        settings.allowedHosts = ["wall.example"]
        #expect(settings.isCalled(host) == isAllowed)
    }

    @Test(
        "a WebSocket opens for our own page, for configured origins, and for what is no browser",
        arguments: [
            (nil, true), ("http://127.0.0.1:8080", true), ("https://127.0.0.1:8080", true),
            ("https://wall.example", true), ("http://127.0.0.1:8081", false), ("null", false),
            ("https://wall.example.evil", false), ("http://evil/127.0.0.1:8080", false),
            ("file://127.0.0.1:8080", false), ("", false),
        ] as [(String?, Bool)])
    func origins(origin: String?, isAllowed: Bool) {
        var settings = GatewaySettings()
        settings.corsOrigins = ["https://wall.example"]
        #expect(settings.mayConnect(from: origin, to: "127.0.0.1:8080") == isAllowed)
    }

    @Test(
        "a key that is there twice is named: two readers would read two values",
        arguments: [#"{"a":1,"a":1}"#, #"{"a":1,"\u0061":2}"#])
    func duplicate(text: String) throws {
        let failure = try #require(throws: MarsadError.self) {
            try JSONObject(parsing: ByteBuffer(string: text), allowing: ["a"])
        }
        #expect(failure.code == .invalidRequest && failure.details["key"] == "a")
    }

    @Test(
        "a whole number may be written with a fraction of nothing, and is no other value",
        arguments: [("5", 5), ("5.0", 5), ("-0", 0), ("499.000", 499)] as [(String, Int)])
    func whole(text: String, expected: Int) throws {
        let body = ByteBuffer(string: #"{"a": \#(text)}"#)
        let object = try JSONObject(parsing: body, allowing: ["a"])
        #expect(try object.integer("a", in: 0...500) == expected)
    }

    @Test(
        "no other value passes for a number",
        arguments: [
            "5.5", "true", "\"5\"", "null", "[5]", "0.99999999999999999999",
            "5.0000000000000000001",
            "1e-400", "5e1",
        ])
    func notWhole(text: String) throws {
        let body = ByteBuffer(string: #"{"a": \#(text)}"#)
        let object = try JSONObject(parsing: body, allowing: ["a"])
        #expect(throws: MarsadError.self) { try object.integer("a", in: 0...500) }
    }

    @Test("two hundred thousand brackets are refused without a trap")
    func deep() {
        let body = ByteBuffer(repeating: UInt8(ascii: "["), count: 200_000)
        #expect(throws: MarsadError.self) { try JSONObject(parsing: body, allowing: []) }
    }

    @Test("no number outside its range gets in", arguments: ["-1", "501", "99999999999999999999"])
    func numbers(text: String) throws {
        let body = ByteBuffer(string: #"{"limit": \#(text)}"#)
        let object = try JSONObject(parsing: body, allowing: ["limit"])
        #expect(throws: (any Error).self) { try object.integer("limit", in: 0...500) }
        #expect(throws: (any Error).self) { try object.number("limit", in: 0...500) }
    }
}
