// Access units in, RTP payloads out.
// SPDX-License-Identifier: Apache-2.0

package import H26x
package import NIOCore

/// Splits access units into payloads of RFC 6184 (packetization mode 1, §6.3) or RFC 7798.
package struct Packetizer: Sendable {
    private let codec: Codec
    private let maxPayload: Int

    /// - Parameter maxPayload: bytes after the RTP header; at least 16, so that fragments carry something.
    package init(codec: Codec, maxPayload: Int = 1400) {
        self.codec = codec
        self.maxPayload = max(maxPayload, 16)
    }

    /// The payloads of a unit in order; the last one takes the marker.
    package func packetize(_ unit: AccessUnit) -> [ByteBuffer] {
        let nalUnits = unit.nalUnits()
        var writer = PayloadWriter(
            codec: codec, maxPayload: maxPayload,
            capacity: unit.avcc.readableBytes + 8 * nalUnits.count + 256)
        for nalUnit in nalUnits { writer.append(nalUnit) }
        writer.closeGroup()
        var start = 0
        return writer.ends.compactMap { end in
            defer { start = end }
            return writer.bytes.getSlice(at: start, length: end - start)
        }
    }
}
