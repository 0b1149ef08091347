// One camera's way to the disk: writes in order, one at a time, off the event loop, with a bounded queue.
// SPDX-License-Identifier: Apache-2.0

import Crypto
import Domain
import MP4
import NIOCore
import NIOPosix
import Primitives

/// Queues the writes of one camera on the spool's threads. Lives on the camera's event loop; only values
/// cross to the threads and back.
final class SegmentSpool {
    enum Job {
        /// Makes the first free name of `name(0)`, `name(1)`, … below the root.
        case open(name: @Sendable (Int64) -> String, head: ByteBuffer)
        case append(BuiltFragment, decodeTime: Int64)
        case close
    }

    enum Event {
        case opened(path: String)
        case written(FragmentEntry)
        case closed
        /// The file was given up; what was indexed of it stays good.
        case failed(FileError)
    }

    private struct OpenFile: Sendable {
        var descriptor: Int32
        /// Below the root.
        var path: String
        var offset: UInt64
    }

    private let pool: NIOThreadPool
    private let eventLoop: any EventLoop
    private let claims: PathClaims
    private let root: String
    private var queue: [Job] = []
    private(set) var queuedBytes = 0
    private var isBusy = false
    private var file: OpenFile?
    var onEvent: (Event) -> Void = { _ in }

    init(pool: NIOThreadPool, eventLoop: any EventLoop, claims: PathClaims, root: String) {
        self.pool = pool
        self.eventLoop = eventLoop
        self.claims = claims
        self.root = root
    }

    func submit(_ job: Job) {
        if case .append(let fragment, _) = job { queuedBytes += fragment.size }
        queue.append(job)
        next()
    }

    private func next() {
        guard !isBusy, !queue.isEmpty else { return }
        let job = queue.removeFirst()
        switch job {
        case .open where file != nil:
            // The writer gave up in between: what it had open is finished before the next begins.
            queue.insert(contentsOf: [.close, job], at: 0)
            next()
        case .open(let name, let head):
            let (claims, root) = (claims, root)
            run({ try Self.create(name, head, claims, root) }) { spool, file in
                spool.file = file
                spool.onEvent(.opened(path: file.path))
            }
        case .append(let fragment, let decodeTime):
            queuedBytes -= fragment.size
            guard let file else { return next() }
            append(fragment, decodeTime: decodeTime, to: file)
        case .close:
            guard let file else { return next() }
            self.file = nil
            let path = root + "/" + file.path
            run({ try SegmentFile.finish(file.descriptor, path: path) }) { spool, _ in
                spool.onEvent(.closed)
            }
        }
    }

    /// The name is claimed before the file appears, so that no repair takes it for a stranger's.
    private static func create(
        _ name: (Int64) -> String, _ head: ByteBuffer, _ claims: PathClaims, _ root: String
    ) throws -> OpenFile {
        var attempt: Int64 = 0
        while true {
            let path = name(attempt)
            attempt += 1
            guard claims.claim(path) else { continue }
            do {
                let descriptor = try SegmentFile.create(root + "/" + path)
                do {
                    try SegmentFile.write(head, to: descriptor, at: 0)
                } catch {
                    SegmentFile.closeQuietly(descriptor)
                    // Nothing was recorded into it: a full disk must not fill up with empty names.
                    try? SegmentFile.remove(root + "/" + path)
                    throw error
                }
                return OpenFile(
                    descriptor: descriptor, path: path, offset: UInt64(head.readableBytes))
            } catch {
                claims.release(path)
                guard (error as? FileError)?.isTaken ?? false, attempt < Limits.namesTried else {
                    throw error
                }
            }
        }
    }

    private func append(_ fragment: BuiltFragment, decodeTime: Int64, to file: OpenFile) {
        run({
            // One contiguous copy: hashed and written in one call each.
            var buffer = ByteBufferAllocator().buffer(capacity: fragment.size)
            var head = fragment.head
            buffer.writeBuffer(&head)
            for sample in fragment.samples { buffer.writeImmutableBuffer(sample) }
            var hash = SHA256()
            buffer.withUnsafeReadableBytes { hash.update(bufferPointer: $0) }
            try SegmentFile.write(buffer, to: file.descriptor, at: file.offset)
            SegmentFile.writeBehind(
                file.descriptor, offset: file.offset, count: buffer.readableBytes)
            let entry = FragmentEntry(
                offset: file.offset, size: UInt32(clamping: buffer.readableBytes),
                decodeTime: decodeTime, duration: fragment.duration,
                sampleCount: UInt16(clamping: fragment.sampleCount),
                startsWithSync: fragment.startsWithSync, hash: Array(hash.finalize()))
            return entry
        }) { spool, entry in
            spool.file?.offset += UInt64(entry.size)
            spool.onEvent(.written(entry))
        }
    }

    /// Runs `work` on a thread and `then` on the loop; a failure gives the file up.
    private func run<T: Sendable>(
        _ work: @escaping @Sendable () throws -> T, then: @escaping (SegmentSpool, T) -> Void
    ) {
        isBusy = true
        let bound = NIOLoopBound((self, then), eventLoop: eventLoop)
        pool.runIfActive(eventLoop: eventLoop, work).whenComplete { result in
            let (spool, then) = bound.value
            spool.isBusy = false
            switch result {
            case .success(let value):
                then(spool, value)
            case .failure(let error):
                spool.giveUp(error as? FileError ?? FileError("spool"))
            }
            spool.next()
        }
    }

    private func giveUp(_ error: FileError) {
        if let file {
            pool.submit { _ in SegmentFile.closeQuietly(file.descriptor) }
        }
        file = nil
        // What was queued for this file is lost; a later `open` begins anew.
        while let first = queue.first {
            if case .open = first { break }
            if case .append(let fragment, _) = first { queuedBytes -= fragment.size }
            queue.removeFirst()
        }
        onEvent(.failed(error))
    }
}
