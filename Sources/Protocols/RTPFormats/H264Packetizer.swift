// H.264 access units in, RTP payloads out.
// SPDX-License-Identifier: Apache-2.0

package import H26x
package import NIOCore

/// Splits access units into payloads of packetization mode 1 (RFC 6184 §6.3): neighbours that fit
/// together as STAP-A, units that fit alone as they are, larger ones as FU-A.
package struct H264Packetizer: Sendable {
    private let maxPayload: Int

    /// - Parameter maxPayload: bytes after the RTP header; at least 16, so that fragments carry something.
    package init(maxPayload: Int = 1400) { self.maxPayload = max(maxPayload, 16) }

    /// The payloads of a unit in order; the last one takes the marker.
    package func packetize(_ unit: AccessUnit) -> [ByteBuffer] {
        var payloads: [ByteBuffer] = []
        var group: [ByteBuffer] = []
        var groupBytes = 1
        func flush() {
            if group.count > 1 {
                payloads.append(aggregate(group, capacity: groupBytes))
            } else {
                payloads.append(contentsOf: group)
            }
            group.removeAll(keepingCapacity: true)
            groupBytes = 1
        }
        for nal in unit.nalUnits() where nal.readableBytes > 0 {
            let size = nal.readableBytes
            if size > maxPayload {
                flush()
                payloads.append(contentsOf: fragment(nal))
                continue
            }
            // The 16-bit length of an aggregated unit bounds it too.
            if groupBytes + 2 + size > min(maxPayload, 0xFFFF) { flush() }
            group.append(nal)
            groupBytes += 2 + size
        }
        flush()
        return payloads
    }

    private func aggregate(_ nals: [ByteBuffer], capacity: Int) -> ByteBuffer {
        var payload = ByteBufferAllocator().buffer(capacity: capacity)
        var importance: UInt8 = 0
        payload.writeInteger(UInt8(24))
        for nal in nals {
            let header = nal.getInteger(at: nal.readerIndex, as: UInt8.self) ?? 0
            importance = max(importance, header & 0x60)
            payload.writeInteger(UInt16(truncatingIfNeeded: nal.readableBytes))
            payload.writeImmutableBuffer(nal)
        }
        payload.setInteger(importance | 24, at: payload.readerIndex)
        return payload
    }

    private func fragment(_ nal: ByteBuffer) -> [ByteBuffer] {
        var rest = nal
        guard let header = rest.readInteger(as: UInt8.self) else { return [] }
        var payloads: [ByteBuffer] = []
        while var piece = rest.readSlice(length: min(maxPayload - 2, rest.readableBytes)) {
            guard piece.readableBytes > 0 else { break }
            let start: UInt8 = payloads.isEmpty ? 0x80 : 0
            let end: UInt8 = rest.readableBytes == 0 ? 0x40 : 0
            var payload = ByteBufferAllocator().buffer(capacity: 2 + piece.readableBytes)
            payload.writeMultipleIntegers(header & 0xE0 | 28, start | end | header & 0x1F)
            payload.writeBuffer(&piece)
            payloads.append(payload)
        }
        return payloads
    }
}
