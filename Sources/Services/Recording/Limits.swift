// Every limit of recording in one place.
// SPDX-License-Identifier: Apache-2.0

enum Limits {
    /// A fragment inside a long group of pictures is closed at this duration: what kill -9 can cost.
    static let fragmentTicks: Int64 = 90_000
    /// The same by arrival, for a camera whose clock stands still.
    static let fragmentArrival = Duration.seconds(1)
    /// The same by bytes.
    static let fragmentBytes = 8 << 20
    /// A difference between the wall clock and a run's time that makes the next segment a new run.
    static let clockStep = Duration.seconds(1)
    /// Bytes of one camera waiting for the disk before whole groups of pictures are dropped.
    static let queuedBytes = 16 << 20
    /// Wait before a failed volume is tried again.
    static let retryAfterFailure = Duration.seconds(5)
    /// The longest duration of one sample: a pause longer than this is a gap, not a frozen frame.
    static let longestSampleTicks: Int64 = 10 * 90_000
    /// Segments and gaps waiting for the database before files are left to the next repair.
    static let queuedEntries = 20_000
    /// The longest wait between two tries to write the same entry.
    static let longestIndexWait = Duration.seconds(10)
    /// Names tried for a file: later seconds of the same start.
    static let namesTried = 3600
    /// How long a camera's recorder may take to be indexed before its successor begins.
    static let settlePatience = Duration.seconds(5)
    /// How often retention looks at ages and free bytes.
    static let retentionInterval = Duration.seconds(10)
    /// Share of the volume in use from which the oldest recordings make room.
    static let cleanFromUsedShare = 0.90
    /// Share down to which they do.
    static let cleanToUsedShare = 0.88
    /// Segments removed in one round.
    static let removalsAtOnce = 200
}
