// The HTTP server: the routes on a port, over TLS where there is a certificate.
// SPDX-License-Identifier: Apache-2.0

import Domain
import HummingbirdCore
import Logging
import NIOCore
import NIOHTTP1
import NIOSSL
package import ServiceLifecycle

extension Routes {
    /// HTTP/1.1 on an address.
    ///
    /// - Parameter onReady: told the port, where it was left to the system.
    package func server(
        host: String, port: Int, certificate: ServerCertificate?,
        onReady: @escaping @Sendable (_ port: Int) async -> Void
    ) -> any Service {
        let connections = ConnectionServices(
            responder: responder(),
            count: ConnectionCount(settings: services.settings, registry: services.registry),
            settings: services.settings, world: services.world, logger: services.logger)
        return ConnectionChannel(services: connections, certificate: certificate).server(
            configuration: .init(address: .hostname(host, port: port)),
            onServerRunning: { await onReady($0.localAddress?.port ?? port) },
            eventLoopGroup: ConnectionLoops.shared, logger: services.logger)
    }
}

/// What connections share.
struct ConnectionServices: Sendable {
    let responder: Gateway
    let count: ConnectionCount
    let settings: GatewaySettings
    let world: World
    let logger: Logger
}

/// How a connection that was accepted is served.
private struct ConnectionChannel: ServerChildChannel {
    struct Value: ServerChildChannelValue {
        let channel: any Channel
        /// Done when no request is being answered any more.
        let requests: EventLoopFuture<Void>
    }

    let services: ConnectionServices
    let certificate: ServerCertificate?

    func setup(channel: any Channel, logger: Logger) -> EventLoopFuture<Value> {
        channel.eventLoop.makeCompletedFuture {
            let pipeline = channel.pipeline.syncOperations
            if let certificate {
                try pipeline.addHandler(NIOSSLServerHandler(context: certificate.context))
            }
            var limits = NIOHTTPDecoderLimitConfiguration()
            limits.maxHeaderFieldSize = GatewaySettings.headerBytes
            limits.maxHeaderListSize = GatewaySettings.headerBytes
            limits.maxHeaderFieldCount = GatewaySettings.headerFields
            let connection = HTTPConnection(services, on: channel)
            try pipeline.addHandlers([
                HTTPResponseEncoder(),
                // The limits above count what has come whole: a value of spaces alone never does, nor what
                // comes behind an upgrade.
                ByteToMessageHandler(
                    HTTPRequestDecoder(limitConfiguration: limits),
                    maximumBufferSize: 2 * GatewaySettings.headerBytes),
                connection,
            ])
            return Value(channel: channel, requests: connection.ended)
        }
    }

    func handle(value: Value, logger: Logger) async {
        await withTaskCancellationHandler {
            try? await value.channel.closeFuture.get()
            // What was begun for a client that left is ended before the services that it uses.
            try? await value.requests.get()
        } onCancel: {
            value.channel.close(promise: nil)
        }
    }
}
