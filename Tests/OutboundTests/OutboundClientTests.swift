// Requests over real sockets to a service that behaves, and to some that do not.
// SPDX-License-Identifier: Apache-2.0

import NIOCore
import NIOHTTP1
import NIOPosix
import Outbound
import Synchronization
import Testing

/// Answers by the path: `/status/302`, `/bytes/70000`, `/endless`, `/hang`, and keeps what was asked.
private final class Service: ChannelInboundHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias OutboundOut = HTTPServerResponsePart

    struct Heard: Sendable {
        var connections = 0
        var requests: [HTTPRequestHead] = []
        var bodies: [String] = []
    }

    private let heard: @Sendable ((inout Heard) -> Void) -> Void
    private var head: HTTPRequestHead?

    init(heard: @escaping @Sendable ((inout Heard) -> Void) -> Void) { self.heard = heard }

    func channelActive(context: ChannelHandlerContext) { heard { $0.connections += 1 } }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch unwrapInboundIn(data) {
        case .head(let head):
            self.head = head
            heard { $0.requests.append(head) }
        case .body(let bytes): heard { $0.bodies.append(String(buffer: bytes)) }
        case .end: answer(context)
        }
    }

    private func answer(_ context: ChannelHandlerContext) {
        guard let parts = head?.uri.split(separator: "/"), let kind = parts.first else { return }
        let number = parts.dropFirst().first.flatMap { Int($0) } ?? 0
        var headers = HTTPHeaders()
        var body = ByteBuffer()
        switch kind {
        case "status": headers.add(name: "Location", value: "/bytes/1")
        case "bytes": body.writeRepeatingByte(UInt8(ascii: "x"), count: number)
        case "endless": body.writeRepeatingByte(UInt8(ascii: "x"), count: 70_000)
        default: return
        }
        if kind != "endless" {
            headers.add(name: "Content-Length", value: "\(body.readableBytes)")
        }
        let status = kind == "status" ? number : 200
        write(.head(.init(version: .http1_1, status: .init(statusCode: status), headers: headers)))
        write(.body(.byteBuffer(body)))
        if kind != "endless" { write(.end(nil)) }
        context.flush()

        func write(_ part: HTTPServerResponsePart) {
            context.write(wrapOutboundOut(part), promise: nil)
        }
    }
}

@Suite struct OutboundClientTests {
    private final class Rig: Sendable {
        let heard = Mutex(Service.Heard())
        let lookups = Mutex(0)
    }

    /// A service on this machine, and a client whose names all lead to it.
    private func with(
        networks: [String] = ["127.0.0.0/8"], timeout: Duration = .seconds(60),
        _ body: (OutboundClient, Int, Rig) async throws -> Void
    ) async throws {
        let rig = Rig()
        let server = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.configureHTTPServerPipeline()
                    try channel.pipeline.syncOperations.addHandler(
                        Service { change in rig.heard.withLock { change(&$0) } })
                }
            }
            .bind(host: "127.0.0.1", port: 0).get()
        let resolver = NIOThreadPool(numberOfThreads: 1)
        resolver.start()
        let client = try OutboundClient(
            policy: OutboundPolicy(networks: networks.compactMap { AddressBlock($0) }),
            group: .singleton, resolver: resolver, timeout: timeout
        ) { host, port in
            rig.lookups.withLock { $0 += 1 }
            if host == "nobody.example" { throw ChannelError.operationUnsupported }
            return try SocketAddress(ipAddress: "127.0.0.1", port: port)
        }
        let port = try #require(server.localAddress?.port)
        try await body(client, port, rig)
        try await server.close()
        try await resolver.shutdownGracefully()
    }

    private func get(_ client: OutboundClient, _ text: String) async -> Result<Int, OutboundError> {
        guard let url = OutboundURL(text) else { return .success(-1) }
        do throws(OutboundError) {
            return .success(
                try await client.get(url, accepting: "text/plain", upTo: 65_536).count)
        } catch {
            return .failure(error)
        }
    }

    @Test("a name is looked up once, and asked at the address that was checked")
    func name() async throws {
        try await with { client, port, rig in
            let url = "http://keys.example:\(port)/bytes/12"
            #expect(await get(client, url) == .success(12))
            #expect(rig.lookups.withLock { $0 } == 1)
            let head = try #require(rig.heard.withLock { $0.requests.first })
            #expect(head.headers["Host"] == ["keys.example:\(port)"])
            #expect(head.headers["Accept"] == ["text/plain"])
        }
    }

    @Test("an address that is refused is not connected to")
    func refused() async throws {
        try await with(networks: []) { client, port, rig in
            for url in [
                "https://keys.example:\(port)/bytes/1", "https://127.0.0.1:\(port)/bytes/1",
                "http://keys.example:\(port)/bytes/1", "https://2130706433:\(port)/bytes/1",
            ] {
                #expect(await get(client, url) == .failure(.refusedAddress))
            }
            #expect(rig.heard.withLock { $0.connections } == 0)
        }
    }

    @Test("only status 200 counts, and nobody is followed")
    func status() async throws {
        try await with { client, port, rig in
            for status in [204, 301, 302, 307, 404, 500] {
                #expect(
                    await get(client, "http://a.example:\(port)/status/\(status)")
                        == .failure(.status(status)))
            }
            #expect(rig.heard.withLock { $0.requests.count } == 6)
        }
    }

    @Test("an answer that is too large is not read to its end, with or without a length")
    func large() async throws {
        try await with { client, port, _ in
            let base = "http://a.example:\(port)"
            #expect(await get(client, "\(base)/bytes/65536") == .success(65_536))
            #expect(await get(client, "\(base)/bytes/65537") == .failure(.tooLarge))
            #expect(await get(client, "\(base)/endless") == .failure(.tooLarge))
        }
    }

    @Test("who does not answer is given up")
    func hang() async throws {
        try await with(timeout: .milliseconds(200)) { client, port, _ in
            #expect(await get(client, "http://a.example:\(port)/hang") == .failure(.timeout))
        }
    }

    @Test("names without address, closed ports and services without TLS fail as such")
    func failures() async throws {
        try await with { client, port, _ in
            #expect(
                await get(client, "http://nobody.example:\(port)/") == .failure(.unknownName))
            #expect(
                await get(client, "https://a.example:\(port)/bytes/1")
                    == .failure(.certificate))
            let closed = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
                .bind(host: "127.0.0.1", port: 0).get()
            let free = try #require(closed.localAddress?.port)
            try await closed.close()
            #expect(await get(client, "http://a.example:\(free)/") == .failure(.connection))
        }
    }

    @Test("what is posted arrives with its headers; another status than success fails")
    func post() async throws {
        try await with { client, port, rig in
            let url = try #require(OutboundURL("http://a.example:\(port)/status/202"))
            try await client.post(url, Array("{}".utf8), headers: [("X-IAM-Timestamp", "1")])
            rig.heard.withLock {
                #expect($0.requests.first?.method == .POST)
                #expect($0.requests.first?.headers["X-IAM-Timestamp"] == ["1"])
                #expect($0.bodies == ["{}"])
            }
            let gone = try #require(OutboundURL("http://a.example:\(port)/status/307"))
            await #expect(throws: OutboundError.status(307)) {
                try await client.post(gone, [], headers: [])
            }
        }
    }

    @Test("a file of authorities without a certificate is refused")
    func authorities() throws {
        #expect(throws: OutboundError.authorities) {
            _ = try OutboundClient(
                policy: OutboundPolicy(networks: []), authorities: "/dev/null", group: .singleton,
                resolver: NIOThreadPool(numberOfThreads: 1))
        }
    }
}
