// When a connection has kept us waiting for too long.
// SPDX-License-Identifier: Apache-2.0

import NIOCore

/// One deadline that moves with each request. A timer that comes too early is set again, instead of each
/// request setting one. Used on its event loop only.
final class ConnectionDeadline {
    private let loop: any EventLoop
    private let onPassed: () -> Void
    private var deadline: NIODeadline?
    private var timer: (due: NIODeadline, task: Scheduled<Void>)?

    init(on loop: any EventLoop, onPassed: @escaping () -> Void) {
        self.loop = loop
        self.onPassed = onPassed
    }

    /// - Parameter deadline: `nil` while nothing is waited for.
    func set(at deadline: NIODeadline?) {
        self.deadline = deadline
        guard let deadline, timer.map({ $0.due > deadline }) ?? true else { return }
        look(at: deadline)
    }

    func cancel() {
        deadline = nil
        timer?.task.cancel()
        timer = nil
    }

    private func look(at due: NIODeadline) {
        timer?.task.cancel()
        let task = loop.assumeIsolated().scheduleTask(deadline: due) { [self] in
            timer = nil
            guard let deadline else { return }
            guard deadline <= due else { return look(at: deadline) }
            onPassed()
        }
        timer = (due, task)
    }
}
