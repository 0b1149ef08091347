// What a recording is made of: runs of segments, segments of fragments, and the gaps between.
// SPDX-License-Identifier: Apache-2.0

package import Primitives

/// A half-open stretch of wall time. The start is never after the end.
package struct TimeRange: Hashable, Sendable {
    package let start: WallTime
    package let end: WallTime

    package init?(start: WallTime, end: WallTime) {
        guard start <= end else { return nil }
        self.start = start
        self.end = end
    }

    package func overlaps(_ other: TimeRange) -> Bool { start < other.end && other.start < end }

    package func contains(_ time: WallTime) -> Bool { start <= time && time < end }
}

/// Why there is no video (data model, gaps).
package enum GapReason: String, Sendable, CaseIterable {
    case sourceLost = "SOURCE_LOST"
    case diskFull = "DISK_FULL"
    case storageSlow = "STORAGE_SLOW"
    case restart = "RESTART"
    case clock = "CLOCK"
    case damaged = "DAMAGED"
}

/// A stretch of wall time of one camera without video, and why.
package struct Gap: Hashable, Sendable {
    package var start: WallTime
    package var end: WallTime
    package var reason: GapReason

    package init(start: WallTime, end: WallTime, reason: GapReason) {
        self.start = start
        self.end = end
        self.reason = reason
    }
}

/// A SHA-256, held in place: a day of one camera has a hundred thousand of them.
private struct Digest: Hashable, Sendable {
    static let size = 32
    var words: (UInt64, UInt64, UInt64, UInt64) = (0, 0, 0, 0)

    /// Shorter bytes are filled up with zeros.
    init(_ bytes: [UInt8]) {
        withUnsafeMutableBytes(of: &words) { $0.copyBytes(from: bytes.prefix(Self.size)) }
    }

    init(copying bytes: UnsafeRawBufferPointer) {
        withUnsafeMutableBytes(of: &words) { $0.copyMemory(from: bytes) }
    }

    var bytes: [UInt8] { withUnsafeBytes(of: words) { Array($0) } }

    static func == (a: Digest, b: Digest) -> Bool { a.words == b.words }

    func hash(into hasher: inout Hasher) { hasher.combine(words.0) }
}

/// One fragment (moof + mdat) of a segment file: enough to serve it without opening the file's boxes.
package struct FragmentEntry: Hashable, Sendable {
    /// Byte offset of its moof in the file.
    package var offset: UInt64
    /// Bytes of moof and mdat together.
    package var size: UInt32
    /// Decode time of its first sample in 90 kHz ticks of the run's clock.
    package var decodeTime: Int64
    /// Sum of its samples' durations in 90 kHz ticks.
    package var duration: UInt32
    package var sampleCount: UInt16
    /// Whether its first sample is a random access point.
    package var startsWithSync: Bool
    private var digest: Digest
    /// SHA-256 of its bytes as written, 32 bytes.
    package var hash: [UInt8] {
        get { digest.bytes }
        set { digest = Digest(newValue) }
    }

    package init(
        offset: UInt64, size: UInt32, decodeTime: Int64, duration: UInt32, sampleCount: UInt16,
        startsWithSync: Bool, hash: [UInt8]
    ) {
        self.offset = offset
        self.size = size
        self.decodeTime = decodeTime
        self.duration = duration
        self.sampleCount = sampleCount
        self.startsWithSync = startsWithSync
        digest = Digest(hash)
    }

    /// Reads one entry of `FragmentIndex`; `bytes` are exactly as long as an entry.
    fileprivate init(entry bytes: UnsafeRawBufferPointer) {
        func take<T: FixedWidthInteger>(_: T.Type, at position: Int) -> T {
            T(bigEndian: bytes.loadUnaligned(fromByteOffset: position, as: T.self))
        }
        offset = take(UInt64.self, at: 0)
        size = take(UInt32.self, at: 8)
        decodeTime = take(Int64.self, at: 12)
        duration = take(UInt32.self, at: 20)
        sampleCount = take(UInt16.self, at: 24)
        startsWithSync = bytes[26] & 1 == 1
        digest = Digest(copying: UnsafeRawBufferPointer(rebasing: bytes[27...]))
    }

    /// Where its bytes end in the file; no index that was parsed comes near the last offset.
    package var endOffset: UInt64 { offset &+ UInt64(size) }
}

/// The compact form of a segment's fragments in its row.
///
///     version 1: UInt8 1 | bytes of ftyp and moov 4, then for each fragment, big-endian:
///     offset 8 | size 4 | decode time 8 | duration 4 | samples 2 | flags 1 (bit 0: sync) | SHA-256 32
package enum FragmentIndex {
    private static let headSize = 1 + 4
    private static let entrySize = 8 + 4 + 8 + 4 + 2 + 1 + Digest.size
    /// No file of an hour comes near it.
    private static let longestFile: UInt64 = 1 << 40
    /// A thousand years of the 90 kHz clock: sums of such times stay far from the end of 64 bits.
    private static let latestDecodeTime: Int64 = 1 << 52
    private static let largestInitSize: UInt32 = 1 << 24

    package static func serialize(initSize: UInt32, _ entries: [FragmentEntry]) -> [UInt8] {
        var bytes: [UInt8] = [1]
        bytes.reserveCapacity(headSize + entries.count * entrySize)
        func put(_ value: some FixedWidthInteger) {
            withUnsafeBytes(of: value.bigEndian) { bytes.append(contentsOf: $0) }
        }
        put(initSize)
        for entry in entries {
            put(entry.offset)
            put(entry.size)
            put(entry.decodeTime)
            put(entry.duration)
            put(entry.sampleCount)
            bytes.append(entry.startsWithSync ? 1 : 0)
            bytes.append(contentsOf: entry.hash)
        }
        return bytes
    }

    /// `nil` where the bytes are not version 1, are cut, or name fragments that no file can have: their
    /// places in the file rise without overlap, behind the head.
    package static func parse(_ bytes: [UInt8]) -> (initSize: UInt32, entries: [FragmentEntry])? {
        guard bytes.first == 1, bytes.count >= headSize, (bytes.count - headSize) % entrySize == 0
        else { return nil }
        return bytes.withUnsafeBytes { bytes in
            let initSize = UInt32(
                bigEndian: bytes.loadUnaligned(fromByteOffset: 1, as: UInt32.self))
            guard initSize <= largestInitSize else { return nil }
            var entries: [FragmentEntry] = []
            entries.reserveCapacity((bytes.count - headSize) / entrySize)
            var end = UInt64(initSize)
            for start in stride(from: headSize, to: bytes.count, by: entrySize) {
                let entry = FragmentEntry(
                    entry: UnsafeRawBufferPointer(rebasing: bytes[start..<start + entrySize]))
                guard entry.offset >= end, entry.offset <= longestFile, entry.size > 0,
                    (-latestDecodeTime...latestDecodeTime).contains(entry.decodeTime)
                else { return nil }
                end = entry.endOffset
                entries.append(entry)
            }
            return (initSize, entries)
        }
    }
}

/// Where a segment lies in time: what a timeline or a look-up needs, without its fragments.
package struct SegmentSpan: Hashable, Sendable {
    package var runID: String
    package var start: WallTime
    package var end: WallTime

    package init(runID: String, start: WallTime, end: WallTime) {
        self.runID = runID
        self.start = start
        self.end = end
    }
}

/// A five-minute file and what is known of it, whether it is closed or still being written.
package struct Segment: Sendable, Equatable {
    package var id: String
    /// The run it belongs to: segments of one run follow each other without a gap.
    package var runID: String
    package var cameraID: CameraID
    package var source: Source
    package var sequenceNumber: Int
    /// Wall time of the first access unit's arrival.
    package var start: WallTime
    /// Wall time at which the last access unit ends, by the monotonic clock since `start`.
    package var end: WallTime
    /// Path below the data folder.
    package var path: String
    /// Where ftyp and moov lie in the file.
    package var initSize: UInt32
    package var fragments: [FragmentEntry]
    package var codec: String
    package var width: Int
    package var height: Int

    package init(
        id: String, runID: String, cameraID: CameraID, source: Source, sequenceNumber: Int,
        start: WallTime, end: WallTime, path: String, initSize: UInt32,
        fragments: [FragmentEntry], codec: String, width: Int, height: Int
    ) {
        self.id = id
        self.runID = runID
        self.cameraID = cameraID
        self.source = source
        self.sequenceNumber = sequenceNumber
        self.start = start
        self.end = end
        self.path = path
        self.initSize = initSize
        self.fragments = fragments
        self.codec = codec
        self.width = width
        self.height = height
    }

    package var range: TimeRange? { TimeRange(start: start, end: end) }

    package var span: SegmentSpan { SegmentSpan(runID: runID, start: start, end: end) }

    /// Media time since the segment's first fragment, as wall time.
    package func wallTime(of fragment: FragmentEntry) -> WallTime {
        let first = fragments.first?.decodeTime ?? fragment.decodeTime
        return start + .ticks(fragment.decodeTime &- first)
    }

    /// Wall time at which the fragment's last access unit ends.
    package func end(of fragment: FragmentEntry) -> WallTime {
        wallTime(of: fragment) + .ticks(Int64(fragment.duration))
    }

    /// The file's name part of the layout: `segment_YYYYMMDD_HHMMSS.mp4` below source, camera and day.
    package static func path(source: Source, cameraID: CameraID, start: WallTime) -> String {
        let c = CivilTime(start)
        let day = padded(c.year, 4) + "/" + padded(c.month, 2) + "/" + padded(c.day, 2)
        let stamp =
            padded(c.year, 4) + padded(c.month, 2) + padded(c.day, 2) + "_" + padded(c.hour, 2)
            + padded(c.minute, 2) + padded(c.second, 2)
        return "recordings/\(source)/\(cameraID)/\(day)/segment_\(stamp).mp4"
    }
}
