// The two checksums of a STUN message: HMAC-SHA1 for MESSAGE-INTEGRITY, CRC-32 for FINGERPRINT.
// SPDX-License-Identifier: Apache-2.0

import COpenSSL
import NIOCore
import Primitives

/// Checksums over the front part of a STUN message (RFC 8489 §14.5 and §14.7).
enum STUNIntegrity {
    /// Bytes of an HMAC-SHA1.
    static let count = 20

    /// HMAC-SHA1 of a message up to its MESSAGE-INTEGRITY attribute, with the header's length as if
    /// the message ended with that attribute; `nil` when OpenSSL refuses.
    static func code(of front: ByteBuffer, password: Redacted<String>) -> [UInt8]? {
        var message = front
        let length = front.readableBytes - STUNMessage.headerLength + 4 + count
        message.setInteger(
            UInt16(truncatingIfNeeded: length), at: message.readerIndex + 2)
        var code = [UInt8](repeating: 0, count: count)
        var written: UInt32 = 0
        let key = Array(password.reveal().utf8)
        let isDone = message.withUnsafeReadableBytes { bytes in
            HMAC(
                EVP_sha1(), key, Int32(truncatingIfNeeded: key.count),
                bytes.baseAddress?.assumingMemoryBound(to: UInt8.self), bytes.count, &code,
                &written) != nil
        }
        return isDone && written == UInt32(count) ? code : nil
    }

    /// Compares without telling by its duration where the first difference is.
    static func areEqual(_ a: some Sequence<UInt8>, _ b: [UInt8]) -> Bool {
        zip(a, b).reduce(UInt8(0)) { $0 | ($1.0 ^ $1.1) } == 0
    }

    /// The value of FINGERPRINT: CRC-32 of the message before it, XOR 0x5354554E.
    static func fingerprint(of front: ByteBuffer) -> UInt32 {
        var crc = UInt32.max
        for byte in front.readableBytesView {
            crc = crcTable[Int((crc ^ UInt32(byte)) & 0xFF)] ^ (crc >> 8)
        }
        return ~crc ^ 0x5354_554E
    }

    /// CRC-32 of ITU V.42, reflected.
    private static let crcTable: [UInt32] = (0..<256).map { index in
        (0..<8).reduce(UInt32(index)) { value, _ in
            value & 1 == 1 ? (value >> 1) ^ 0xEDB8_8320 : value >> 1
        }
    }
}
