// The files that this process is writing, so that a repair beside it leaves them alone.
// SPDX-License-Identifier: Apache-2.0

import Synchronization

/// Paths below the data folder: claimed before the file is made, released when its row is written
/// or the file is left to the next start.
final class PathClaims: Sendable {
    private let paths = Mutex<Set<String>>([])

    /// False where the path is claimed already.
    func claim(_ path: String) -> Bool { paths.withLock { $0.insert(path).inserted } }

    func release(_ path: String) { paths.withLock { _ = $0.remove(path) } }

    func contains(_ path: String) -> Bool { paths.withLock { $0.contains(path) } }
}
