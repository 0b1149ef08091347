// The metrics of live viewing, by their contract names.
// SPDX-License-Identifier: Apache-2.0

import Domain
import Observability
import RTPFormats
import WebRTC

/// Handles are made once; what a session counted is added when it ends.
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

    private let registry: MetricsRegistry
    private let connected: Gauge
    private let connecting: Gauge
    private let packets: Counter
    private let resends: Counter
    private let congestions: Counter
    private let switches: [CameraStream: Counter]
    private let received: Counter
    private let lost: Counter
    private let requested: Counter
    private let keyframes: Counter
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
            "cctv_webrtc_packets_sent_total", help: "RTP packets sent to viewers that have left.")
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
        received = registry.counter(
            "cctv_webrtc_packets_received_total",
            help: "RTP packets received from publishers that have left.")
        lost = registry.counter(
            "cctv_webrtc_packets_lost_total",
            help: "RTP packets of publishers that never came, resends included.")
        requested = registry.counter(
            "cctv_webrtc_resends_requested_total", help: "RTP packets asked of publishers again.")
        keyframes = registry.counter(
            "cctv_webrtc_keyframes_requested_total", help: "Keyframes asked of publishers.")
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

    func add(_ stream: ViewerStream) {
        packets.increment(by: stream.packetsSent)
        resends.increment(by: stream.resent)
        congestions.increment(by: stream.congestions)
    }

    func add(_ stream: PublisherStream) {
        received.increment(by: stream.received)
        lost.increment(by: stream.lost)
        requested.increment(by: stream.requested)
        keyframes.increment(by: stream.keyframesRequested)
    }

    func add(_ counts: PeerSession.Discards) {
        discards[.ice]?.increment(by: counts.ice.values.reduce(0, &+))
        discards[.srtp]?.increment(by: counts.srtp.values.reduce(0, &+))
        discards[.unexpected]?.increment(by: counts.unexpected)
        discards[.malformedReport]?.increment(by: counts.malformedReports)
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
