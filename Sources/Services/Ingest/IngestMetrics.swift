// The metrics of ingest, by their contract names.
// SPDX-License-Identifier: Apache-2.0

import Domain
import Observability
import Synchronization

/// Handles are made once for each label set and kept: the packet path only adds to atomics.
final class IngestMetrics: Sendable {
    private struct Handles {
        var bytes: [Source: Counter] = [:]
        var failures: [String: Counter] = [:]
        var discarded: [String: Counter] = [:]
        var restamped: [Source: Counter] = [:]
    }

    private let handles = Mutex(Handles())
    private let registry: MetricsRegistry

    init(registry: MetricsRegistry) { self.registry = registry }

    func bytes(_ source: Source) -> Counter {
        handles.withLock { handles in
            if let known = handles.bytes[source] { return known }
            let counter = registry.counter(
                "cctv_ingest_bytes_total", help: "Video bytes received from cameras.",
                labels: ["source": source.rawValue])
            handles.bytes[source] = counter
            return counter
        }
    }

    func restamped(_ source: Source) -> Counter {
        handles.withLock { handles in
            if let known = handles.restamped[source] { return known }
            let counter = registry.counter(
                "cctv_ingest_restamped_total",
                help: "Frames given another time, because their camera's clock jumped.",
                labels: ["source": source.rawValue])
            handles.restamped[source] = counter
            return counter
        }
    }

    func failures(_ source: Source, _ kind: CameraFailure.Kind) -> Counter {
        handles.withLock { handles in
            let key = source.rawValue + "/" + kind.rawValue
            if let known = handles.failures[key] { return known }
            let counter = registry.counter(
                "cctv_ingest_failures_total",
                help: "Ended or failed camera connections, by reason.",
                labels: ["source": source.rawValue, "reason": kind.rawValue])
            handles.failures[key] = counter
            return counter
        }
    }

    func discarded(_ source: Source, _ reason: DiscardReason) -> Counter {
        handles.withLock { handles in
            let key = source.rawValue + "/" + reason.rawValue
            if let known = handles.discarded[key] { return known }
            let counter = registry.counter(
                "cctv_ingest_discarded_total",
                help: "Packets and units of cameras not used, by reason.",
                labels: ["source": source.rawValue, "reason": reason.rawValue])
            handles.discarded[key] = counter
            return counter
        }
    }
}
