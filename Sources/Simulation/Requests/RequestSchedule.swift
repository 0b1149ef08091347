// When each request of a load is due.
// SPDX-License-Identifier: Apache-2.0

package import NIOCore

/// At a rate each request has its own time, whether or not those before it were answered: what a slow
/// server makes wait is counted from when it was due. Without a rate a request is due when a client is
/// free for it.
package struct RequestSchedule: Sendable {
    package enum Turn: Sendable, Equatable {
        case ask(due: NIODeadline)
        case wait(until: NIODeadline)
        case over
    }

    private let begun: NIODeadline
    private let end: NIODeadline
    /// Nanoseconds between two; `nil` without a rate.
    private let interval: Double?
    private var left: Int
    private var asked = 0

    /// - Parameters:
    ///   - rate: requests a second; 0: as many as it takes.
    ///   - count: requests at most.
    package init(begun: NIODeadline, seconds: Double, rate: Double, count: Int = .max) {
        self.begun = begun
        end = begun + .nanoseconds(Int64(seconds * 1e9))
        interval = rate > 0 ? 1e9 / rate : nil
        left = count
    }

    /// What a client that is free is to do.
    package mutating func next(at now: NIODeadline) -> Turn {
        guard left > 0 else { return .over }
        let due = interval.map { begun + .nanoseconds(Int64(Double(asked) * $0)) } ?? now
        guard due < end else { return .over }
        guard due <= now else { return .wait(until: due) }
        asked += 1
        left -= 1
        return .ask(due: due)
    }
}
