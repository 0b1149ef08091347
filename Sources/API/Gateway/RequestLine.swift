// What a request must not say twice, whatever a parser makes of it.
// SPDX-License-Identifier: Apache-2.0

import NIOCore
import NIOHTTP1

/// Refuses what a request must not say twice: two readers of one request could each believe another
/// (RFC 9112 §3.2, §6.3). Stands before these fields become a dictionary.
final class RequestLine: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias InboundOut = HTTPServerRequestPart

    private var isRefused = false

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        if case .head(let head) = unwrapInboundIn(data), !isRefused, !isSound(head) {
            isRefused = true
            context.fireErrorCaught(HTTPParserError.invalidHeaderToken)
        }
        if !isRefused { context.fireChannelRead(data) }
    }

    private func isSound(_ head: HTTPRequestHead) -> Bool {
        let hosts = head.headers["host"].count
        let lengths = head.headers["content-length"].count
        let codings = head.headers["transfer-encoding"]
        return hosts <= 1 && (hosts == 1 || head.version == .http1_0) && lengths <= 1
            && (codings.isEmpty
                || codings.count == 1 && codings[0].lowercased() == "chunked" && lengths == 0)
    }
}
