// Collects access units into one movie fragment without copying their bytes.
// SPDX-License-Identifier: Apache-2.0

package import H26x
package import NIOCore

/// A finished fragment: its head, and the samples that follow it on disk or on the wire.
package struct BuiltFragment: Sendable {
    /// `moof` and the header of `mdat`.
    package var head: ByteBuffer
    /// The payload of `mdat`, one buffer a sample; together with `head` one gathering write.
    package var samples: [ByteBuffer]
    /// All bytes of the fragment.
    package var size: Int
    /// Whether the first sample is a random access point.
    package var startsWithSync: Bool
    /// The sum of the sample durations, in 90 kHz ticks.
    package var duration: UInt32
    /// The decode time of the first sample.
    package var baseDecodeTime: Int64
    /// The number of the fragment in its file.
    package var sequenceNumber: UInt32

    /// How many pictures it holds.
    package var sampleCount: Int { samples.count }

    /// The whole fragment in one buffer, for callers that cannot gather.
    package func serialize() -> ByteBuffer {
        var bytes = ByteBuffer()
        bytes.reserveCapacity(size)
        bytes.writeImmutableBuffer(head)
        for sample in samples { bytes.writeImmutableBuffer(sample) }
        return bytes
    }
}

/// Builds one fragment after another of a single-track file (ISO 14496-12 §8.8, CMAF §7.3.2).
package struct FragmentBuilder: Sendable {
    private var sequenceNumber: UInt32
    private var baseDecodeTime: Int64
    private var samples: [ByteBuffer] = []
    private var entries: [RunEntry] = []

    /// The bytes of all samples so far.
    package private(set) var byteCount = 0
    /// The sum of the sample durations so far, in 90 kHz ticks.
    package private(set) var duration: UInt32 = 0

    /// One row of `trun` (§8.8.8).
    private struct RunEntry {
        var duration: UInt32
        var size: UInt32
        var flags: UInt32
        /// Presentation minus decode time; zero until streams with B-frames are recorded.
        var compositionOffset: Int32 = 0
    }

    /// Starts at a fragment number and the decode time of the first sample to come. The format has
    /// no negative times; one is taken as zero.
    package init(sequenceNumber: UInt32, baseDecodeTime: Int64) {
        self.sequenceNumber = sequenceNumber
        self.baseDecodeTime = max(0, baseDecodeTime)
    }

    /// Whether no sample was appended since the last `finish()`.
    package var isEmpty: Bool { samples.isEmpty }
    /// How many samples the fragment holds so far.
    package var sampleCount: Int { samples.count }

    /// Adds a picture that lasts `duration` ticks. Answers false, and adds nothing, when the
    /// fragment has reached a size that the format or our own reader would refuse: finish it first.
    @discardableResult
    package mutating func append(_ unit: AccessUnit, duration: UInt32) -> Bool {
        let size = unit.avcc.readableBytes
        let (total, overflow) = self.duration.addingReportingOverflow(duration)
        guard !overflow, byteCount + size <= Limits.maxFragmentBytes,
            samples.count < Limits.maxSamplesPerFragment
        else { return false }
        self.duration = total
        byteCount += size
        samples.append(unit.avcc)
        entries.append(
            RunEntry(
                duration: duration, size: UInt32(truncatingIfNeeded: size),
                flags: unit.isRandomAccessPoint ? SampleFlags.sync : SampleFlags.nonSync))
        return true
    }

    /// Closes the fragment and starts the next one where it ends. Callers ask `isEmpty` first: an
    /// empty fragment is valid and of no use.
    package mutating func finish() -> BuiltFragment {
        let head = serializeHead()
        let fragment = BuiltFragment(
            head: head, samples: samples, size: head.readableBytes + byteCount,
            startsWithSync: entries.first?.flags == SampleFlags.sync, duration: duration,
            baseDecodeTime: baseDecodeTime, sequenceNumber: sequenceNumber)
        sequenceNumber &+= 1
        baseDecodeTime &+= Int64(duration)
        // A new array keeps the capacity only of this one: the old one went out with the fragment.
        samples = []
        entries.removeAll(keepingCapacity: true)
        byteCount = 0
        duration = 0
        return fragment
    }

    private func serializeHead() -> ByteBuffer {
        let hasOffsets = entries.contains { $0.compositionOffset != 0 }
        var head = ByteBuffer()
        head.reserveCapacity(128 + entries.count * 16)
        var dataOffsetPosition = 0
        head.writeBox("moof") { moof in
            moof.writeFullBox("mfhd") { $0.writeInteger(sequenceNumber) }
            moof.writeBox("traf") { traf in
                traf.writeFullBox("tfhd", flags: TrackFragmentFlags.defaultBaseIsMoof) { box in
                    box.writeInteger(UInt32(1))
                }
                traf.writeFullBox("tfdt", version: 1) { $0.writeInteger(baseDecodeTime) }
                var flags =
                    TrackRunFlags.dataOffset | TrackRunFlags.duration | TrackRunFlags.size
                    | TrackRunFlags.flags
                if hasOffsets { flags |= TrackRunFlags.compositionOffset }
                traf.writeFullBox("trun", version: hasOffsets ? 1 : 0, flags: flags) { trun in
                    trun.writeInteger(UInt32(truncatingIfNeeded: entries.count))
                    dataOffsetPosition = trun.writerIndex
                    trun.writeInteger(Int32(0))
                    for entry in entries {
                        trun.writeInteger(entry.duration)
                        trun.writeInteger(entry.size)
                        trun.writeInteger(entry.flags)
                        if hasOffsets { trun.writeInteger(entry.compositionOffset) }
                    }
                }
            }
        }
        let mdatHeaderSize = 8
        let dataOffset = head.writerIndex + mdatHeaderSize
        head.setInteger(Int32(truncatingIfNeeded: dataOffset), at: dataOffsetPosition)
        head.writeInteger(UInt32(truncatingIfNeeded: mdatHeaderSize + byteCount))
        head.writeInteger(FourCC("mdat").rawValue)
        return head
    }
}

/// Sample flags (§8.8.3.1).
enum SampleFlags {
    /// Depends on no other sample.
    static let sync: UInt32 = 0x0200_0000
    /// Depends on others, and is not a sync sample.
    static let nonSync: UInt32 = 0x0101_0000
    /// `sample_is_non_sync_sample`.
    static let isNonSync: UInt32 = 0x0001_0000
}

/// Flags of `tfhd` (§8.8.7.1).
enum TrackFragmentFlags {
    static let baseDataOffset: UInt32 = 0x1
    static let sampleDescription: UInt32 = 0x2
    static let defaultDuration: UInt32 = 0x8
    static let defaultSize: UInt32 = 0x10
    static let defaultFlags: UInt32 = 0x20
    static let defaultBaseIsMoof: UInt32 = 0x2_0000
}

/// Flags of `trun` (§8.8.8.1).
enum TrackRunFlags {
    static let dataOffset: UInt32 = 0x1
    static let firstSampleFlags: UInt32 = 0x4
    static let duration: UInt32 = 0x100
    static let size: UInt32 = 0x200
    static let flags: UInt32 = 0x400
    static let compositionOffset: UInt32 = 0x800
}
