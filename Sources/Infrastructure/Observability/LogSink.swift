// Where log lines go: a file descriptor behind a bounded buffer.
// SPDX-License-Identifier: Apache-2.0
import Dispatch
import Glibc
import Synchronization

/// Writes lines to a descriptor on a queue of its own. A caller never waits for the reader of the
/// log: what does not fit into the buffer is dropped, counted, and told in the next line written.
package final class LogSink: Sendable {
    private struct State {
        var pending: [UInt8] = []
        var dropped = 0
        var draining = false
    }

    private let descriptor: Int32
    private let maxPendingBytes: Int
    private let state = Mutex(State())
    private let queue = DispatchQueue(label: "marsad.log")

    /// The descriptor stays the caller's: it is not closed here.
    package init(descriptor: Int32, maxPendingBytes: Int = 4 << 20) {
        self.descriptor = descriptor
        self.maxPendingBytes = maxPendingBytes
    }

    /// Takes one line, its newline included.
    package func write(_ line: String) {
        let startsDraining = state.withLock { state in
            guard state.pending.count + line.utf8.count <= maxPendingBytes else {
                state.dropped += 1
                return false
            }
            state.pending += line.utf8
            guard !state.draining else { return false }
            state.draining = true
            return true
        }
        if startsDraining { queue.async { self.drain() } }
    }

    /// Waits until everything taken so far is written or refused: before the process ends.
    package func flush() { queue.sync {} }

    private func drain() {
        while let (bytes, dropped) = next() {
            if dropped > 0 {
                let level = "\"level\":\"warning\",\"message\":\"log lines dropped\""
                put(Array("{\(level),\"module\":\"Observability\",\"dropped\":\(dropped)}\n".utf8))
            }
            put(bytes)
        }
    }

    private func next() -> (bytes: [UInt8], dropped: Int)? {
        state.withLock { state in
            guard !state.pending.isEmpty || state.dropped > 0 else {
                state.draining = false
                return nil
            }
            defer {
                state.pending = []
                state.dropped = 0
            }
            return (state.pending, state.dropped)
        }
    }

    /// Writes all of it; gives up on a descriptor that fails, as there is nowhere left to say so.
    private func put(_ bytes: [UInt8]) {
        bytes.withUnsafeBytes { buffer in
            var offset = 0
            while offset < buffer.count {
                let rest = UnsafeRawBufferPointer(rebasing: buffer[offset...])
                let written = Glibc.write(descriptor, rest.baseAddress, rest.count)
                if written > 0 {
                    offset += written
                } else if written < 0, errno == EAGAIN {
                    var waiting = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
                    _ = poll(&waiting, 1, 1000)
                } else if written == 0 || errno != EINTR {
                    return
                }
            }
        }
    }
}
