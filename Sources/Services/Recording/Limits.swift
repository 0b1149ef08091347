// Every limit of recording in one place.
// SPDX-License-Identifier: Apache-2.0

enum Limits {
    /// A fragment inside a long group of pictures is closed at this duration: what kill -9 can cost.
    static let fragmentTicks: Int64 = 90_000
    /// Bytes of one camera waiting for the disk before whole groups of pictures are dropped.
    static let queuedBytes = 16 << 20
    /// Wait before a failed volume is tried again.
    static let retryAfterFailure = Duration.seconds(5)
    /// The longest duration of one sample: a pause longer than this is a gap, not a frozen frame.
    static let longestSampleTicks: Int64 = 10 * 90_000
    /// How often retention looks at ages and free bytes.
    static let retentionInterval = Duration.seconds(10)
    /// Share of the volume in use from which the oldest recordings make room.
    static let cleanFromUsedShare = 0.90
    /// Share down to which they do.
    static let cleanToUsedShare = 0.88
    /// Segments removed in one round.
    static let removalsAtOnce = 200
}
