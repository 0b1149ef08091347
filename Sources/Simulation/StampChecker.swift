// Says what is missing, doubled, out of order or damaged in a sequence of stamped frames.
// SPDX-License-Identifier: Apache-2.0

package import H26x

/// Reads stamps in the order in which frames were received or recorded.
package struct StampChecker: Sendable {
    /// What was found so far.
    package struct Report: Equatable, Sendable {
        /// Frames seen, the damaged ones included.
        package var frames: UInt64 = 0
        /// Numbers between the lowest and the highest seen that never came.
        package var missing: UInt64 = 0
        /// Frames whose number had come before.
        package var doubled: UInt64 = 0
        /// Frames that came for the first time, but after a higher number.
        package var outOfOrder: UInt64 = 0
        /// Frames with a stamp whose bytes are not the ones stamped.
        package var damaged: UInt64 = 0
        /// Frames without a stamp.
        package var unstamped: UInt64 = 0
        /// Frames of another camera than the first one's.
        package var foreign: UInt64 = 0
        /// The missing numbers as ranges, the first hundred of them.
        package var gaps: [ClosedRange<UInt64>] = []

        /// Whether every frame came once, in order and whole.
        package var isPerfect: Bool {
            missing == 0 && doubled == 0 && outOfOrder == 0 && damaged == 0 && unstamped == 0
                && foreign == 0
        }
    }

    private var camera: UInt16?
    /// Numbers seen, as sorted disjoint ranges: one range for a perfect recording of any length.
    private var seen: [ClosedRange<UInt64>] = []
    private var counts = Report()

    package init() {}

    /// The findings for stamps in the order given, the bytes taken as whole.
    package static func check(_ stamps: some Sequence<FrameStamp>) -> Report {
        var checker = StampChecker()
        for stamp in stamps { checker.append(stamp, isWhole: true) }
        return checker.report
    }

    /// Takes the next frame as received.
    package mutating func append(_ unit: AccessUnit) {
        guard let stamp = FrameStamp.read(from: unit) else {
            counts.frames += 1
            counts.unstamped += 1
            return
        }
        append(stamp, isWhole: FrameStamp.verify(unit))
    }

    /// Takes the next frame's stamp and whether its checksum fitted.
    package mutating func append(_ stamp: FrameStamp, isWhole: Bool) {
        counts.frames += 1
        if !isWhole { counts.damaged += 1 }
        guard stamp.camera == camera ?? stamp.camera else {
            counts.foreign += 1
            return
        }
        camera = stamp.camera
        let number = stamp.number
        guard let last = seen.last else {
            seen = [number...number]
            return
        }
        if last.upperBound < .max, number == last.upperBound + 1 {
            seen[seen.count - 1] = last.lowerBound...number
        } else if number > last.upperBound {
            seen.append(number...number)
        } else {
            insertLate(number)
        }
    }

    /// The findings.
    package var report: Report {
        var report = counts
        for (before, after) in zip(seen, seen.dropFirst()) {
            let gap = (before.upperBound + 1)...(after.lowerBound - 1)
            report.missing += gap.upperBound - gap.lowerBound + 1
            if report.gaps.count < 100 { report.gaps.append(gap) }
        }
        return report
    }

    private mutating func insertLate(_ number: UInt64) {
        // The first range that ends at or after the number; late frames are near the end.
        let index = seen.lastIndex { $0.upperBound < number }.map { $0 + 1 } ?? 0
        if seen[index].contains(number) {
            counts.doubled += 1
            return
        }
        counts.outOfOrder += 1
        let touchesNext = number + 1 == seen[index].lowerBound
        let touchesBefore = index > 0 && seen[index - 1].upperBound + 1 == number
        switch (touchesBefore, touchesNext) {
        case (true, true):
            seen[index - 1] = seen[index - 1].lowerBound...seen[index].upperBound
            seen.remove(at: index)
        case (true, false): seen[index - 1] = seen[index - 1].lowerBound...number
        case (false, true): seen[index] = number...seen[index].upperBound
        case (false, false): seen.insert(number...number, at: index)
        }
    }
}
