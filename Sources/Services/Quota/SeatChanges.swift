// Tells listeners how many seats a source has, each time that changes.
// SPDX-License-Identifier: Apache-2.0

package import Domain
import Synchronization

/// Something that viewers, operators or auditors hear of.
package enum SeatChange: Sendable, Equatable {
    case usage(SourceUsage)
    /// A seat was taken from its viewers for somebody more urgent.
    case preempted(Preemption)
}

/// Who had to leave, and for whom: what an audit keeps.
package struct Preemption: Sendable, Equatable {
    package var source: Source
    package var seat: String
    /// Of this process; another's viewers are told by their own.
    package var reservations: [String]
    /// The reservation that has the seat's room now; `nil` when that is another process's.
    package var takenBy: String?
    package var idle: Duration?

    package init(
        source: Source, seat: String, reservations: [String], takenBy: String?, idle: Duration?
    ) {
        self.source = source
        self.seat = seat
        self.reservations = reservations
        self.takenBy = takenBy
        self.idle = idle
    }
}

/// A listener that is slow loses the oldest changes, never its place.
final class SeatChanges: Sendable {
    private struct State {
        var listeners: [UInt64: AsyncStream<SeatChange>.Continuation] = [:]
        var next: UInt64 = 0
    }

    private let state = Mutex(State())

    func listen(keeping count: Int) -> AsyncStream<SeatChange> {
        let (stream, continuation) = AsyncStream.makeStream(
            of: SeatChange.self, bufferingPolicy: .bufferingNewest(count))
        let id = state.withLock { state in
            state.next += 1
            state.listeners[state.next] = continuation
            return state.next
        }
        continuation.onTermination = { [weak self] _ in
            self?.state.withLock { _ = $0.listeners.removeValue(forKey: id) }
        }
        return stream
    }

    func send(_ change: SeatChange) {
        for listener in state.withLock({ Array($0.listeners.values) }) { listener.yield(change) }
    }
}
