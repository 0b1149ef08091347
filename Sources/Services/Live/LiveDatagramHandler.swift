// What arrives at a loop's UDP socket, and from where.
// SPDX-License-Identifier: Apache-2.0

import NIOCore
import WebRTC

/// Hands a loop's datagrams to it.
final class LiveDatagramHandler: ChannelInboundHandler {
    typealias InboundIn = AddressedEnvelope<ByteBuffer>

    private let loop: LiveLoop

    init(loop: LiveLoop) { self.loop = loop }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let envelope = unwrapInboundIn(data)
        guard let address = TransportAddress(envelope.remoteAddress) else { return }
        loop.receive(envelope.data, from: address)
    }

    /// An error of one datagram (a peer's port is closed) is no error of the socket.
    func errorCaught(context: ChannelHandlerContext, error: any Error) {}
}

extension TransportAddress {
    /// `nil` for what is no IP address.
    init?(_ address: SocketAddress, _ transport: Transport = .udp) {
        let port = UInt16(truncatingIfNeeded: address.port ?? 0)
        switch address {
        case .v4(let v4):
            let bits = withUnsafeBytes(of: v4.address) {
                $0.loadUnaligned(fromByteOffset: 4, as: UInt32.self)  // sockaddr_in.sin_addr
            }
            self.init(ipv4: UInt32(bigEndian: bits), port: port, transport: transport)
        case .v6(let v6):
            let halves = withUnsafeBytes(of: v6.address) {
                (  // sockaddr_in6.sin6_addr
                    UInt64(bigEndian: $0.loadUnaligned(fromByteOffset: 8, as: UInt64.self)),
                    UInt64(bigEndian: $0.loadUnaligned(fromByteOffset: 16, as: UInt64.self))
                )
            }
            self.init(ipv6: (upper: halves.0, lower: halves.1), port: port, transport: transport)
        case .unixDomainSocket:
            return nil
        }
    }
}
