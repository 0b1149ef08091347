// What one viewer is sent: the camera's packets, numbered, timed and sealed for this viewer alone.
// SPDX-License-Identifier: Apache-2.0

package import Domain
import NIOCore
package import Primitives
package import RTP
package import RTPFormats
package import WebRTC

/// How the answer says the viewer's packets look.
package struct ViewerFormat: Sendable {
    package var payloadType: UInt8
    /// `nil` for a viewer that gets resends as identical packets.
    package var rtxPayloadType: UInt8?
    package var ssrc: SSRC
    package var rtxSSRC: SSRC

    package init(payloadType: UInt8, rtxPayloadType: UInt8?, ssrc: SSRC, rtxSSRC: SSRC) {
        self.payloadType = payloadType
        self.rtxPayloadType = rtxPayloadType
        self.ssrc = ssrc
        self.rtxSSRC = rtxSSRC
    }
}

/// One viewer's RTP stream. Lives on the viewer's loop; sending is a plain call to the kernel.
package final class ViewerStream {
    /// Where the viewer is in the camera's stream.
    package enum Flow: Equatable {
        /// The next keyframe begins it.
        case waiting
        /// It gets what the window holds, from this frame on, faster than the camera took it.
        case catchingUp(frame: Int64)
        /// It gets every burst from this frame on as it comes.
        case live(from: Int64)
    }

    /// What was sent since the beginning.
    package struct Counts: Equatable {
        package var packets: UInt64 = 0
        package var bytes: UInt64 = 0
        package var resends: UInt64 = 0
        /// Requests cut short because too much was asked for again.
        package var resendsRefused: UInt64 = 0
        package var congestions: UInt64 = 0
        /// Groups of pictures sent again for a lost picture.
        package var replays: UInt64 = 0
    }

    /// Consecutive packets of the camera that became consecutive packets of the viewer.
    private struct Stretch {
        /// Whose packets and frames the numbers count.
        var source: CameraStream
        var firstIndex: Int64
        var firstPacket: Int64
        var haste: Haste?
        /// What the camera's times are moved by where they would not go on rising: the camera's two
        /// streams come on different ways.
        var shift: Int64

        /// In the viewer's stream, in 90 kHz ticks.
        func time(of burst: PacketBurst) -> Int64 {
            let time = burst.decodeTime &+ shift
            return haste.map { $0.time(of: burst, at: time) } ?? time
        }
    }

    /// Frames of the past shown in a hurry: their times are squeezed, or a player would show them at
    /// their own pace and stay behind for ever.
    private enum Haste {
        /// To one nearby who has seen nothing yet, as fast as they go: each a thousandth of a second after
        /// the other, up to the last one.
        case atOnce(firstFrame: Int64, lastFrame: Int64, firstTime: Int64)
        /// To one who is far away, or lost its picture and so is on a path that loses: at a few times the
        /// camera's pace, sent and timed alike, so that what is lost can be resent before a small buffer
        /// of the player runs over. It ends where the camera's own times are reached.
        case paced(firstTime: Int64, firstDecodeTime: Int64, pace: Int64)

        var pace: Int64? {
            if case .paced(_, _, let pace) = self { pace } else { nil }
        }

        func time(of burst: PacketBurst, at ownTime: Int64) -> Int64 {
            switch self {
            case .atOnce(let firstFrame, let lastFrame, let firstTime):
                burst.frame > lastFrame
                    ? ownTime : firstTime &+ (burst.frame &- firstFrame) &* Limits.ticksAtOnce
            case .paced(let firstTime, let firstDecodeTime, let pace):
                max(ownTime, firstTime &+ (burst.decodeTime &- firstDecodeTime) / pace)
            }
        }
    }

    package private(set) var flow = Flow.waiting
    /// Which of the camera's streams it follows.
    package private(set) var source: CameraStream
    /// A part of a unit was sent, and the rest was not yet.
    package private(set) var isMidUnit = false
    package var path: MediaPath
    /// Counts the times that it began to catch up: what was planned for an earlier one is void.
    package var catchUpRound = 0
    package private(set) var counts = Counts()

    private let format: ViewerFormat
    private let sealer: SRTPSealer
    private let resendSealer: SRTPSealer
    private let scratch: UnsafeMutableRawBufferPointer
    private let timeOffset: UInt32
    private let isFar: Bool
    /// The SRTP index of the next packet; its lower 16 bits are the sequence number.
    private var nextIndex: Int64
    private var resendIndex: Int64
    private var stretches: [Stretch] = []
    private var lastTime: Int64?
    private var resendBudget = Limits.firstResendBytes
    /// Packets of the frame that is being caught up with.
    private var sentOfFrame = 0
    private var lastReplay: Instant?
    /// The viewer said so, and has got no keyframe since.
    private var hasLostPicture = false

    /// - Parameters:
    ///   - scratch: the loop's buffer, of at least `Limits.segmentedBytes` and one packet.
    ///   - timeOffset: what the camera's times are moved by for all its viewers (RFC 3550 §5.1).
    ///   - source: which of the camera's streams it follows first.
    ///   - isFar: the path is long, and may lose what comes in a rush.
    ///   - firstSequence: of this viewer; below 2^15, so that both ends agree on the first roll-over.
    package init(
        format: ViewerFormat, keys: KeyingMaterial, path: MediaPath,
        scratch: UnsafeMutableRawBufferPointer, timeOffset: UInt32,
        source: CameraStream = .main, isFar: Bool = false, firstSequence: UInt16
    ) throws(SRTPError) {
        self.isFar = isFar
        self.source = source
        self.format = format
        self.path = path
        self.scratch = scratch
        self.timeOffset = timeOffset
        sealer = try SRTPSealer(profile: keys.profile, keys: keys.local)
        resendSealer = try SRTPSealer(profile: keys.profile, keys: keys.local)
        nextIndex = Int64(firstSequence & 0x7FFF)
        resendIndex = nextIndex
    }

    // MARK: Following the camera

    /// Begins with the frames that the window holds from its keyframe on.
    package func begin(with window: BurstWindow) {
        guard let startFrame = window.startFrame, let first = window.burst(frame: startFrame),
            let last = window.last
        else {
            flow = .waiting
            return
        }
        let shift = stretches.last.flatMap { $0.source == source ? $0.shift : nil } ?? 0
        let haste: Haste
        if lastTime != nil || isFar {
            let behind = max(0, last.decodeTime &- first.decodeTime)
            let newest = last.decodeTime &+ shift
            haste = .paced(
                firstTime: max(lastTime ?? newest, newest) &+ Limits.ticksToReplay,
                firstDecodeTime: first.decodeTime,
                pace: max(Limits.slowestReplay, 1 + behind / Limits.longestReplay))
        } else {
            let count = last.frame - startFrame
            haste = .atOnce(
                firstFrame: startFrame, lastFrame: last.frame,
                firstTime: last.decodeTime &- count &* Limits.ticksAtOnce)
        }
        beginStretch(at: first.firstPacket, haste, shift: shift)
        sentOfFrame = 0
        isMidUnit = false
        flow = .catchingUp(frame: startFrame)
    }

    /// Goes on with another of the camera's streams, from the keyframe of its window on.
    package func change(to source: CameraStream, with window: BurstWindow) {
        self.source = source
        isMidUnit = false
        guard let startFrame = window.startFrame, let first = window.burst(frame: startFrame) else {
            flow = .waiting
            return
        }
        beginStretch(at: first.firstPacket, nil, shift: shift(rising: first.decodeTime))
        sentOfFrame = 0
        flow = .catchingUp(frame: startFrame)
    }

    /// Sends more of the window to a viewer that catches up.
    /// - Returns: how long to wait before the next call; `nil` when the viewer has caught up.
    package func catchUp(_ window: BurstWindow, packets: Int) -> Duration? {
        guard case .catchingUp(var frame) = flow else { return nil }
        guard path.isReady else { return Limits.pauseWhenFull }
        let pace = stretches.last?.haste?.pace
        if pace != nil, !isMidUnit, let newest = window.startFrame, newest > frame {
            // With a newer keyframe there, the rest of the past is not worth the time.
            hasLostPicture = false
            begin(with: window)
            frame = newest
        }
        var left = packets
        while left > 0 {
            guard let burst = window.burst(frame: frame) else {
                if frame > window.last?.frame ?? .max {
                    flow = .live(from: frame)
                    return nil
                }
                // The window was cut under a viewer that was too slow: it goes on with what there is.
                begin(with: window)
                return flow == .waiting ? nil : Limits.pauseInCatchUp
            }
            let end = min(burst.packetCount, sentOfFrame + left)
            guard write(burst, sentOfFrame..<end) else { return nil }
            left -= end - sentOfFrame
            sentOfFrame = end
            isMidUnit = end < burst.packetCount
            guard !isMidUnit else { continue }
            frame += 1
            sentOfFrame = 0
            flow = .catchingUp(frame: frame)
            if let pace, let next = window.burst(frame: frame) {
                return Self.pause(next.decodeTime &- burst.decodeTime, pace: pace)
            }
        }
        return Limits.pauseInCatchUp
    }

    /// Until the next frame of a replay.
    private static func pause(_ ticks: Int64, pace: Int64) -> Duration {
        let ticks = min(max(ticks, 0), Limits.longestReplay) / pace
        return .microseconds(ticks * 100 / 9)
    }

    /// Sends a part of a burst as it comes.
    package func follow(_ burst: PacketBurst, _ packets: Range<Int>) {
        switch flow {
        case .live(let from) where burst.frame >= from:
            if burst.isRandomAccessPoint { hasLostPicture = false }
            isMidUnit = write(burst, packets) && packets.upperBound < burst.packetCount
        case .waiting where burst.isRandomAccessPoint && packets.lowerBound == 0 && path.isReady:
            beginStretch(at: burst.firstPacket, nil, shift: shift(rising: burst.decodeTime))
            hasLostPicture = false
            flow = .live(from: burst.frame)
            isMidUnit = write(burst, packets) && packets.upperBound < burst.packetCount
        case .live, .waiting, .catchingUp:
            break
        }
    }

    /// The camera was interrupted: what comes next is no continuation.
    package func interrupted() {
        flow = .waiting
        isMidUnit = false
    }

    private func beginStretch(at packet: Int64, _ haste: Haste?, shift: Int64) {
        if stretches.count == Limits.stretches { stretches.removeFirst() }
        stretches.append(
            Stretch(
                source: source, firstIndex: nextIndex, firstPacket: packet, haste: haste,
                shift: shift))
    }

    /// What a camera's time has to be moved by to come after all that the viewer has.
    private func shift(rising time: Int64) -> Int64 {
        lastTime.map { max(0, $0 &+ 1 &- time) } ?? 0
    }

    // MARK: Feedback

    /// The viewer lost its picture (RFC 4585 §6.3.1). What it says just after a replay began was said
    /// before it saw any of it.
    package func lostPicture(at now: Instant) {
        if let lastReplay, now - lastReplay < Limits.replayEcho { return }
        hasLostPicture = true
    }

    /// When a lost picture may be answered; `nil` when none is lost. A viewer does not always ask twice.
    package var replayDue: Instant? {
        guard hasLostPicture else { return nil }
        return lastReplay.map { $0 + Limits.replayInterval } ?? Instant(nanoseconds: .min)
    }

    /// Whether a lost picture is to be answered by a replay now, and takes note that it is.
    package func takeReplay(at now: Instant) -> Bool {
        guard flow != .waiting, let replayDue, replayDue <= now else { return false }
        hasLostPicture = false
        lastReplay = now
        counts.replays &+= 1
        return true
    }

    /// Resends what the viewer misses, within its budget (RFC 4585 §6.2.1, RFC 4588). What was lost before
    /// a change to another stream is not missed: that begins with a keyframe.
    package func resend(_ lost: [SequenceNumber], from window: BurstWindow) {
        guard path.isReady else { return }
        for number in lost {
            let behind = UInt16(truncatingIfNeeded: nextIndex) &- number.rawValue
            let index = nextIndex - Int64(behind)
            guard behind > 0, index >= 0,
                let place = stretches.lastIndex(where: { $0.firstIndex <= index })
            else { continue }
            let stretch = stretches[place]
            guard stretch.source == source else { continue }
            let packet = stretch.firstPacket + (index - stretch.firstIndex)
            guard let burst = window.burst(packet: packet) else { continue }
            let number = Int(packet - burst.firstPacket)
            let bytes = Double(burst.range(of: number).count)
            guard resendBudget >= bytes else {
                counts.resendsRefused &+= 1
                return
            }
            resendBudget -= bytes
            resend(burst, number, index, rtpTime(stretch.time(of: burst)))
        }
    }

    private func resend(_ burst: PacketBurst, _ packet: Int, _ index: Int64, _ time: UInt32) {
        guard let base = scratch.baseAddress else { return }
        let isLast = packet == burst.packetCount - 1
        let written = burst.payloads.withUnsafeReadableBytes { payloads in
            let payload = UnsafeRawBufferPointer(rebasing: payloads[burst.range(of: packet)])
            guard let rtx = format.rtxPayloadType else {
                // The same index, bytes and keys give the identical packet.
                return sealer.seal(
                    marker: isLast, payloadType: format.payloadType,
                    index: UInt64(bitPattern: index), timestamp: time, ssrc: format.ssrc.rawValue,
                    payload: payload, into: base)
            }
            resendIndex &+= 1
            return resendSealer.seal(
                marker: isLast, payloadType: rtx, index: UInt64(bitPattern: resendIndex),
                timestamp: time, ssrc: format.rtxSSRC.rawValue,
                prefix: UInt16(truncatingIfNeeded: index), payload: payload, into: base)
        }
        guard written > 0 else { return }
        let bytes = UnsafeRawBufferPointer(start: base, count: written)
        if path.send(bytes, segment: 0) == .sent { counts.resends &+= 1 }
    }

    /// What the stream's own source says of it (RFC 3550 §6.4.1).
    package func senderReport(at wallTime: WallTime, decodeTime: Int64) -> SenderReport {
        let shift = stretches.last?.shift ?? 0
        return SenderReport(
            ssrc: format.ssrc, ntpTime: NTPTimestamp(wallTime),
            rtpTime: RTPTimestamp(rawValue: rtpTime(decodeTime &+ shift)),
            packetCount: UInt32(truncatingIfNeeded: counts.packets),
            octetCount: UInt32(truncatingIfNeeded: counts.bytes))
    }

    // MARK: Sending

    private func rtpTime(_ time: Int64) -> UInt32 {
        UInt32(truncatingIfNeeded: time) &+ timeOffset
    }

    /// Seals packets of a burst and sends them in as few calls as their sizes allow: all datagrams of a
    /// segmented send are of one size, but for the last. False when the viewer has to begin anew.
    private func write(_ burst: PacketBurst, _ packets: Range<Int>) -> Bool {
        guard let stretch = stretches.last, let base = scratch.baseAddress, !packets.isEmpty else {
            return true
        }
        let mediaTime = stretch.time(of: burst)
        lastTime = mediaTime
        let time = rtpTime(mediaTime)
        var index =
            stretch.firstIndex + (burst.firstPacket - stretch.firstPacket)
            + Int64(packets.lowerBound)
        let overhead = SRTPSealer.headerBytes + sealer.tagBytes
        let isDelivered = burst.payloads.withUnsafeReadableBytes { payloads in
            var used = 0
            var count = 0
            var segment = 0
            for packet in packets {
                let range = burst.range(of: packet)
                let size = range.count + overhead
                let isFull = count == Limits.segments || used + size > Limits.segmentedBytes
                if used > 0, size > segment || isFull {
                    guard flush(base, used, segment) else { return false }
                    used = 0
                    count = 0
                }
                if used == 0 { segment = size }
                let written = sealer.seal(
                    marker: packet == burst.packetCount - 1, payloadType: format.payloadType,
                    index: UInt64(bitPattern: index), timestamp: time, ssrc: format.ssrc.rawValue,
                    payload: UnsafeRawBufferPointer(rebasing: payloads[range]), into: base + used)
                guard written > 0 else { return false }
                used += written
                count += 1
                index += 1
                if written < segment {
                    guard flush(base, used, segment) else { return false }
                    used = 0
                    count = 0
                }
            }
            return used == 0 || flush(base, used, segment)
        }
        nextIndex = index
        counts.packets &+= UInt64(packets.count)
        guard !isDelivered else { return true }
        // What is lost here is lost to the whole group of pictures: the next keyframe mends it, and
        // until then nothing is sent into a full buffer.
        counts.congestions &+= 1
        flow = .waiting
        return false
    }

    private func flush(_ base: UnsafeMutableRawPointer, _ count: Int, _ segment: Int) -> Bool {
        counts.bytes &+= UInt64(count)
        resendBudget = min(
            resendBudget + Double(count) * Limits.resendShare, Limits.resendBytes)
        let bytes = UnsafeRawBufferPointer(start: base, count: count)
        // A failure that is this viewer's alone (its network is unreachable) is left to its consent.
        return path.send(bytes, segment: segment) != .congested
    }
}
