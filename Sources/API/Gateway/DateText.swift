// The date of an answer.
// SPDX-License-Identifier: Apache-2.0

import Primitives
import Synchronization

/// The Date field (RFC 9110 §6.6.1), written once a second.
final class DateText: Sendable {
    private struct Written {
        var second: Int64
        var text: String
    }

    private let written = Mutex(Written(second: -1, text: ""))

    func text(of time: WallTime) -> String {
        let second = time.microseconds / 1_000_000
        return written.withLock { written in
            if written.second != second {
                written = Written(second: second, text: time.httpDate)
            }
            return written.text
        }
    }
}
