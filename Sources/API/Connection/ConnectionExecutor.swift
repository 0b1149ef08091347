// Requests are served on their connection's own thread.
// SPDX-License-Identifier: Apache-2.0

import NIOCore
package import NIOPosix

/// Where HTTP connections live: threads of their own, so that a long list that is being written for one
/// client delays no camera's packets.
package enum ConnectionLoops {
    package static let shared = MultiThreadedEventLoopGroup(
        numberOfThreads: max(2, System.coreCount))
}

/// Runs tasks on one event loop. Left to the common pool, a request changes threads at each step between
/// socket, handler and actor, which costs more than the request.
final class LoopExecutor: TaskExecutor {
    private let loop: any EventLoop

    init(loop: any EventLoop) { self.loop = loop }

    func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        loop.execute { [self] in job.runSynchronously(on: asUnownedTaskExecutor()) }
    }
}
