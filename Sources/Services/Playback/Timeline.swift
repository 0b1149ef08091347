// What there is to scrub through: coverage and gaps of a range.
// SPDX-License-Identifier: Apache-2.0

package import Domain
import Primitives

/// Stretches with and without video. Coverage closer than the resolution is joined.
package struct Timeline: Sendable {
    package var coverage: [TimeRange]
    package var gaps: [Gap]

    package init(
        spans: [SegmentSpan], gaps: [Gap], range: TimeRange, resolution: Duration
    ) {
        var joined: [TimeRange] = []
        for span in spans {
            let start = max(span.start, range.start)
            let end = min(span.end, range.end)
            guard start < end else { continue }
            if let last = joined.last, start - last.end <= max(resolution, .milliseconds(200)),
                let both = TimeRange(start: last.start, end: max(last.end, end))
            {
                joined[joined.count - 1] = both
            } else if let alone = TimeRange(start: start, end: end) {
                joined.append(alone)
            }
        }
        coverage = joined
        self.gaps = gaps.compactMap { gap in
            let start = max(gap.start, range.start)
            let end = min(gap.end, range.end)
            return start < end ? Gap(start: start, end: end, reason: gap.reason) : nil
        }
    }
}
