// One simulated camera's schedule and packets; the clock and the connections are the server's.
// SPDX-License-Identifier: Apache-2.0

import H26x
import NIOCore
import Primitives
import RTP
import RTPFormats

/// A clip's access units as RTP payloads, made once and shared by all its cameras.
struct PacketizedClip: Sendable {
    /// One access unit, in two parts: a stamp's SEI goes between them (H.264 §7.4.1.2.3,
    /// H.265 §7.4.2.4.4).
    struct Frame: Sendable {
        /// Access unit delimiter and parameter sets.
        var leading: [ByteBuffer]
        /// Everything from the clip's own SEI on; never empty.
        var rest: [ByteBuffer]
        /// What the stamp says of the bytes (FNV-1a).
        var checksum: UInt64
        var isRandomAccessPoint: Bool
        /// Bytes of all payloads, to size the buffer of a frame in one go.
        var payloadBytes: Int
    }

    let frames: [Frame]
    let parameterSets: ParameterSets
    let framesPerSecond: Double

    init(_ clip: Clip) {
        let codec = clip.parameterSets.codec
        let packetizer = Packetizer(codec: codec, maxPayload: 1400)
        func payloads(_ nalUnits: ArraySlice<ByteBuffer>) -> [ByteBuffer] {
            guard !nalUnits.isEmpty else { return [] }
            return packetizer.packetize(
                AccessUnit(
                    avcc: AVCC.serialize(Array(nalUnits)), decodeTime: 0,
                    isRandomAccessPoint: false,
                    wallTime: nil))
        }
        parameterSets = clip.parameterSets
        framesPerSecond = clip.framesPerSecond
        frames = clip.units.compactMap { unit in
            let nalUnits = unit.nalUnits()
            let split = FrameStamp.place(in: nalUnits, codec)
            guard split < nalUnits.count else { return nil }
            let leading = payloads(nalUnits[..<split])
            let rest = payloads(nalUnits[split...])
            guard !rest.isEmpty else { return nil }
            return Frame(
                leading: leading, rest: rest, checksum: FrameStamp.checksum(of: nalUnits),
                isRandomAccessPoint: unit.isRandomAccessPoint,
                payloadBytes: (leading + rest).reduce(0) { $0 + $1.readableBytes })
        }
    }
}

/// The frames of one camera by the wall clock, and its RTP numbers.
struct SimulatedCamera {
    static let payloadType: UInt8 = 96

    /// From 1.
    let number: Int
    let clip: PacketizedClip
    /// When frame 0 was due: a moment at which the loop starts, plus the camera's phase.
    private let origin: WallTime
    private let ssrc: SSRC
    private let timestampStart: RTPTimestamp
    private var sequence: SequenceNumber
    private var packetCount: UInt32 = 0
    private var octetCount: UInt32 = 0
    private var nextReport: WallTime
    /// The next frame to be sent.
    private(set) var nextFrame: UInt64 = 0

    init(number: Int, clip: PacketizedClip, start: WallTime, seed: UInt64) {
        self.number = number
        self.clip = clip
        var random = SeededRandom(
            seed: seed &+ UInt64(truncatingIfNeeded: number) &* 0x9E37_79B9)
        ssrc = SSRC(rawValue: UInt32(truncatingIfNeeded: random.next()))
        sequence = SequenceNumber(rawValue: UInt16(truncatingIfNeeded: random.next()))
        timestampStart = RTPTimestamp(rawValue: UInt32(truncatingIfNeeded: random.next()))
        // The golden ratio spreads any number of cameras evenly over a frame's time.
        let turn = Double(number) * 0.618_033_988_75
        let frame = 1e6 / clip.framesPerSecond
        let loop = max(1, Int64((frame * Double(clip.frames.count)).rounded()))
        let phase = Int64(frame * (turn - turn.rounded(.down)))
        origin = WallTime(microseconds: start.microseconds / loop * loop + phase)
        nextReport = start
        skip(to: start)
    }

    /// When a frame is due.
    func wallTime(ofFrame frame: UInt64) -> WallTime {
        let micros = (Double(frame) * 1e6 / clip.framesPerSecond).rounded()
        return WallTime(microseconds: origin.microseconds + Int64(micros))
    }

    /// When the next frame is due.
    var nextWallTime: WallTime { wallTime(ofFrame: nextFrame) }

    /// Whether a decoder can start with the next frame.
    var nextIsRandomAccessPoint: Bool { clip.frames[position].isRandomAccessPoint }

    /// Leaves out the frames due before a moment.
    mutating func skip(to now: WallTime) {
        let micros = Double(max(0, now.microseconds - origin.microseconds))
        nextFrame = max(nextFrame, UInt64((micros * clip.framesPerSecond / 1e6).rounded(.up)))
    }

    /// Leaves out the next frame.
    mutating func skipFrame() { nextFrame += 1 }

    /// Makes a sender report come with the next frame, for a reader that has none yet.
    mutating func hurryReport() { nextReport = WallTime(microseconds: .min) }

    /// The next frame's packets in interleaved framing (RFC 2326 §10.12) on a channel and the one
    /// after it for RTCP, behind a sender report every five seconds. Moves on to the next frame.
    mutating func sendFrame(channel: UInt8) -> ByteBuffer {
        let frame = clip.frames[position]
        let due = nextWallTime
        let stamp = FrameStamp(
            camera: UInt16(truncatingIfNeeded: number), number: nextFrame, wallTime: due,
            checksum: frame.checksum
        ).nalUnit(clip.parameterSets.codec)
        let packets = frame.leading.count + frame.rest.count + 1
        var out = ByteBufferAllocator().buffer(capacity: frame.payloadBytes + packets * 16 + 200)
        let timestamp = timestampStart.advanced(by: ticks(ofFrame: nextFrame))
        writeReport(due: due, timestamp: timestamp, channel: channel &+ 1, into: &out)
        for payload in frame.leading { write(payload, timestamp, false, channel, &out) }
        write(stamp, timestamp, false, channel, &out)
        for payload in frame.rest.dropLast() { write(payload, timestamp, false, channel, &out) }
        if let last = frame.rest.last { write(last, timestamp, true, channel, &out) }
        nextFrame += 1
        return out
    }

    // MARK: Inside

    private var position: Int { Int(nextFrame % UInt64(clip.frames.count)) }

    private func ticks(ofFrame frame: UInt64) -> Int64 {
        Int64((Double(frame) * 90_000 / clip.framesPerSecond).rounded())
    }

    /// One packet (RFC 3550 §5.1) straight into the frame's buffer: a buffer of its own for each
    /// would cost more than all the rest of a simulated camera.
    private mutating func write(
        _ payload: ByteBuffer, _ timestamp: RTPTimestamp, _ marker: Bool, _ channel: UInt8,
        _ out: inout ByteBuffer
    ) {
        let length = UInt16(truncatingIfNeeded: 12 + payload.readableBytes)
        out.writeMultipleIntegers(
            UInt8(ascii: "$"), channel, length, UInt8(0x80),
            Self.payloadType | (marker ? 0x80 : 0), sequence.rawValue, timestamp.rawValue,
            ssrc.rawValue)
        out.writeImmutableBuffer(payload)
        sequence = sequence.advanced(by: 1)
        packetCount &+= 1
        octetCount &+= UInt32(truncatingIfNeeded: payload.readableBytes)
    }

    private mutating func writeReport(
        due: WallTime, timestamp: RTPTimestamp, channel: UInt8, into out: inout ByteBuffer
    ) {
        guard due >= nextReport else { return }
        nextReport = due + .seconds(5)
        let report = RTCPPacket.serialize([
            .senderReport(
                SenderReport(
                    ssrc: ssrc, ntpTime: NTPTimestamp(due), rtpTime: timestamp,
                    packetCount: packetCount, octetCount: octetCount))
        ])
        out.writeMultipleIntegers(
            UInt8(ascii: "$"), channel, UInt16(truncatingIfNeeded: report.readableBytes))
        out.writeImmutableBuffer(report)
    }
}
