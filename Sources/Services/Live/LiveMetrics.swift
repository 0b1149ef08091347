// The metrics of live viewing, by their contract names.
// SPDX-License-Identifier: Apache-2.0

import Domain
import Observability
import RTPFormats
import Synchronization
import WebRTC

/// Handles are made once; what sessions counted is added every few seconds and when they end.
final class LiveMetrics: Sendable {
    /// Why a datagram was passed over in silence.
    enum Discard: String, CaseIterable {
        case unknownAddress = "unknown_address"
        case unknownSession = "unknown_session"
        case ice
        case srtp
        case unexpected
        case malformedReport = "malformed_report"
    }

    /// Why a TCP connection was closed.
    enum Refusal: String, CaseIterable {
        case limit
        /// No check came in time.
        case silent
        case malformed
        case unknownSession = "unknown_session"
    }

    /// What a publisher's stream counted.
    struct Reception: Equatable {
        var received: UInt64 = 0
        var lost: UInt64 = 0
        var requested: UInt64 = 0
        var keyframes: UInt64 = 0
    }

    private let registry: MetricsRegistry
    private let connected: Gauge
    private let connecting: Gauge
    private let packets: Counter
    private let resends: Counter
    private let congestions: Counter
    private let switches: [CameraStream: Counter]
    private let refusedResends: Counter
    private let replays: Counter
    private let lossRatio: Gauge
    private let losses = Mutex((sum: 0.0, viewers: 0))
    private let received: Counter
    private let lost: Counter
    private let requested: Counter
    private let keyframes: Counter
    private let transcoding: Gauge
    private let transcodesDropped: Counter
    private let transcodesFailed: Counter
    private let discards: [Discard: Counter]
    private let connections: Gauge
    private let refusals: [Refusal: Counter]

    init(registry: MetricsRegistry) {
        self.registry = registry
        func sessions(_ state: String) -> Gauge {
            registry.gauge(
                "cctv_webrtc_sessions", help: "WebRTC sessions, by state.",
                labels: ["state": state])
        }
        connected = sessions("connected")
        connecting = sessions("connecting")
        packets = registry.counter(
            "cctv_webrtc_packets_sent_total", help: "RTP packets sent to viewers, without resends.")
        resends = registry.counter(
            "cctv_webrtc_retransmits_total", help: "RTP packets resent on request.")
        congestions = registry.counter(
            "cctv_webrtc_congestions_total",
            help: "Groups of pictures cut short because the socket was full.")
        func switches(_ direction: String) -> Counter {
            registry.counter(
                "cctv_webrtc_quality_switches_total",
                help: "Viewers moved to a camera's sub-stream (down) and back (up).",
                labels: ["direction": direction])
        }
        self.switches = [.main: switches("up"), .sub: switches("down")]
        refusedResends = registry.counter(
            "cctv_webrtc_retransmits_refused_total",
            help: "Requests for resends cut short because a viewer asked for too much.")
        replays = registry.counter(
            "cctv_webrtc_replays_total",
            help: "Groups of pictures sent again to viewers that lost their picture.")
        lossRatio = registry.gauge(
            "cctv_webrtc_loss_ratio",
            help: "Packets lost on the way to viewers, 0 to 1: the mean of their newest reports.")
        received = registry.counter(
            "cctv_webrtc_packets_received_total",
            help: "RTP packets received from publishers.")
        lost = registry.counter(
            "cctv_webrtc_packets_lost_total",
            help: "RTP packets of publishers that never came, resends included.")
        requested = registry.counter(
            "cctv_webrtc_resends_requested_total", help: "RTP packets asked of publishers again.")
        keyframes = registry.counter(
            "cctv_webrtc_keyframes_requested_total", help: "Keyframes asked of publishers.")
        transcoding = registry.gauge(
            "cctv_live_transcodes", help: "Streams that are transcoded for live viewers.")
        transcodesDropped = registry.counter(
            "cctv_live_transcode_dropped_total",
            help: "Access units left out because too many waited to be transcoded.")
        transcodesFailed = registry.counter(
            "cctv_live_transcode_failed_total", help: "Access units that could not be transcoded.")
        discards = Dictionary(
            uniqueKeysWithValues: Discard.allCases.map { reason in
                let counter = registry.counter(
                    "cctv_webrtc_discarded_total", help: "Datagrams not used, by reason.",
                    labels: ["reason": reason.rawValue])
                return (reason, counter)
            })
        connections = registry.gauge(
            "cctv_webrtc_connections", help: "Open TCP connections of WebRTC sessions.")
        refusals = Dictionary(
            uniqueKeysWithValues: Refusal.allCases.map { reason in
                let counter = registry.counter(
                    "cctv_webrtc_connections_refused_total",
                    help: "TCP connections closed by this end, by reason.",
                    labels: ["reason": reason.rawValue])
                return (reason, counter)
            })
    }

    func sessions(total: Int, handshakes: Int) {
        connected.set(Double(total - handshakes))
        connecting.set(Double(handshakes))
    }

    func transcodes(_ count: Int) { transcoding.set(Double(count)) }

    func transcodeDropped() { transcodesDropped.increment() }

    func transcodeFailed() { transcodesFailed.increment() }

    func switched(to stream: CameraStream) { switches[stream]?.increment() }

    func discarded(_ reason: Discard) { discards[reason]?.increment() }

    func connections(_ count: Int) { connections.set(Double(count)) }

    func refused(_ reason: Refusal) { refusals[reason]?.increment() }

    func ended(_ reason: PeerEnd) {
        registry.counter(
            "cctv_webrtc_sessions_ended_total", help: "Ended WebRTC sessions, by reason.",
            labels: ["reason": reason.label]
        ).increment()
    }

    func add(_ counts: ViewerStream.Counts, since last: ViewerStream.Counts) {
        packets.increment(by: counts.packets &- last.packets)
        resends.increment(by: counts.resends &- last.resends)
        refusedResends.increment(by: counts.resendsRefused &- last.resendsRefused)
        congestions.increment(by: counts.congestions &- last.congestions)
        replays.increment(by: counts.replays &- last.replays)
    }

    func add(_ counts: Reception, since last: Reception) {
        received.increment(by: counts.received &- last.received)
        lost.increment(by: counts.lost &- last.lost)
        requested.increment(by: counts.requested &- last.requested)
        keyframes.increment(by: counts.keyframes &- last.keyframes)
    }

    /// A viewer's newest report of its loss, in place of the one before; `nil` before the first, and
    /// after its end.
    func loss(from last: Double?, to newest: Double?) {
        guard last != newest else { return }
        let mean = losses.withLock { losses in
            losses.sum += (newest ?? 0) - (last ?? 0)
            losses.viewers += (newest == nil ? 0 : 1) - (last == nil ? 0 : 1)
            return losses.viewers > 0 ? max(0, losses.sum / Double(losses.viewers)) : 0
        }
        lossRatio.set(mean)
    }

    func add(_ counts: PeerSession.Discards) {
        discards[.ice]?.increment(by: counts.ice.values.reduce(0, &+))
        discards[.srtp]?.increment(by: counts.srtp.values.reduce(0, &+))
        discards[.unexpected]?.increment(by: counts.unexpected)
        discards[.malformedReport]?.increment(by: counts.malformedReports)
    }
}

extension LiveMetrics.Reception {
    init(_ stream: PublisherStream) {
        self.init(
            received: stream.received, lost: stream.lost, requested: stream.requested,
            keyframes: stream.keyframesRequested)
    }
}

extension PeerEnd {
    fileprivate var label: String {
        switch self {
        case .closed: "closed"
        case .left: "left"
        case .neverCame: "never_came"
        case .vanished: "vanished"
        case .refused(.fingerprintMismatch): "fingerprint_mismatch"
        case .refused: "handshake_failed"
        }
    }
}
