// A camera's sound on its way to the loops that have listeners.
// SPDX-License-Identifier: Apache-2.0

import Domain
import Primitives
import RTP
import RTPFormats

/// Keeps times rising over a camera's connections, and hands packets on. A value of the camera's loop.
struct LiveSound {
    /// Of the newest packet; `nil` where no sound ever came.
    private(set) var codec: AudioCodec?
    private var loops: [LiveLoop.Handle] = []
    private var offset: Int64 = 0
    private var last: (time: Int64, at: Instant)?

    private static let longestPause = Duration.seconds(5)

    mutating func receive(_ packet: AudioPacket, of camera: CameraID, at now: Instant) {
        var packet = packet
        packet.time = time(packet, at: now)
        codec = packet.codec
        for loop in loops { loop.run { [packet] in $0.listeners.receive(packet, of: camera) } }
    }

    mutating func listen(from loop: LiveLoop.Handle) {
        guard !loops.contains(where: { $0.index == loop.index }) else { return }
        loops.append(loop)
    }

    mutating func unlisten(from loop: LiveLoop.Handle) {
        loops.removeAll { $0.index == loop.index }
    }

    mutating func end() { loops = [] }

    /// A time that goes back or jumps is that of a new connection, or of a clock that was set: it goes
    /// on where the old one would be by now.
    private mutating func time(_ packet: AudioPacket, at now: Instant) -> Int64 {
        let rate = Int64(packet.codec.clockRate)
        guard let last, packet.codec == codec else {
            last = (packet.time &+ offset, now)
            return packet.time &+ offset
        }
        let step = packet.time &+ offset &- last.time
        let elapsed = min(max(now - last.at, .zero), .seconds(86_400)).saturatingNanoseconds
        let expected = elapsed / 1_000_000 * rate / 1000
        let slack = Self.longestPause.components.seconds * rate
        var time = last.time &+ step
        if step <= 0 || step > expected + slack {
            time = last.time &+ max(expected, 1)
            offset = time &- packet.time
        }
        self.last = (time, now)
        return time
    }
}
