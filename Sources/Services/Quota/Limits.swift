// Every limit of the quota in one place.
// SPDX-License-Identifier: Apache-2.0

import Primitives

enum Limits {
    /// How long a seat stays taken when its owner is heard of no more: below the half minute within which
    /// counts are to be right again after any crash.
    static let lease = Duration.seconds(20)
    /// Between two renewals; four may be missed.
    static let renewal = Duration.seconds(5)
    /// Seats renewed by one call, so that a script stays short.
    static let renewalBatch = 100
    /// Seats asked for by one call, for the same reason.
    static let acquisitionBatch = 64
    /// Calls for seats under way at once; what is asked meanwhile is put together. More than the failures
    /// that open the circuit of the store's client.
    static let questions = 8
    /// How long the counts that were known last stand in for a store that does not answer.
    static let degraded = Duration.seconds(30)
    /// When a refused caller may come back.
    static let retryAfterFull = 10
    static let retryAfterOutage = 5
    /// Seats looked at to find the one that was idle longest.
    static let candidates = 1000
    /// Pre-emptions tried when the seat chosen is gone by then.
    static let preemptions = 3
    /// How long an owner is told that its seat was taken away: beyond its lease.
    static let notice = Duration.seconds(60)
    /// Changes kept for a listener that is slow.
    static let changes = 64
}
