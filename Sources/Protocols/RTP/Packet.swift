// One RTP packet: checked when read, strict when written.
// SPDX-License-Identifier: Apache-2.0

package import NIOCore

/// An RTP packet whose header was checked (RFC 3550 §5.1).
///
/// ```
///  0                   1                   2                   3
///  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
/// |V=2|P|X|  CC   |M|     PT      |       sequence number         |
/// |                           timestamp                           |
/// |           synchronization source (SSRC) identifier            |
/// ```
package struct Packet: Sendable {
    /// For video: the last packet of an access unit (RFC 6184 §5.1).
    package let marker: Bool
    package let payloadType: UInt8
    package let sequenceNumber: SequenceNumber
    package let timestamp: RTPTimestamp
    package let ssrc: SSRC
    /// A slice of the packet, without header, contributors, extension and padding.
    package let payload: ByteBuffer

    /// Checks the header, contributors, extension and padding of a received packet.
    package init(validating packet: ByteBuffer) throws(RTPError) {
        var bytes = packet
        guard
            let (flags, type, sequence, time, source) = bytes.readMultipleIntegers(
                as: (UInt8, UInt8, UInt16, UInt32, UInt32).self)
        else { throw RTPError(.truncated, at: packet.readableBytes) }
        guard flags >> 6 == 2 else { throw RTPError(.unsupportedVersion(flags >> 6), at: 0) }
        let contributors = Int(flags & 0x0F) * 4
        guard bytes.readSlice(length: contributors) != nil else {
            throw RTPError(.truncated, at: 12)
        }
        if flags & 0x10 != 0 {
            guard let (_, words) = bytes.readMultipleIntegers(as: (UInt16, UInt16).self),
                bytes.readSlice(length: Int(words) * 4) != nil
            else { throw RTPError(.truncated, at: 12 + contributors) }
        }
        if flags & 0x20 != 0 {
            let last = bytes.getInteger(at: bytes.writerIndex &- 1, as: UInt8.self)
            guard let padding = last.map(Int.init), padding > 0, padding <= bytes.readableBytes,
                let unpadded = bytes.readSlice(length: bytes.readableBytes - padding)
            else { throw RTPError(.invalidPadding, at: packet.readableBytes) }
            bytes = unpadded
        }
        marker = type & 0x80 != 0
        payloadType = type & 0x7F
        sequenceNumber = SequenceNumber(rawValue: sequence)
        timestamp = RTPTimestamp(rawValue: time)
        ssrc = SSRC(rawValue: source)
        payload = bytes
    }

    private init(
        resent packet: Packet, number: UInt16, payload: ByteBuffer, _ type: UInt8, _ source: SSRC
    ) {
        marker = packet.marker
        payloadType = type
        sequenceNumber = SequenceNumber(rawValue: number)
        timestamp = packet.timestamp
        ssrc = source
        self.payload = payload
    }

    /// The packet that this one of a resend stream carries (RFC 4588 §4); `nil` for one that carries
    /// none, like the padding by which senders probe a path.
    package func resent(payloadType: UInt8, ssrc: SSRC) -> Packet? {
        var rest = payload
        guard let number = rest.readInteger(as: UInt16.self), rest.readableBytes > 0 else {
            return nil
        }
        return Packet(resent: self, number: number, payload: rest, payloadType, ssrc)
    }

    /// The bytes of a packet with a plain 12-byte header.
    package static func serialize(
        marker: Bool, payloadType: UInt8, sequenceNumber: SequenceNumber, timestamp: RTPTimestamp,
        ssrc: SSRC, payload: ByteBuffer
    ) -> ByteBuffer {
        var bytes = ByteBufferAllocator().buffer(capacity: 12 + payload.readableBytes)
        bytes.writeMultipleIntegers(
            UInt8(0x80), (marker ? 0x80 : 0) | (payloadType & 0x7F), sequenceNumber.rawValue,
            timestamp.rawValue, ssrc.rawValue)
        bytes.writeImmutableBuffer(payload)
        return bytes
    }
}
