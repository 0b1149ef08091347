// The HTTP server: the routes on a port, with its limits on connections and its WebSockets.
// SPDX-License-Identifier: Apache-2.0

import Domain
package import Hummingbird
import HummingbirdCore
import NIOCore

extension Routes {
    /// HTTP/1.1 as this program serves it, over TLS where there is a certificate.
    package func server(_ certificate: ServerCertificate?) -> HTTPServerBuilder {
        let settings = services.settings
        let world = services.world
        let count = ConnectionCount(settings: settings, registry: services.registry)
        let configuration = HTTP1Channel.Configuration(
            additionalChannelHandlers: [
                ConnectionGuard(count: count, settings: settings, makeID: world.makeID),
                WebSocketGate(),
            ],
            httpDecoderConfiguration: .init(
                maxHeaderFieldSize: GatewaySettings.headerBytes,
                maxHeaderListSize: GatewaySettings.headerBytes,
                maxHeaderFieldCount: GatewaySettings.headerFields))
        return HTTPServerBuilder { responder in
            let plain = HTTP1Channel(responder: responder, configuration: configuration)
            guard let certificate else { return LoopBoundChannel(base: plain) }
            return LoopBoundChannel(base: SecureChannel(base: plain, certificate: certificate))
        }
    }
}
