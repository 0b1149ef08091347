// SEI messages of our own, carried inside the video.
// SPDX-License-Identifier: Apache-2.0

package import NIOCore

/// Writes and reads `user_data_unregistered` SEI messages (H.264 §7.3.2.3, §D.1.7; H.265 §7.3.2.4,
/// §D.2.7), whose form is one behind the NAL unit's header.
package enum SupplementalEnhancement {
    private static let userDataUnregisteredType = 5
    private static let uuidBytes = 16

    /// A SEI NAL unit with one message, emulation prevention applied. The UUID is 16 bytes.
    package static func userDataUnregistered(
        _ codec: Codec, uuid: [UInt8], payload: [UInt8]
    ) -> ByteBuffer {
        precondition(uuid.count == uuidBytes, "a UUID has 16 bytes")
        var message: [UInt8] = [UInt8(userDataUnregisteredType)]
        var size = uuid.count + payload.count
        while size >= 255 {
            message.append(255)
            size -= 255
        }
        message.append(UInt8(size))
        message += uuid
        message += payload
        message.append(0x80)
        var nal = ByteBuffer()
        switch codec {
        case .h264: nal.writeInteger(NALUnitType.sei.rawValue)
        // A prefix SEI (type 39) of layer 0 and the lowest temporal layer.
        case .h265: nal.writeInteger(UInt16(39 << 9 | 1))
        }
        nal.writeBytes(RBSP.escape(message))
        return nal
    }

    /// The payload of the first message with this UUID; `nil` where the unit has none or is
    /// damaged.
    package static func userDataUnregistered(
        _ codec: Codec, in nal: ByteBuffer, uuid: [UInt8]
    ) -> [UInt8]? {
        guard codec.kind(of: nal) == .sei else { return nil }
        let bytes = RBSP.unescape(nal.readableBytesView.dropFirst(codec.headerBytes))
        var rest = bytes[...]
        // The last byte is the trailing bit, so a message needs at least three.
        while rest.count >= 3 {
            guard let type = extendedNumber(&rest), let size = extendedNumber(&rest),
                size <= rest.count
            else { return nil }
            let body = rest.prefix(size)
            if type == userDataUnregisteredType, size >= uuidBytes,
                body.prefix(uuidBytes).elementsEqual(uuid)
            {
                return Array(body.dropFirst(uuidBytes))
            }
            rest = rest.dropFirst(size)
        }
        return nil
    }

    /// Reads a number written as a run of `FF` and a last byte.
    private static func extendedNumber(_ rest: inout ArraySlice<UInt8>) -> Int? {
        var value = 0
        while let byte = rest.popFirst() {
            value += Int(byte)
            if byte != 255 { return value }
        }
        return nil
    }
}
