// Writes parameter sets for the tests, field by field as the standard lists them.
// SPDX-License-Identifier: Apache-2.0

import H26x
import NIOCore

/// Bits, most significant first, and Exp-Golomb codes (H.264 §9.1).
struct BitWriter {
    private var bits: [Bool] = []

    mutating func write(_ value: UInt32, bits count: Int) {
        for shift in (0..<count).reversed() { bits.append(value >> UInt32(shift) & 1 == 1) }
    }

    mutating func flag(_ value: Bool) { bits.append(value) }

    mutating func unsigned(_ value: UInt32) {
        let length = 32 - (value + 1).leadingZeroBitCount
        write(0, bits: length - 1)
        write(value + 1, bits: length)
    }

    mutating func signed(_ value: Int) {
        unsigned(UInt32(value > 0 ? 2 * value - 1 : -2 * value))
    }

    /// The bytes with the trailing bit (§7.3.2.11).
    func payload() -> [UInt8] {
        var padded = bits + [true]
        while padded.count % 8 != 0 { padded.append(false) }
        return stride(from: 0, to: padded.count, by: 8).map { start in
            padded[start..<(start + 8)].reduce(UInt8(0)) { $0 << 1 | ($1 ? 1 : 0) }
        }
    }
}

/// A sequence parameter set made of the fields that the tests vary.
struct SPSRecipe {
    var profile: UInt32 = 77
    var widthInBlocks: UInt32 = 80
    var heightInUnits: UInt32 = 45
    var framesOnly = true
    var chromaFormat: UInt32?
    var scalingMatrix = false
    var pictureOrderType: UInt32 = 2
    var crop: (left: UInt32, right: UInt32, top: UInt32, bottom: UInt32)?
    var timing: (unitsInTick: UInt32, timeScale: UInt32)?
    var hypotheticalDecoder = false
    var reorderFrames: UInt32?

    func nalUnit() -> ByteBuffer {
        var w = BitWriter()
        w.write(profile, bits: 8)
        w.write(0x40, bits: 8)
        w.write(31, bits: 8)
        w.unsigned(0)
        if let chromaFormat { writeChroma(&w, chromaFormat) }
        w.unsigned(0)
        w.unsigned(pictureOrderType)
        if pictureOrderType == 0 { w.unsigned(2) }
        if pictureOrderType == 1 {
            w.flag(false)
            w.signed(-3)
            w.signed(4)
            w.unsigned(2)
            w.signed(1)
            w.signed(-1)
        }
        w.unsigned(1)
        w.flag(false)
        w.unsigned(widthInBlocks - 1)
        w.unsigned(heightInUnits - 1)
        w.flag(framesOnly)
        if !framesOnly { w.flag(true) }
        w.flag(true)
        w.flag(crop != nil)
        if let crop {
            for value in [crop.left, crop.right, crop.top, crop.bottom] { w.unsigned(value) }
        }
        let hasVUI = timing != nil || reorderFrames != nil
        w.flag(hasVUI)
        if hasVUI { writeVUI(&w) }
        return ByteBuffer(bytes: [0x67] + RBSP.escape(w.payload()))
    }

    private func writeChroma(_ w: inout BitWriter, _ format: UInt32) {
        w.unsigned(format)
        if format == 3 { w.flag(false) }
        w.unsigned(0)
        w.unsigned(0)
        w.flag(false)
        w.flag(scalingMatrix)
        guard scalingMatrix else { return }
        for list in 0..<(format == 3 ? 12 : 8) {
            w.flag(list % 2 == 0)
            guard list % 2 == 0 else { continue }
            // List 0 ends early (next scale 0); the others are written whole.
            if list == 0 {
                w.signed(-8)
            } else {
                for _ in 0..<(list < 6 ? 16 : 64) { w.signed(1) }
            }
        }
    }

    private func writeVUI(_ w: inout BitWriter) {
        w.flag(true)
        w.write(255, bits: 8)
        w.write(0x0001_0001, bits: 32)
        w.flag(true)
        w.flag(false)
        w.flag(true)
        w.write(0b1010, bits: 4)
        w.flag(true)
        w.write(0x010101, bits: 24)
        w.flag(true)
        w.unsigned(0)
        w.unsigned(0)
        w.flag(timing != nil)
        if let timing {
            w.write(timing.unitsInTick, bits: 32)
            w.write(timing.timeScale, bits: 32)
            w.flag(true)
        }
        for _ in 0..<2 {
            w.flag(hypotheticalDecoder)
            guard hypotheticalDecoder else { continue }
            w.unsigned(1)
            w.write(0x44, bits: 8)
            for _ in 0..<2 {
                w.unsigned(1000)
                w.unsigned(2000)
                w.flag(false)
            }
            w.write(0xABCDE, bits: 20)
        }
        if hypotheticalDecoder { w.flag(false) }
        w.flag(true)
        w.flag(reorderFrames != nil)
        guard let reorderFrames else { return }
        w.flag(true)
        for value in [UInt32(0), 0, 10, 10] { w.unsigned(value) }
        w.unsigned(reorderFrames)
        w.unsigned(4)
    }
}
