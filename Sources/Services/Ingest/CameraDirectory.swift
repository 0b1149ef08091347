// The cameras as they were a moment ago, for what is asked many times a second.
// SPDX-License-Identifier: Apache-2.0

package import Domain
package import Primitives
import Synchronization

/// Answers from memory what the camera store would answer from the database, unsealing each address anew.
/// What this process changes is seen by the next question; what another one changes, within a second.
package final class CameraDirectory: Sendable {
    /// All cameras at one moment.
    package struct Snapshot: Sendable {
        /// Counts the readings: two with the same number are the same.
        package let revision: Int
        package let readAt: WallTime
        /// In the order in which they were added.
        package let cameras: [Camera]
        fileprivate let byID: [CameraID: Camera]
        /// How many changes this process had made by then.
        fileprivate let changes: Int
        fileprivate let began: Instant

        /// Whether an answer made of this one may stand for one made of the other: it knows all that this
        /// process has changed.
        package func isAsNew(as other: Snapshot) -> Bool {
            changes >= other.changes && revision >= other.revision
        }

        /// Whether it knows all changes of this process that the other knows, and is not too old at `now`.
        package func mayStand(for other: Snapshot, at now: Instant) -> Bool {
            changes == other.changes && now - began < Limits.directoryAge
        }
    }

    private let store: CameraStore
    private let world: World
    private struct State {
        var newest: Snapshot?
        /// For all who ask while it is under way.
        var reading: (changes: Int, task: Task<Snapshot, any Error>)?
    }

    private let state = Mutex(State())

    package init(store: CameraStore, world: World) {
        self.store = store
        self.world = world
    }

    /// The cameras that may be known of, in the order in which they were added.
    package func all(_ visibility: Visibility) async throws -> [Camera] {
        try await snapshot().cameras.filter { visibility.allows($0) }
    }

    /// `nil` where there is none that may be known of.
    package func camera(_ id: CameraID, _ visibility: Visibility) async throws -> Camera? {
        try await snapshot().byID[id].flatMap { visibility.allows($0) ? $0 : nil }
    }

    /// All cameras; who shows them asks who may see them.
    package func snapshot() async throws -> Snapshot {
        // Before the question: a change that comes in between makes the answer an old one.
        let changes = store.changes.count
        let began = world.now()
        let known: Known = state.withLock { state in
            let newest = state.newest.flatMap { $0.changes == changes ? $0 : nil }
            if let newest, began - newest.began < Limits.directoryRenewal { return .read(newest) }
            let reading: Task<Snapshot, any Error>
            if let known = state.reading, known.changes == changes {
                reading = known.task
            } else {
                reading = Task { try await self.read(after: changes, began) }
                state.reading = (changes, reading)
            }
            // Nobody waits for the next reading while the last one is young enough.
            if let newest, began - newest.began < Limits.directoryAge { return .read(newest) }
            return .being(reading)
        }
        switch known {
        case .read(let snapshot): return snapshot
        case .being(let reading): return try await reading.value
        }
    }

    private enum Known {
        case read(Snapshot)
        case being(Task<Snapshot, any Error>)
    }

    private func read(after changes: Int, _ began: Instant) async throws -> Snapshot {
        defer {
            state.withLock { state in
                if state.reading?.changes == changes { state.reading = nil }
            }
        }
        let readAt = world.wallTime()
        let cameras = try await store.all(.everything)
        let byID = Dictionary(cameras.map { ($0.id, $0) }, uniquingKeysWith: { first, _ in first })
        return state.withLock { state in
            let made = Snapshot(
                revision: (state.newest?.revision ?? 0) + 1, readAt: readAt, cameras: cameras,
                byID: byID, changes: changes, began: began)
            // A slow reading of before a change is its askers' alone.
            if (state.newest?.changes ?? 0) <= changes { state.newest = made }
            return made
        }
    }
}

/// Counts what this process changes of the cameras.
package final class CameraChanges: Sendable {
    private let made = Atomic(0)

    package var count: Int { made.load(ordering: .acquiring) }

    package func note() { made.add(1, ordering: .acquiringAndReleasing) }
}
