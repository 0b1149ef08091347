// The hub of one camera: every access unit once, in order, to each of its consumers.
// SPDX-License-Identifier: Apache-2.0

package import Domain
package import H26x
import NIOCore
package import Primitives
package import RTPFormats
import Synchronization

/// What takes a camera's access units, on the camera's event loop. A sink never blocks and never fails:
/// one that cannot keep up drops whole groups of pictures itself and counts them.
package struct FeedSink {
    package var onAccessUnit: (AccessUnit, ParameterSets, Instant) -> Void
    package var onInterruption: (GapReason, Instant) -> Void
    /// The camera is given up: finish what is open.
    package var onEnd: () -> Void
    /// Takes the camera's sound, where it is wanted; most sinks are deaf.
    package var onAudio: ((AudioPacket, Instant) -> Void)?

    package init(
        onAccessUnit: @escaping (AccessUnit, ParameterSets, Instant) -> Void,
        onInterruption: @escaping (GapReason, Instant) -> Void,
        onEnd: @escaping () -> Void
    ) {
        self.onAccessUnit = onAccessUnit
        self.onInterruption = onInterruption
        self.onEnd = onEnd
    }
}

/// What other threads may read of a camera: its state, and its last keyframe.
package final class CameraStatus: Sendable {
    package struct Contents: Sendable {
        package var stream = StreamState()
        package var keyframe: AccessUnit?
        package var parameterSets: ParameterSets?
    }

    private let contents = Mutex(Contents())

    package init() {}

    package func read() -> Contents { contents.withLock { $0 } }

    func update(_ change: (inout Contents) -> Void) { contents.withLock { change(&$0) } }
}

/// Fan-out, the cache of the present group of pictures, and the last frame. Lives on one event loop.
package final class CameraFeed {
    private let status: CameraStatus
    private var sinks: [FeedSink]
    private var frames: UInt64 = 0
    private var windowBytes = 0
    private var windowStart: Instant?

    package init(status: CameraStatus, sinks: [FeedSink]) {
        self.status = status
        self.sinks = sinks
    }

    package func publish(_ unit: AccessUnit, _ parameterSets: ParameterSets, at now: Instant) {
        frames &+= 1
        windowBytes &+= unit.avcc.readableBytes
        for sink in sinks { sink.onAccessUnit(unit, parameterSets, now) }
        // The lock is taken at keyframes, not at each frame: nobody reads states more often.
        if unit.isRandomAccessPoint { publishStatus(unit, parameterSets, at: now) }
    }

    func publish(_ audio: AudioPacket, at now: Instant) {
        for sink in sinks { sink.onAudio?(audio, now) }
    }

    func interrupted(_ reason: GapReason, at now: Instant) {
        windowStart = nil
        for sink in sinks { sink.onInterruption(reason, now) }
        status.update {
            if $0.stream.frames > 0 { $0.stream.gaps &+= 1 }
            $0.stream.bitsPerSecond = 0
        }
    }

    func end() {
        for sink in sinks { sink.onEnd() }
        sinks = []
    }

    private func publishStatus(_ unit: AccessUnit, _ sets: ParameterSets, at now: Instant) {
        var bitsPerSecond: Int?
        if let start = windowStart {
            let seconds = (now - start).inSeconds
            if seconds > 0.1 { bitsPerSecond = Int(Double(windowBytes) * 8 / seconds) }
        }
        windowStart = now
        windowBytes = 0
        let frames = frames
        status.update {
            $0.stream.frames = frames
            $0.stream.lastFrameAt = unit.wallTime
            if let bitsPerSecond { $0.stream.bitsPerSecond = bitsPerSecond }
            $0.stream.width = sets.sequence.width
            $0.stream.height = sets.sequence.height
            $0.stream.codec = sets.sequence.codecString
            // No picture is better than an old one under the name of the present.
            let isKept = unit.avcc.readableBytes <= Limits.keyframeBytes
            $0.keyframe = isKept ? unit : nil
            $0.parameterSets = isKept ? sets : nil
        }
    }
}
