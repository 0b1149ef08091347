// What the process no longer needs, given back while it runs.
// SPDX-License-Identifier: Apache-2.0

import CGlibc
import NIOPosix

/// glibc keeps what is freed between two blocks in use: recordings that waited for a disk once, or a
/// rush of viewers, would count against the machine until something as large is needed again.
enum FreedMemory {
    /// Gives whole free pages back, twice a minute. On a thread of its own: the heap is walked, one arena
    /// locked after the other.
    static func returnRegularly() async {
        let pool = NIOThreadPool(numberOfThreads: 1)
        pool.start()
        while (try? await Task.sleep(for: .seconds(30))) != nil {
            _ = try? await pool.runIfActive { malloc_trim(0) }
        }
        try? await pool.shutdownGracefully()
    }
}
