// How NAL units lie in an RTP payload: alone, together or in parts, in either codec.
// SPDX-License-Identifier: Apache-2.0

import H26x
import NIOCore

/// The structure that a payload's first byte names.
enum PayloadStructure: Equatable {
    case single
    case aggregate
    case fragment
    case unsupported(UInt8)

    /// STAP-A and FU-A (RFC 6184 §5.4).
    private static let h264Aggregate: UInt8 = 24
    private static let h264Fragment: UInt8 = 28
    /// AP and FU (RFC 7798 §4.4).
    private static let h265Aggregate: UInt8 = 48
    private static let h265Fragment: UInt8 = 49

    init(header: UInt8, _ codec: Codec) {
        switch codec {
        case .h264:
            switch header & 0x1F {
            case 1...23: self = .single
            case Self.h264Aggregate: self = .aggregate
            case Self.h264Fragment: self = .fragment
            case let type: self = .unsupported(type)
            }
        case .h265:
            switch header >> 1 & 0x3F {
            case 0..<Self.h265Aggregate: self = .single
            case Self.h265Aggregate: self = .aggregate
            case Self.h265Fragment: self = .fragment
            case let type: self = .unsupported(type)
            }
        }
    }

    /// Writes the header of an aggregate of these NAL units. It speaks for all of them: the most
    /// important of H.264 (RFC 6184 §5.7), the lowest layers of H.265 (RFC 7798 §4.4.2).
    static func writeAggregateHeader(
        of nalUnits: [ByteBuffer], _ codec: Codec, into bytes: inout ByteBuffer
    ) {
        switch codec {
        case .h264:
            let importance = nalUnits.reduce(UInt8(0)) { most, nalUnit in
                max(most, (nalUnit.readableBytesView.first ?? 0) & 0x60)
            }
            bytes.writeInteger(importance | h264Aggregate)
        case .h265:
            var layer: UInt16 = 0x1F8
            var temporal: UInt16 = 7
            for nalUnit in nalUnits {
                let header = nalUnit.getInteger(at: nalUnit.readerIndex, as: UInt16.self) ?? 1
                layer = min(layer, header & 0x1F8)
                temporal = min(temporal, header & 7)
            }
            bytes.writeInteger(UInt16(h265Aggregate) << 9 | layer | temporal)
        }
    }

    /// Bytes in front of each fragment.
    static func fragmentHeaderBytes(_ codec: Codec) -> Int { codec.headerBytes + 1 }

    /// Writes what stands in front of a fragment of the unit with this header.
    static func writeFragmentHeader(
        of header: ByteBuffer, isFirst: Bool, isLast: Bool, _ codec: Codec,
        into bytes: inout ByteBuffer
    ) {
        let first = header.readableBytesView.first ?? 0
        let flags: UInt8 = (isFirst ? 0x80 : 0) | (isLast ? 0x40 : 0)
        switch codec {
        case .h264:
            bytes.writeMultipleIntegers(first & 0xE0 | h264Fragment, flags | first & 0x1F)
        case .h265:
            let second = header.getInteger(at: header.readerIndex + 1, as: UInt8.self) ?? 1
            bytes.writeMultipleIntegers(
                first & 0x81 | h265Fragment << 1, second, flags | first >> 1 & 0x3F)
        }
    }
}
