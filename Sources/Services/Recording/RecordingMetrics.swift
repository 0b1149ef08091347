// The metrics of recording, by their contract names.
// SPDX-License-Identifier: Apache-2.0

import Domain
import Observability

struct RecordingMetrics: Sendable {
    private let registry: MetricsRegistry

    init(registry: MetricsRegistry) { self.registry = registry }

    func segments(_ source: Source) -> Counter {
        registry.counter(
            "cctv_recording_segments_total", help: "Segments closed and indexed.",
            labels: ["source": source.rawValue])
    }

    func lost(_ reason: GapReason) -> Counter {
        registry.counter(
            "cctv_recording_lost_seconds_total", help: "Seconds without a recording, by reason.",
            labels: ["reason": reason.rawValue])
    }

    func storage(used: UInt64, capacity: UInt64) {
        let labels = ["backend": "FILESYSTEM"]
        registry.gauge(
            "cctv_storage_used_bytes", help: "Bytes in use on the volume of recordings.",
            labels: labels
        ).set(Double(used))
        registry.gauge(
            "cctv_storage_capacity_bytes", help: "Bytes of the volume of recordings.",
            labels: labels
        ).set(Double(capacity))
    }
}
