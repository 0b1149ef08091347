// The metrics of the quota, by their contract names.
// SPDX-License-Identifier: Apache-2.0

import Domain
package import Observability

/// Sources are data of the installation: few, and none of a caller's making.
struct QuotaMetrics: Sendable {
    /// What became of a wish for a seat.
    enum Status: String, CaseIterable {
        case granted
        case joined
        case sourceFull = "source_full"
        case totalFull = "total_full"
        case degraded
        case unavailable
        case released
        case preempted
    }

    private struct Key: Hashable {
        var source: Source
        var status: Status
    }

    private let registry: MetricsRegistry
    private let wishes: MetricHandles<Key, Counter>

    init(registry: MetricsRegistry) {
        self.registry = registry
        wishes = MetricHandles { key in
            registry.counter(
                "cctv_stream_reservations_total", help: "Wishes for a live stream, by outcome.",
                labels: ["source": key.source.rawValue, "status": key.status.rawValue])
        }
    }

    func count(_ source: Source, _ status: Status) {
        wishes[Key(source: source, status: status)].increment()
        guard status == .sourceFull || status == .totalFull else { return }
        registry.counter(
            "cctv_stream_limit_hits_total", help: "Live streams refused for want of a seat.",
            labels: ["source": source.rawValue]
        ).increment()
    }

    func set(_ report: SeatReport) {
        for usage in report.sources {
            let labels = ["source": usage.source.rawValue]
            registry.gauge(
                "cctv_streams_active", help: "Seats taken by live streams.", labels: labels
            ).set(Double(usage.current))
            if let limit = usage.limit {
                registry.gauge("cctv_streams_limit", help: "Seats there are.", labels: labels)
                    .set(Double(limit))
            } else {
                registry.remove("cctv_streams_limit", labels: labels)
            }
        }
    }
}

/// How long Valkey takes, and whether it is asked at all.
package struct ValkeyMetrics: Sendable {
    private let registry: MetricsRegistry
    private let durations: MetricHandles<String, Histogram>

    package init(registry: MetricsRegistry) {
        self.registry = registry
        durations = MetricHandles { operation in
            registry.histogram(
                "cctv_valkey_operation_duration_seconds", help: "Time of an operation in Valkey.",
                labels: ["operation": operation])
        }
    }

    package func observe(_ operation: String, _ duration: Duration) {
        durations[operation].observe(duration)
    }

    /// - Parameter state: 0 closed, 1 open, 2 half open.
    package func setCircuit(_ state: Int) {
        registry.gauge(
            "cctv_circuit_breaker_state", help: "0 closed, 1 open, 2 half open.",
            labels: ["name": "valkey"]
        ).set(Double(state))
    }
}
