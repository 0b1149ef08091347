// What the process no longer needs, given back while it runs.
// SPDX-License-Identifier: Apache-2.0

import CGlibc

/// glibc keeps what is freed between two blocks in use: recordings that waited for a disk once, or a
/// rush of viewers, would count against the machine for as long as the process lives.
enum FreedMemory {
    /// Gives whole free pages back twice a minute. The heap is locked for the few milliseconds that
    /// this takes, which is why it is not done at each release.
    static func returnRegularly() async {
        while !Task.isCancelled {
            do { try await Task.sleep(for: .seconds(30)) } catch { return }
            malloc_trim(0)
        }
    }
}
