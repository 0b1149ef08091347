// Requests are served on their connection's own thread.
// SPDX-License-Identifier: Apache-2.0

import NIOCore
package import NIOPosix
import Synchronization

/// Where HTTP connections live: threads of their own, so that a long list that is being written for one
/// client delays no camera's packets.
package enum ConnectionLoops {
    package static let shared = MultiThreadedEventLoopGroup(
        numberOfThreads: max(2, System.coreCount))

    private static let executors = Dictionary(
        uniqueKeysWithValues: shared.makeIterator().map {
            (ObjectIdentifier($0), LoopExecutor(loop: $0))
        })

    /// What runs the tasks of a connection on its event loop.
    static func executor(on loop: any EventLoop) -> LoopExecutor {
        executors[ObjectIdentifier(loop)] ?? LoopExecutor(loop: loop)
    }
}

/// Runs tasks on one event loop. Left to the common pool, a request changes threads at each step between
/// socket, handler and actor, which costs more than the request.
final class LoopExecutor: TaskExecutor {
    private struct Queue {
        var jobs: [UnownedJob] = []
        /// The loop will look, or is looking.
        var isAwaited = false
    }

    /// How often jobs that were made by the last ones are run before the sockets are looked at again.
    private static let rounds = 16

    private let loop: any EventLoop
    private let queue = Mutex(Queue())

    init(loop: any EventLoop) { self.loop = loop }

    func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        let isFirst = queue.withLock { queue in
            queue.jobs.append(job)
            defer { queue.isAwaited = true }
            return !queue.isAwaited
        }
        // One task of the loop for all that comes until it runs: each costs more than a step of a request.
        if isFirst { loop.execute(run) }
    }

    private func run() {
        for _ in 0..<Self.rounds {
            let jobs = queue.withLock { queue in
                defer { queue.jobs.removeAll() }
                queue.isAwaited = !queue.jobs.isEmpty
                return queue.jobs
            }
            if jobs.isEmpty { return }
            for job in jobs { job.runSynchronously(on: asUnownedTaskExecutor()) }
        }
        loop.execute(run)
    }
}
