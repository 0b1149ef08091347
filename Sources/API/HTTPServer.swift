// The HTTP server: the routes on a port, with its limits on connections and its WebSockets.
// SPDX-License-Identifier: Apache-2.0

import Domain
package import Hummingbird
import HummingbirdCore
import NIOCore

extension Routes {
    /// HTTP/1.1 as this program serves it.
    package func server() -> HTTPServerBuilder {
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
            LoopBoundChannel(
                base: HTTP1Channel(responder: responder, configuration: configuration))
        }
    }
}
