// Packets on a TCP connection: the framing of ICE-TCP.
// SPDX-License-Identifier: Apache-2.0

package import NIOCore

/// Reads and writes packets that carry a 16-bit length in front (RFC 4571 §2, RFC 6544 §3).
package struct TCPFraming: Sendable {
    /// The longest packet that is read: no DTLS record, STUN message or RTCP compound comes near.
    package static let maximumPacket = 8192

    private var pending = ByteBuffer()

    /// A frame longer than `TCPFraming.maximumPacket`; the connection cannot be read on.
    package struct Oversized: Error, Equatable, Sendable {
        /// The length that the frame announced.
        package let length: Int

        package init(length: Int) { self.length = length }
    }

    package init() {}

    /// Adds what the connection brought; call `next()` until `nil` before adding more.
    package mutating func append(_ bytes: ByteBuffer) {
        if pending.readableBytes == 0 {
            pending = bytes
        } else {
            pending.discardReadBytes()
            pending.writeImmutableBuffer(bytes)
        }
    }

    /// The next whole packet, `nil` until more bytes come. Empty frames are skipped.
    package mutating func next() throws(Oversized) -> ByteBuffer? {
        while let length = pending.getInteger(at: pending.readerIndex, as: UInt16.self) {
            guard Int(length) <= Self.maximumPacket else { throw Oversized(length: Int(length)) }
            guard pending.readableBytes >= 2 + Int(length) else { return nil }
            pending.moveReaderIndex(forwardBy: 2)
            if length > 0 { return pending.readSlice(length: Int(length)) }
        }
        return nil
    }

    /// The packet with its length in front; `nil` when it is empty or has more than 65,535 bytes.
    package static func frame(_ packet: ByteBuffer) -> ByteBuffer? {
        guard packet.readableBytes > 0, let length = UInt16(exactly: packet.readableBytes) else {
            return nil
        }
        var bytes = ByteBufferAllocator().buffer(capacity: 2 + packet.readableBytes)
        bytes.writeInteger(length)
        bytes.writeImmutableBuffer(packet)
        return bytes
    }
}
