// Which of a camera's streams a viewer should have: a value without sockets or clocks.
// SPDX-License-Identifier: Apache-2.0

package import Domain
package import Primitives

/// Judges one viewer's network by what the viewer reports and what its socket takes.
///
/// Down: too much loss, or too low a bitrate, for three seconds; or two groups of pictures cut short
/// within ten. Up again after a time without any of these, which doubles when it was too short.
package struct QualityPolicy: Sendable {
    package private(set) var wanted: CameraStream
    private let quality: StreamQuality
    private var patience = Limits.firstPatience
    private var lossSince: Instant?
    private var shortageSince: Instant?
    private var receivable: UInt64?
    private var congestedAt: Instant?
    /// The newest sign that the network carries less than it is given.
    private var trouble: Instant
    private var cameUp: Instant?

    package init(_ quality: StreamQuality, hasSub: Bool, at now: Instant) {
        // With one stream there is nothing to choose.
        self.quality = hasSub ? quality : .high
        trouble = now
        switch self.quality {
        case .auto, .high: wanted = .main
        case .medium, .low: wanted = .sub
        }
    }

    /// The share of packets that a report says were lost, 0…1.
    package mutating func lost(_ ratio: Double, at now: Instant) {
        guard ratio > Limits.lossThatHurts else {
            lossSince = nil
            return
        }
        trouble = now
        let since = lossSince ?? now
        lossSince = since
        if now - since >= Limits.badTime { moveDown(at: now) }
    }

    /// What the viewer says it can take.
    ///
    /// An estimate that grows is no sign of a shortage: after a change it follows what is sent, a few
    /// per cent a second.
    /// - Parameter needed: bits a second of the stream that the viewer has.
    package mutating func canReceive(_ bitsPerSecond: UInt64, needed: Int, at now: Instant) {
        let isGrowing = bitsPerSecond > receivable ?? 0
        receivable = bitsPerSecond
        guard bitsPerSecond < UInt64(clamping: needed), !isGrowing else {
            shortageSince = nil
            return
        }
        trouble = now
        let since = shortageSince ?? now
        shortageSince = since
        if now - since >= Limits.badTime { moveDown(at: now) }
    }

    /// A group of pictures was cut short because the viewer's socket was full.
    package mutating func congested(at now: Instant) {
        trouble = now
        if let congestedAt, now - congestedAt <= Limits.congestionWindow { moveDown(at: now) }
        congestedAt = now
    }

    /// The camera's sub-stream is gone for now.
    package mutating func subInterrupted(at now: Instant) {
        guard wanted == .sub, quality != .low else { return }
        moveUp(at: now)
    }

    package mutating func advance(to now: Instant) {
        switch (quality, wanted) {
        case (.auto, .sub) where now - trouble >= patience:
            moveUp(at: now)
        case (.medium, .main) where now - (cameUp ?? now) >= patience:
            wanted = .sub
        case (.auto, _), (.high, _), (.medium, _), (.low, _):
            break
        }
    }

    private mutating func moveUp(at now: Instant) {
        wanted = .main
        cameUp = now
        forgetSigns()
    }

    private mutating func moveDown(at now: Instant) {
        guard quality == .auto, wanted == .main else { return }
        let wasTooSoon = cameUp.map { now - $0 < Limits.timeToProve } ?? false
        patience =
            wasTooSoon ? min(patience * 2, Limits.longestPatience) : Limits.firstPatience
        wanted = .sub
        trouble = now
        forgetSigns()
    }

    private mutating func forgetSigns() {
        lossSince = nil
        shortageSince = nil
        receivable = nil
        congestedAt = nil
    }
}
