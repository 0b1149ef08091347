// Requests are served on their connection's own thread.
// SPDX-License-Identifier: Apache-2.0

import HummingbirdCore
import Logging
import NIOCore
package import NIOPosix

/// Where HTTP connections live: threads of their own, so that a long list that is being written for one
/// client delays no camera's packets.
package enum ConnectionLoops {
    package static let shared = MultiThreadedEventLoopGroup(
        numberOfThreads: max(2, System.coreCount))
}

/// Serves each connection by tasks that stay on its event loop. Left to the common pool, a request changes
/// threads at each step between socket, handler and actor, which costs more than the request.
struct LoopBoundChannel<Base: ServerChildChannel>: ServerChildChannel {
    let base: Base

    func setup(channel: any Channel, logger: Logger) -> EventLoopFuture<Base.Value> {
        base.setup(channel: channel, logger: logger)
    }

    func handle(value: Base.Value, logger: Logger) async {
        let executor = LoopExecutor(loop: value.channel.eventLoop)
        await withTaskExecutorPreference(executor) {
            await base.handle(value: value, logger: logger)
        }
    }
}

/// Runs tasks on one event loop.
private final class LoopExecutor: TaskExecutor {
    private let loop: any EventLoop

    init(loop: any EventLoop) { self.loop = loop }

    func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        loop.execute { [self] in job.runSynchronously(on: asUnownedTaskExecutor()) }
    }
}
