// Which part of a cluster a key belongs to.
// SPDX-License-Identifier: Apache-2.0

/// One of the 16,384 slots of a cluster: CRC-16/XMODEM of the key's hash tag (Valkey, cluster
/// specification).
package struct HashSlot: Hashable, Sendable {
    package let rawValue: UInt16

    package init(key: String) {
        let bytes = Array(key.utf8)
        var tag = bytes[...]
        if let open = bytes.firstIndex(of: UInt8(ascii: "{")),
            let close = bytes[(open + 1)...].firstIndex(of: UInt8(ascii: "}")), close > open + 1
        {
            tag = bytes[(open + 1)..<close]
        }
        var crc: UInt16 = 0
        for byte in tag {
            crc ^= UInt16(byte) << 8
            for _ in 0..<8 { crc = crc & 0x8000 == 0 ? crc << 1 : crc << 1 ^ 0x1021 }
        }
        rawValue = crc % 16_384
    }

    init?(rawValue: UInt16) {
        guard rawValue < 16_384 else { return nil }
        self.rawValue = rawValue
    }
}
