// Bytes set aside so that a full disk can still be put right.
// SPDX-License-Identifier: Apache-2.0

import CStorage
import Glibc

/// A file of the data folder that is nothing but room. On a full disk the index cannot be written, so what is
/// recorded gets no row, and nothing can be found to be removed: the reserve gives the first step.
package struct SpaceReserve: Sendable {
    private let path: String
    private static let bytes: Int64 = 32 << 20
    /// It is not taken back from a disk that is about to be full again.
    private static let roomAfterwards: UInt64 = 256 << 20

    package init(dataFolder: String) { path = dataFolder + "/reserve" }

    /// Gives the bytes back to the volume; true when there were any.
    @discardableResult
    package func release() -> Bool { unlink(path) == 0 }

    /// Sets the bytes aside where they are not, and the volume has room for them.
    package func restore() {
        guard !SegmentFile.exists(path), let space = try? SegmentFile.space(of: folder),
            space.free > UInt64(Self.bytes) + Self.roomAfterwards
        else { return }
        let descriptor = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { return }
        let failed = marsad_allocate(descriptor, Self.bytes) != 0
        close(descriptor)
        if failed { unlink(path) }
    }

    private var folder: String { SegmentFile.folder(of: path) }
}
