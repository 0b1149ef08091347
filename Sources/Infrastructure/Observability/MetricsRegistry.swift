// The families of metrics and their text for Prometheus.
// SPDX-License-Identifier: Apache-2.0
import Synchronization

/// Hands out metrics by name and labels, and renders them all. On the packet path look a handle up once
/// and keep it: looking up takes a lock, moving a handle does not.
package final class MetricsRegistry: Sendable {
    /// The most label sets a family may have: a label with unbounded values would otherwise take
    /// the memory. What comes after works and is not rendered.
    package static let maxSeriesPerFamily = 2000

    private enum Metric: Sendable {
        case counter(Counter)
        case gauge(Gauge)
        case histogram(Histogram)
    }

    private enum Kind: String {
        case counter
        case gauge
        case histogram
    }

    private struct Family {
        let kind: Kind
        let help: String
        let labelNames: [String]
        /// By labels, whose names were checked.
        var series: [[String: String]: Metric] = [:]

        func known(_ kind: Kind, _ labels: [String: String]) -> Metric? {
            self.kind == kind ? series[labels] : nil
        }
    }

    private struct State {
        var families: [String: Family] = [:]
        var refused: UInt64 = 0
    }

    private let state = Mutex(State())

    package init() {}

    /// The counter of this name and label set; made on first use.
    package func counter(
        _ name: String, help: String, labels: [String: String] = [:]
    ) -> Counter {
        let metric = metric(name, .counter, help, labels) { .counter(Counter()) }
        guard case .counter(let counter) = metric else { return Counter() }
        return counter
    }

    /// The gauge of this name and label set; made on first use.
    package func gauge(_ name: String, help: String, labels: [String: String] = [:]) -> Gauge {
        let metric = metric(name, .gauge, help, labels) { .gauge(Gauge()) }
        guard case .gauge(let gauge) = metric else { return Gauge() }
        return gauge
    }

    /// The histogram of this name and label set; made on first use with these buckets.
    package func histogram(
        _ name: String, help: String, labels: [String: String] = [:],
        buckets: [Double] = Histogram.latencyBuckets
    ) -> Histogram {
        let metric = metric(name, .histogram, help, labels) {
            .histogram(Histogram(buckets: buckets))
        }
        guard case .histogram(let histogram) = metric else { return Histogram(buckets: buckets) }
        return histogram
    }

    /// Forgets one label set, such as that of a deleted camera; handles still held keep working.
    package func remove(_ name: String, labels: [String: String]) {
        state.withLock { state in
            _ = state.families[name]?.series.removeValue(forKey: labels)
        }
    }

    /// Label sets that were not taken because their family was full.
    package var refusedSeries: UInt64 { state.withLock { $0.refused } }

    /// Everything in text format 0.0.4, families and series in a fixed order.
    package func render() -> String {
        let families = state.withLock { $0.families }
        var text = ""
        for (name, family) in families.sorted(by: { $0.key < $1.key }) {
            guard !family.series.isEmpty else { continue }
            text += "# HELP \(name) \(PrometheusText.escapedHelp(family.help))\n"
            text += "# TYPE \(name) \(family.kind.rawValue)\n"
            let series = family.series.map { labels, metric in
                (family.labelNames.map { labels[$0] ?? "" }, metric)
            }.sorted { $0.0.lexicographicallyPrecedes($1.0) }
            for (values, metric) in series {
                let labels = zip(family.labelNames, values).map { ($0, $1) }
                text += Self.rendered(name, labels, metric)
            }
        }
        return text
    }

    private static func rendered(
        _ name: String, _ labels: [(String, String)], _ metric: Metric
    ) -> String {
        switch metric {
        case .counter(let counter):
            return PrometheusText.line(name, labels, counter.text)
        case .gauge(let gauge):
            return PrometheusText.line(name, labels, PrometheusText.number(gauge.value))
        case .histogram(let histogram):
            let (cumulative, sum) = histogram.snapshot
            let bounds = histogram.bounds.map(PrometheusText.number) + ["+Inf"]
            var text = ""
            for (bound, count) in zip(bounds, cumulative) {
                text += PrometheusText.line(
                    name + "_bucket", labels + [("le", bound)], String(count))
            }
            text += PrometheusText.line(name + "_sum", labels, PrometheusText.number(sum))
            text += PrometheusText.line(name + "_count", labels, String(cumulative.last ?? 0))
            return text
        }
    }

    private func metric(
        _ name: String, _ kind: Kind, _ help: String, _ labels: [String: String],
        make: @Sendable () -> Metric
    ) -> Metric {
        if let known = state.withLock({ $0.families[name]?.known(kind, labels) }) { return known }
        let labelNames = labels.keys.sorted()
        precondition(PrometheusText.isMetricName(name), "not a metric name: \(name)")
        precondition(
            labelNames.allSatisfy { PrometheusText.isLabelName($0) && $0 != "le" },
            "not label names: \(labelNames)")
        return state.withLock { state in
            var family =
                state.families[name] ?? Family(kind: kind, help: help, labelNames: labelNames)
            precondition(
                family.kind == kind && family.labelNames == labelNames,
                "metric \(name) is used with another type or other labels")
            if let known = family.known(kind, labels) { return known }
            let metric = make()
            guard family.series.count < Self.maxSeriesPerFamily else {
                state.refused += 1
                return metric
            }
            family.series[labels] = metric
            state.families[name] = family
            return metric
        }
    }
}

/// The rules of Prometheus' text format 0.0.4.
enum PrometheusText {
    static func line(_ name: String, _ labels: [(String, String)], _ value: String) -> String {
        guard !labels.isEmpty else { return "\(name) \(value)\n" }
        let list = labels.map { "\($0)=\"\(escapedLabel($1))\"" }.joined(separator: ",")
        return "\(name){\(list)} \(value)\n"
    }

    static func number(_ value: Double) -> String {
        if value.isNaN { return "NaN" }
        if value.isInfinite { return value < 0 ? "-Inf" : "+Inf" }
        if value.rounded() == value, abs(value) < 9e15 { return String(Int64(value)) }
        return String(value)
    }

    static func escapedHelp(_ text: String) -> String {
        var result = ""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\\": result += "\\\\"
            case "\n": result += "\\n"
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result
    }

    static func escapedLabel(_ text: String) -> String {
        var result = ""
        for scalar in escapedHelp(text).unicodeScalars {
            if scalar == "\"" { result += "\\" }
            result.unicodeScalars.append(scalar)
        }
        return result
    }

    static func isMetricName(_ name: String) -> Bool {
        isName(name) { $0 == UInt8(ascii: ":") }
    }

    static func isLabelName(_ name: String) -> Bool {
        !name.hasPrefix("__") && isName(name) { _ in false }
    }

    private static func isName(_ name: String, also: (UInt8) -> Bool) -> Bool {
        guard let first = name.utf8.first, !(48...57).contains(first) else { return false }
        return name.utf8.allSatisfy {
            (48...57).contains($0) || (65...90).contains($0) || (97...122).contains($0)
                || $0 == UInt8(ascii: "_") || also($0)
        }
    }
}
