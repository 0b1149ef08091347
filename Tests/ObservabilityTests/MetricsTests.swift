// The metrics' text and arithmetic.
// SPDX-License-Identifier: Apache-2.0
import Observability
import Testing

@Suite struct MetricsTests {
    @Test("renders families and series in a fixed order with one HELP and TYPE each")
    func order() {
        let registry = MetricsRegistry()
        registry.gauge("b_gauge", help: "B").set(1.5)
        registry.counter("a_total", help: "A", labels: ["source": "Z"]).increment()
        registry.counter("a_total", help: "A", labels: ["source": "M"]).increment(by: 2)
        #expect(
            registry.render() == """
                # HELP a_total A
                # TYPE a_total counter
                a_total{source="M"} 2
                a_total{source="Z"} 1
                # HELP b_gauge B
                # TYPE b_gauge gauge
                b_gauge 1.5

                """)
    }

    @Test("escapes help texts and label values")
    func escaping() {
        let registry = MetricsRegistry()
        registry.gauge("g", help: "a\\b\nc\"", labels: ["name": "x\"y\\z\nكاميرا"]).set(-1)
        #expect(
            registry.render() == """
                # HELP g a\\\\b\\nc"
                # TYPE g gauge
                g{name="x\\"y\\\\z\\nكاميرا"} -1

                """)
    }

    @Test("writes a histogram's buckets cumulatively, with its sum and count")
    func histogram() {
        let registry = MetricsRegistry()
        let histogram = registry.histogram(
            "h_seconds", help: "H", labels: ["operation": "get"], buckets: [0.1, 1])
        for value in [0.05, 0.1, 0.5, 3, Double.nan] { histogram.observe(value) }
        histogram.observe(Duration.milliseconds(850))
        #expect(
            registry.render() == """
                # HELP h_seconds H
                # TYPE h_seconds histogram
                h_seconds_bucket{operation="get",le="0.1"} 2
                h_seconds_bucket{operation="get",le="1"} 4
                h_seconds_bucket{operation="get",le="+Inf"} 5
                h_seconds_sum{operation="get"} 4.5
                h_seconds_count{operation="get"} 5

                """)
    }

    @Test("hands out the same metric for the same labels, however often it is asked")
    func identity() {
        let registry = MetricsRegistry()
        let first = registry.counter("c_total", help: "C", labels: ["a": "1", "b": "2"])
        let second = registry.counter("c_total", help: "C", labels: ["b": "2", "a": "1"])
        #expect(first === second)
        registry.remove("c_total", labels: ["a": "1", "b": "2"])
        #expect(registry.render().isEmpty)
    }

    @Test("loses no increment when many tasks count at once")
    func concurrency() async {
        let registry = MetricsRegistry()
        let counter = registry.counter("c_total", help: "C")
        let gauge = registry.gauge("g", help: "G")
        await withTaskGroup(of: Void.self) { group in
            for _ in 0..<8 {
                group.addTask {
                    for _ in 0..<5000 {
                        counter.increment()
                        counter.add(0.5)
                        gauge.add(1)
                    }
                }
            }
        }
        #expect(counter.value == 60_000)
        #expect(gauge.value == 40_000)
    }

    @Test("stops taking label sets at the limit, and counts the refused ones")
    func limit() {
        let registry = MetricsRegistry()
        for index in 0..<(MetricsRegistry.maxSeriesPerFamily + 3) {
            registry.gauge("g", help: "G", labels: ["camera_id": String(index)]).set(1)
        }
        #expect(registry.refusedSeries == 3)
        let lines = registry.render().split(separator: "\n").count
        #expect(lines == MetricsRegistry.maxSeriesPerFamily + 2)
    }
}
