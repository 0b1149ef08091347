// Where playback finds recordings.
// SPDX-License-Identifier: Apache-2.0

package import Domain
package import Primitives

/// Where playback finds recordings; bound once where the program is wired.
package struct RecordingCatalog: Sendable {
    /// Segments of a camera in a range, oldest first, those still being written among them. Each
    /// brings its fragments: for ranges of an hour, not of a month.
    package var segments: @Sendable (CameraID, TimeRange) async throws -> [Segment]
    /// Where the segments of a range lie, oldest first, without their fragments.
    package var spans: @Sendable (CameraID, TimeRange) async throws -> [SegmentSpan]
    /// One segment of a camera by its id.
    package var segment: @Sendable (CameraID, String) async throws -> Segment?
    package var gaps: @Sendable (CameraID, TimeRange) async throws -> [Gap]
    package var nearest:
        @Sendable (CameraID, WallTime) async throws -> (before: WallTime?, after: WallTime?)

    package init(
        segments: @escaping @Sendable (CameraID, TimeRange) async throws -> [Segment],
        spans: @escaping @Sendable (CameraID, TimeRange) async throws -> [SegmentSpan],
        segment: @escaping @Sendable (CameraID, String) async throws -> Segment?,
        gaps: @escaping @Sendable (CameraID, TimeRange) async throws -> [Gap],
        nearest:
            @escaping @Sendable (CameraID, WallTime) async throws -> (
                before: WallTime?, after: WallTime?
            )
    ) {
        self.segments = segments
        self.spans = spans
        self.segment = segment
        self.gaps = gaps
        self.nearest = nearest
    }
}
