// Requests to services that the configuration names: bounded in time and size, to checked addresses.
// SPDX-License-Identifier: Apache-2.0

import AsyncHTTPClient
package import NIOCore
import NIOHTTP1
package import NIOPosix
import NIOSSL

/// Sends one request on a connection of its own. A name is resolved once, its address passes the policy
/// and is the one connected to, while TLS is checked for the name. No redirect is followed, no proxy of
/// the environment is used, nothing is tried twice.
package struct OutboundClient: Sendable {
    /// Looks up a name; blocks its thread.
    package typealias Resolve =
        @Sendable (_ host: String, _ port: Int) throws -> SocketAddress

    /// From the look-up to the last byte.
    package static let timeout = Duration.seconds(5)

    private let policy: OutboundPolicy
    private let tls: TLSConfiguration
    private let group: MultiThreadedEventLoopGroup
    private let resolver: NIOThreadPool
    private let timeout: Duration
    private let resolve: Resolve

    /// - Parameters:
    ///   - authorities: a PEM file with certificates that are trusted beside the system's; `nil` for
    ///     none. Read once.
    ///   - resolver: threads for looking up names; a dead name server holds them for long.
    package init(
        policy: OutboundPolicy, authorities: String? = nil, group: MultiThreadedEventLoopGroup,
        resolver: NIOThreadPool, timeout: Duration = Self.timeout,
        resolve: @escaping Resolve = { try SocketAddress.makeAddressResolvingHost($0, port: $1) }
    ) throws(OutboundError) {
        self.policy = policy
        self.group = group
        self.resolver = resolver
        self.timeout = timeout
        self.resolve = resolve
        var tls = TLSConfiguration.makeClientConfiguration()
        tls.minimumTLSVersion = .tlsv12
        if let authorities {
            guard let certificates = try? NIOSSLCertificate.fromPEMFile(authorities),
                !certificates.isEmpty
            else { throw .authorities }
            tls.additionalTrustRoots = [.certificates(certificates)]
        }
        self.tls = tls
    }

    /// The body of an answer with status 200.
    package func get(
        _ url: OutboundURL, accepting type: String, upTo limit: Int
    ) async throws(OutboundError) -> [UInt8] {
        var request = HTTPClientRequest(url: url.text)
        request.headers.add(name: "Accept", value: type)
        return try await exchange(request, with: url) { response in
            guard response.status == .ok else {
                throw OutboundError.status(Int(response.status.code))
            }
            return Array(buffer: try await response.body.collect(upTo: limit))
        }
    }

    /// Returns when the answer has a status from 200 to 299; its body is not read.
    package func post(
        _ url: OutboundURL, _ body: [UInt8], headers: [(name: String, value: String)]
    ) async throws(OutboundError) {
        var request = HTTPClientRequest(url: url.text)
        request.method = .POST
        request.body = .bytes(ByteBuffer(bytes: body))
        for header in headers { request.headers.add(name: header.name, value: header.value) }
        _ = try await exchange(request, with: url) { response in
            guard (200...299).contains(response.status.code) else {
                throw OutboundError.status(Int(response.status.code))
            }
            return []
        }
    }

    private func exchange(
        _ request: HTTPClientRequest, with url: OutboundURL,
        read: @escaping @Sendable (HTTPClientResponse) async throws -> [UInt8]
    ) async throws(OutboundError) -> [UInt8] {
        let deadline = NIODeadline.now() + TimeAmount(timeout)
        let address = try await address(of: url, by: deadline)
        guard policy.allows(address, isEncrypted: url.isEncrypted) else { throw .refusedAddress }
        var request = request
        request.headers.add(name: "User-Agent", value: "Marsad")
        let client = HTTPClient(
            eventLoopGroup: group, configuration: configuration(url, at: address))
        let result = await Self.within(deadline) { [request] in
            do {
                let response = try await client.execute(request, deadline: deadline)
                return .success(try await read(response))
            } catch {
                return .failure(Self.failure(error))
            }
        }
        // Also ends a connection on which the other side still sends. To part in TLS takes as long as a
        // peer that hangs wants, up to five seconds: nobody waits for that.
        Task { try? await client.shutdown() }
        return try result.get()
    }

    private func configuration(
        _ url: OutboundURL, at address: SocketAddress
    ) -> HTTPClient.Configuration {
        var configuration = HTTPClient.Configuration(
            tlsConfiguration: tls, redirectConfiguration: .disallow,
            timeout: .init(connect: TimeAmount(timeout), read: TimeAmount(timeout)))
        configuration.httpVersion = .http1Only
        configuration.connectionPool.retryConnectionEstablishment = false
        if let text = address.ipAddress, text != url.host {
            configuration.dnsOverride = [url.host: text]
        }
        return configuration
    }

    private func address(
        of url: OutboundURL, by deadline: NIODeadline
    ) async throws(OutboundError) -> SocketAddress {
        if let address = try? SocketAddress(ipAddress: url.host, port: url.port) { return address }
        let loop = group.next()
        let promise = loop.makePromise(of: SocketAddress.self)
        let timer = loop.scheduleTask(deadline: deadline) { promise.fail(OutboundError.timeout) }
        resolver.runIfActive(eventLoop: loop) { [resolve] in
            // It may have waited behind others that hang.
            guard .now() < deadline else { throw OutboundError.timeout }
            return try resolve(url.host, url.port)
        }.whenComplete { result in
            timer.cancel()
            promise.completeWith(result)
        }
        do {
            return try await withTaskCancellationHandler {
                try await promise.futureResult.get()
            } onCancel: {
                promise.fail(OutboundError.timeout)
            }
        } catch {
            throw error as? OutboundError ?? .unknownName
        }
    }

    /// The operation's result, or a time-out; the operation is cancelled then.
    private static func within(
        _ deadline: NIODeadline,
        _ operation: @escaping @Sendable () async -> Result<[UInt8], OutboundError>
    ) async -> Result<[UInt8], OutboundError> {
        await withTaskGroup(of: Result<[UInt8], OutboundError>.self) { tasks in
            tasks.addTask { await operation() }
            tasks.addTask {
                let left = deadline - .now()
                try? await Task.sleep(for: .nanoseconds(max(left.nanoseconds, 0)))
                return .failure(.timeout)
            }
            let first = await tasks.next() ?? .failure(.timeout)
            tasks.cancelAll()
            return first
        }
    }

    private static func failure(_ error: any Error) -> OutboundError {
        switch error {
        case let error as OutboundError: error
        case is NIOTooManyBytesError: .tooLarge
        case is NIOSSLError, is NIOSSLExtraError, is BoringSSLError: .certificate
        case let error as HTTPClientError
        where [.connectTimeout, .readTimeout, .deadlineExceeded, .tlsHandshakeTimeout]
            .contains(error):
            .timeout
        default: .connection
        }
    }
}
