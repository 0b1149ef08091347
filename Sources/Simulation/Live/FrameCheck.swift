// Builds a viewer's frames and compares them with what the camera stamped, byte for byte.
// SPDX-License-Identifier: Apache-2.0

import H26x
import NIOCore
package import RTP
import RTPFormats

/// The dear check, for some of the viewers.
package struct FrameCheck {
    private var depacketizer = Depacketizer(codec: .h264, parameterSets: nil)
    private var time = TimestampUnwrapper()

    package init() {}

    /// Takes the next packet in order.
    package mutating func receive(_ packet: Packet, counting tally: inout LiveTally) {
        let decodeTime = time.unwrap(packet.timestamp)
        guard let unit = try? depacketizer.push(packet, decodeTime: decodeTime),
            let stamp = FrameStamp.read(from: unit)
        else { return }
        tally.framesChecked += 1
        if !Self.isWhole(unit, stamp) { tally.framesDamaged += 1 }
    }

    /// A packet is missing for good.
    package mutating func gap() { depacketizer.loss() }

    private static func isWhole(_ unit: AccessUnit, _ stamp: FrameStamp) -> Bool {
        if FrameStamp.verify(unit) { return true }
        // A server may put the parameter sets in front of an IDR picture that came without them.
        var hasStamp = false
        let own = unit.nalUnits().filter { nalUnit in
            let header = nalUnit.getInteger(at: nalUnit.readerIndex, as: UInt8.self) ?? 0
            let type = NALUnitType(header: header)
            if type == .sps || type == .pps { return false }
            if !hasStamp, type == .sei, FrameStamp.read(nalUnit: nalUnit) != nil {
                hasStamp = true
                return false
            }
            return true
        }
        return FrameStamp.checksum(of: own) == stamp.checksum
    }
}
