// What a load of live viewers found, as it is printed.
// SPDX-License-Identifier: Apache-2.0

import Primitives
import Synchronization

/// The result of `marsad bench live`.
package struct ViewerReport: Encodable, Sendable {
    /// Milliseconds.
    package struct Spread: Encodable, Sendable {
        var p50: Double?
        var p99: Double?
        var max: Double?

        init(_ histogram: LatencyHistogram) {
            p50 = histogram.quantile(0.5).map(milliseconds)
            p99 = histogram.quantile(0.99).map(milliseconds)
            max = histogram.longest.map(milliseconds)
        }
    }

    /// From the first POST of the offer on.
    package struct JoinSpread: Encodable, Sendable {
        var answer: Spread
        var selected: Spread
        var connected: Spread
        var first_packet: Spread
        var first_frame: Spread
    }

    package struct Server: Encodable, Sendable {
        var cpu_cores: Double
        var cpu_percent_per_viewer: Double?
        var rss_mb_start: Double
        var rss_mb_end: Double
        var rss_mb_peak: Double
        var fds_start: Int
        var fds_end: Int
    }

    package struct Client: Encodable, Sendable {
        var cpu_cores: Double
        var rss_mb: Double
    }

    var viewers = 0
    var cameras = 0
    package var joined = 0
    package var failed: [String: Int] = [:]
    /// How often the server asked a joining viewer to come again.
    var retries = 0
    var heartbeats_refused = 0
    var seconds = 0.0
    var packets = 0
    var bytes = 0
    var packets_per_second = 0.0
    var bits_per_second_per_viewer = 0.0
    package var lost = 0
    var duplicated = 0
    var reordered = 0
    var recovered = 0
    var dropped_on_purpose = 0
    var requested_again = 0
    var refused = 0
    var sequence_restarts = 0
    package var frames = 0
    package var frames_missing = 0
    package var frames_damaged = 0
    var frames_repeated = 0
    var frames_unstamped = 0
    var frames_foreign = 0
    var frames_checked = 0
    var frames_per_viewer_least: Int?
    var frames_per_viewer_most: Int?
    var time_reversals = 0
    var longest_pause_ms = 0.0
    var latency_ms = Spread(LatencyHistogram())
    var join_ms: JoinSpread?
    var server: Server?
    var client: Client?
    var kernel_receive_drops = 0

    mutating func take(_ tally: LiveTally) {
        packets = tally.packets
        bytes = tally.bytes
        lost = tally.lost
        duplicated = tally.duplicated
        reordered = tally.reordered
        recovered = tally.recovered
        dropped_on_purpose = tally.dropped
        requested_again = tally.requested
        refused = tally.refused
        sequence_restarts = tally.restarts
        frames = tally.frames
        frames_missing = tally.framesMissing
        frames_damaged = tally.framesDamaged
        frames_repeated = tally.framesRepeated
        frames_unstamped = tally.framesUnstamped
        frames_foreign = tally.framesForeign
        frames_checked = tally.framesChecked
        time_reversals = tally.timeReversals
        longest_pause_ms = milliseconds(tally.longestPause)
        latency_ms = Spread(tally.latency)
    }

    mutating func take(_ joins: JoinLog.Counts) {
        joined = joins.joined
        failed = joins.failed
        retries = joins.retries
        heartbeats_refused = joins.heartbeatsRefused
        join_ms = JoinSpread(
            answer: Spread(joins.answer), selected: Spread(joins.selected),
            connected: Spread(joins.connected), first_packet: Spread(joins.firstPacket),
            first_frame: Spread(joins.firstFrame))
    }

    /// What was spent between two samples.
    mutating func take(
        server start: ProcessSample?, _ end: ProcessSample?, viewers: Int?
    ) {
        guard let start, let end, seconds > 0 else { return }
        let cores = (end.cpuSeconds - start.cpuSeconds) / seconds
        server = Server(
            cpu_cores: rounded(cores, 4),
            cpu_percent_per_viewer: viewers.flatMap {
                $0 > 0 ? rounded(100 * cores / Double($0), 4) : nil
            },
            rss_mb_start: rounded(start.residentMegabytes, 1),
            rss_mb_end: rounded(end.residentMegabytes, 1),
            rss_mb_peak: rounded(end.peakMegabytes, 1), fds_start: start.descriptors,
            fds_end: end.descriptors)
    }

    mutating func take(client start: ProcessSample?, _ end: ProcessSample?) {
        guard let start, let end, seconds > 0 else { return }
        client = Client(
            cpu_cores: rounded((end.cpuSeconds - start.cpuSeconds) / seconds, 4),
            rss_mb: rounded(end.residentMegabytes, 1))
    }
}

func rounded(_ value: Double, _ digits: Int) -> Double {
    var scale = 1.0
    for _ in 0..<digits { scale *= 10 }
    return (value * scale).rounded() / scale
}

private func milliseconds(_ duration: Duration) -> Double {
    rounded(Double(duration.saturatingNanoseconds) / 1e6, 2)
}

/// How the joins went; many tasks write it.
final class JoinLog: Sendable {
    struct Counts: Sendable {
        var joined = 0
        var failed: [String: Int] = [:]
        var retries = 0
        var heartbeatsRefused = 0
        /// Viewers that are done, well or badly.
        var finished = 0
        var answer = LatencyHistogram()
        var selected = LatencyHistogram()
        var connected = LatencyHistogram()
        var firstPacket = LatencyHistogram()
        var firstFrame = LatencyHistogram()
    }

    private let state = Mutex(Counts())

    var counts: Counts { state.withLock { $0 } }

    func joined(since start: Instant, _ steps: LiveViewer.Milestones, retries: Int) {
        state.withLock { counts in
            counts.joined += 1
            counts.retries += retries
            if let at = steps.answered { counts.answer.record(at - start) }
            if let at = steps.selected { counts.selected.record(at - start) }
            if let at = steps.connected { counts.connected.record(at - start) }
            if let at = steps.firstPacket { counts.firstPacket.record(at - start) }
            if let at = steps.firstFrame { counts.firstFrame.record(at - start) }
        }
    }

    func failed(_ reason: String) { state.withLock { $0.failed[reason, default: 0] += 1 } }

    func finished() { state.withLock { $0.finished += 1 } }

    func heartbeatRefused() { state.withLock { $0.heartbeatsRefused += 1 } }
}
