// When a connection has kept us waiting for too long.
// SPDX-License-Identifier: Apache-2.0

import Domain
import NIOCore
import Primitives

/// One deadline that moves with each request. A timer that comes too early is set again, instead of each
/// request setting one. Used on its event loop only.
final class ConnectionDeadline {
    private let loop: any EventLoop
    private let world: World
    private var deadline: Instant?
    private var timer: (due: Instant, task: Scheduled<Void>)?
    /// Called when the deadline has passed, until the end.
    var onPassed: () -> Void = {}

    init(on loop: any EventLoop, _ world: World) {
        self.loop = loop
        self.world = world
    }

    /// - Parameter deadline: `nil` while nothing is waited for.
    func set(at deadline: Instant?) {
        self.deadline = deadline
        guard let deadline, timer.map({ $0.due > deadline }) ?? true else { return }
        look(at: deadline)
    }

    func end() {
        deadline = nil
        timer?.task.cancel()
        timer = nil
        onPassed = {}
    }

    private func look(at due: Instant) {
        timer?.task.cancel()
        let task = loop.assumeIsolated().scheduleTask(in: TimeAmount(due - world.now())) {
            [self] in
            timer = nil
            guard let deadline else { return }
            guard deadline <= due else { return look(at: deadline) }
            onPassed()
        }
        timer = (due, task)
    }
}
