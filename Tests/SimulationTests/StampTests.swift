// Stamps on frames, and what the checker makes of them.
// SPDX-License-Identifier: Apache-2.0

import H26x
import NIOCore
import Primitives
import Simulation
import Testing

@Suite("Stamps")
struct StampTests {
    private let slice = ByteBuffer(bytes: [0x65, 0x88, 0x84, 0x00, 0x10, 0xFF, 0x55])
    private let delimiter = ByteBuffer(bytes: [0x09, 0xF0])

    private func stamped(_ number: UInt64, camera: UInt16 = 4) -> AccessUnit {
        let stamp = FrameStamp(
            camera: camera, number: number, wallTime: WallTime(microseconds: 1_700_000_000_000_000),
            checksum: FrameStamp.checksum(of: [delimiter, slice]))
        return AccessUnit(
            avcc: AVCC.serialize([delimiter, stamp.nalUnit(.h264), slice]), decodeTime: 0,
            isRandomAccessPoint: true,
            wallTime: nil)
    }

    @Test("a stamp is read back whatever its bytes, zeros included", arguments: [0, 3, 1 << 40])
    func roundTrip(number: UInt64) throws {
        let unit = stamped(number)
        let stamp = try #require(FrameStamp.read(from: unit))
        #expect(stamp.number == number)
        #expect(stamp.camera == 4)
        #expect(stamp.wallTime == WallTime(microseconds: 1_700_000_000_000_000))
        #expect(FrameStamp.verify(unit))
    }

    @Test("a stamp stands in front of the picture and is found, in either codec")
    func codecs() throws {
        for (codec, sets, slice) in [
            (Codec.h264, [[0x09, 0xF0], [0x67, 1], [0x68, 1]], [0x65, 0x88] as [UInt8]),
            (
                .h265, [[0x46, 1, 0x50], [0x40, 1, 1], [0x42, 1, 1], [0x44, 1, 1]], [0x26, 1, 0xAF]
            ),
        ] as [(Codec, [[UInt8]], [UInt8])] {
            var nalUnits = (sets + [slice]).map { ByteBuffer(bytes: $0) }
            let stamp = FrameStamp(
                camera: 3, number: 0x0000_0100_0000, wallTime: WallTime(microseconds: 1),
                checksum: FrameStamp.checksum(of: nalUnits))
            let place = FrameStamp.place(in: nalUnits, codec)
            #expect(place == sets.count)
            nalUnits.insert(stamp.nalUnit(codec), at: place)
            let unit = AccessUnit(
                avcc: AVCC.serialize(nalUnits), decodeTime: 0, isRandomAccessPoint: true,
                wallTime: nil)
            #expect(FrameStamp.read(from: unit) == stamp)
            #expect(FrameStamp.verify(unit))
        }
    }

    @Test("a unit without a stamp, or with other bytes than those stamped, does not verify")
    func damage() {
        let plain = AccessUnit(
            avcc: AVCC.serialize([slice]), decodeTime: 0, isRandomAccessPoint: true, wallTime: nil)
        #expect(FrameStamp.read(from: plain) == nil)
        #expect(!FrameStamp.verify(plain))
        var unit = stamped(9)
        let last = unit.avcc.writerIndex - 1
        unit.avcc.setInteger(UInt8(0x54), at: last)
        #expect(FrameStamp.read(from: unit) != nil)
        #expect(!FrameStamp.verify(unit))
    }

    @Test("no truncation and no mutation makes a stamp that traps or lies about damage")
    func sweep() {
        let whole = stamped(77).avcc
        for length in 0..<whole.readableBytes {
            let part = whole.getSlice(at: 0, length: length) ?? ByteBuffer()
            let unit = AccessUnit(
                avcc: part, decodeTime: 0, isRandomAccessPoint: false, wallTime: nil)
            #expect(!FrameStamp.verify(unit))
        }
        var random = SeededRandom(seed: 11)
        for _ in 0..<2000 {
            var bytes = whole
            let at = Int(random.next() % UInt64(bytes.readableBytes))
            bytes.setInteger(UInt8(truncatingIfNeeded: random.next()), at: at)
            let unit = AccessUnit(
                avcc: bytes, decodeTime: 0, isRandomAccessPoint: false, wallTime: nil)
            if FrameStamp.verify(unit) {
                let others = unit.nalUnits().filter { FrameStamp.read(nalUnit: $0) == nil }
                #expect(others == [delimiter, slice])
            }
        }
    }

    @Test("the checker counts what is missing, doubled, late, damaged, foreign and unstamped")
    func checker() {
        var checker = StampChecker()
        for number: UInt64 in [10, 11, 13, 12, 12, 20, 17] { checker.append(stamped(number)) }
        checker.append(stamped(21, camera: 5))
        var broken = stamped(21)
        broken.avcc.setInteger(UInt8(0x54), at: broken.avcc.writerIndex - 1)
        checker.append(broken)
        checker.append(
            AccessUnit(avcc: ByteBuffer(), decodeTime: 0, isRandomAccessPoint: false, wallTime: nil)
        )
        let report = checker.report
        #expect(report.frames == 10)
        #expect(report.missing == 5)
        #expect(report.gaps == [14...16, 18...19])
        #expect(report.doubled == 1)
        #expect(report.outOfOrder == 2)
        #expect(report.damaged == 1)
        #expect(report.foreign == 1)
        #expect(report.unstamped == 1)
        #expect(!report.isPerfect)
    }

    @Test("the checker agrees with a simple count on shuffled numbers")
    func checkerAgainstModel() {
        for seed in 0..<50 as Range<UInt64> {
            var random = SeededRandom(seed: seed)
            let numbers = (0..<60).map { _ in random.next() % 50 }
            let stamps = numbers.map {
                FrameStamp(camera: 1, number: $0, wallTime: WallTime(microseconds: 0), checksum: 0)
            }
            let report = StampChecker.check(stamps)
            let distinct = Set(numbers)
            let span = (numbers.max() ?? 0) - (numbers.min() ?? 0) + 1
            #expect(report.missing == span - UInt64(distinct.count), "seed \(seed)")
            #expect(report.doubled == UInt64(numbers.count - distinct.count), "seed \(seed)")
        }
        let perfect = (5..<500 as Range<UInt64>).map {
            FrameStamp(camera: 1, number: $0, wallTime: WallTime(microseconds: 0), checksum: 0)
        }
        #expect(StampChecker.check(perfect).isPerfect)
    }
}
