// An actor's executor on a queue of its own, where event sources of the same queue may touch it.
// SPDX-License-Identifier: Apache-2.0
import Dispatch

/// Runs one actor on a serial queue: it may block there without holding a thread of the others.
final class QueueExecutor: SerialExecutor {
    let queue: DispatchQueue

    init(label: String) { queue = DispatchQueue(label: label) }

    func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        queue.async { job.runSynchronously(on: self.asUnownedSerialExecutor()) }
    }

    func checkIsolated() { dispatchPrecondition(condition: .onQueue(queue)) }
}
