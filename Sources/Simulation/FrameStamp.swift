// A number, a time and a checksum sent with every simulated frame, to find what a recorder lost.
// SPDX-License-Identifier: Apache-2.0

package import H26x
package import NIOCore
package import Primitives

/// What a simulated camera says about a frame, in a `user_data_unregistered` SEI (H.264 and H.265
/// §D.2.7) in front of its slices. Big-endian: version (8 bits), camera (16), number (64), wall time in
/// microseconds (64), checksum (64).
package struct FrameStamp: Hashable, Sendable {
    /// The camera's number, from 1.
    package var camera: UInt16
    /// The frame's number by the wall schedule: it counts on through loops and reconnections.
    package var number: UInt64
    /// When the frame was due.
    package var wallTime: WallTime
    /// FNV-1a (64 bits) of the unit's other NAL units, without length prefixes.
    package var checksum: UInt64

    package init(camera: UInt16, number: UInt64, wallTime: WallTime, checksum: UInt64) {
        self.camera = camera
        self.number = number
        self.wallTime = wallTime
        self.checksum = checksum
    }

    /// The UUID that marks our SEI among others: "marsadN…Stamp1"; there is no registry for these.
    package static let uuid: [UInt8] = [
        0x6D, 0x61, 0x72, 0x73, 0x61, 0x64, 0x4E, 0x1B, 0x9A, 0x3C, 0x53, 0x74, 0x61, 0x6D, 0x70,
        0x31,
    ]

    private static let version: UInt8 = 1

    /// The stamp as a SEI NAL unit.
    package func nalUnit(_ codec: Codec) -> ByteBuffer {
        var payload = [Self.version, UInt8(camera >> 8), UInt8(truncatingIfNeeded: camera)]
        payload.reserveCapacity(27)
        for value in [number, UInt64(bitPattern: wallTime.microseconds), checksum] {
            for shift in stride(from: 56, through: 0, by: -8) {
                payload.append(UInt8(truncatingIfNeeded: value >> UInt64(shift)))
            }
        }
        return SupplementalEnhancement.userDataUnregistered(
            codec, uuid: Self.uuid, payload: payload)
    }

    /// Where a stamp goes in an access unit: behind its delimiter and parameter sets, before all else
    /// (H.264 §7.4.1.2.3, H.265 §7.4.2.4.4).
    package static func place(in nalUnits: [ByteBuffer], _ codec: Codec) -> Int {
        nalUnits.firstIndex { nalUnit in
            let kind = codec.kind(of: nalUnit) ?? .other
            return kind != .delimiter && !kind.isParameterSet
        } ?? nalUnits.count
    }

    /// The stamp of a NAL unit; `nil` where it is something else. Its UUID tells a stamp in either
    /// codec, so that nobody has to say which one it is.
    package static func read(nalUnit: ByteBuffer) -> FrameStamp? {
        var found: [UInt8]?
        for codec in Codec.allCases where found == nil {
            found = SupplementalEnhancement.userDataUnregistered(codec, in: nalUnit, uuid: uuid)
        }
        guard let payload = found else { return nil }
        var reader = ByteBuffer(bytes: payload)
        guard reader.readInteger(as: UInt8.self) == version,
            let camera = reader.readInteger(as: UInt16.self),
            let number = reader.readInteger(as: UInt64.self),
            let microseconds = reader.readInteger(as: Int64.self),
            let checksum = reader.readInteger(as: UInt64.self)
        else { return nil }
        return FrameStamp(
            camera: camera, number: number, wallTime: WallTime(microseconds: microseconds),
            checksum: checksum)
    }

    /// The stamp of an access unit; `nil` where it carries none.
    package static func read(from unit: AccessUnit) -> FrameStamp? {
        for nalUnit in unit.nalUnits() {
            if let stamp = read(nalUnit: nalUnit) { return stamp }
        }
        return nil
    }

    /// Whether the unit carries a stamp and its other NAL units are byte for byte the ones stamped.
    package static func verify(_ unit: AccessUnit) -> Bool {
        var stamp: FrameStamp?
        var hash = FNV1a()
        for nalUnit in unit.nalUnits() {
            if stamp == nil, let found = read(nalUnit: nalUnit) {
                stamp = found
            } else {
                hash.combine(nalUnit)
            }
        }
        return stamp?.checksum == hash.value
    }

    /// The checksum that a unit without a stamp would be sent with.
    package static func checksum(of nalUnits: [ByteBuffer]) -> UInt64 {
        var hash = FNV1a()
        for nalUnit in nalUnits { hash.combine(nalUnit) }
        return hash.value
    }
}

/// Fowler–Noll–Vo 1a with 64 bits: finds damage, proves nothing against an adversary.
struct FNV1a {
    private(set) var value: UInt64 = 0xCBF2_9CE4_8422_2325

    mutating func combine(_ bytes: ByteBuffer) {
        var hash = value
        bytes.withUnsafeReadableBytes { raw in
            for byte in raw { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01B3 }
        }
        value = hash
    }
}
