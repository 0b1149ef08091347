// What a process that dies leaves behind: no copy of its memory.
// SPDX-License-Identifier: Apache-2.0

import Glibc

/// A core file holds the passwords of all cameras and the keys, readable by whoever finds it.
enum CoreFiles {
    /// None is written from here on. What failed is in the backtrace, which goes to the log.
    static func leaveNone() {
        var limit = rlimit()
        let resource = __rlimit_resource_t(RLIMIT_CORE.rawValue)
        guard getrlimit(resource, &limit) == 0 else { return }
        limit.rlim_cur = 0
        setrlimit(resource, &limit)
    }
}
