// The thread that one camera is transcoded on.
// SPDX-License-Identifier: Apache-2.0

import Decoding
import H26x
import NIOPosix
import Synchronization

/// Transcodes units one after the other, off the event loops. What waits is the caller's to count.
final class TranscodeWorker: Sendable {
    typealias Answer = Result<[Transcoder.Output], DecodingError>

    /// What one thread at a time uses: the pool has but one.
    private struct State {
        var transcoder: Transcoder?

        mutating func opened(
            from codec: Codec, _ framesPerSecond: Double?
        ) throws(DecodingError) -> Transcoder {
            if let transcoder { return transcoder }
            let made = try Transcoder(from: codec, framesPerSecond: framesPerSecond)
            transcoder = made
            return made
        }
    }

    private let codec: Codec
    private let framesPerSecond: Double?
    private let pool = NIOThreadPool(numberOfThreads: 1)
    private let state = Mutex(State())

    init(from codec: Codec, framesPerSecond: Double?) {
        self.codec = codec
        self.framesPerSecond = framesPerSecond
        pool.start()
    }

    deinit { pool.shutdownGracefully { _ in } }

    /// - Parameter reply: is called on the worker's thread.
    func submit(
        _ unit: AccessUnit, _ sets: ParameterSets, isShown: Bool,
        reply: @escaping @Sendable (Answer) -> Void
    ) {
        pool.submit { [self] status in
            guard status == .active else { return }
            reply(transcode(unit, sets, isShown: isShown))
        }
    }

    /// What was submitted is no past of what comes.
    func flush() {
        pool.submit { [self] _ in state.withLock { $0.transcoder?.flush() } }
    }

    private func transcode(_ unit: AccessUnit, _ sets: ParameterSets, isShown: Bool) -> Answer {
        state.withLock { state in
            do throws(DecodingError) {
                let transcoder = try state.opened(from: codec, framesPerSecond)
                return .success(try transcoder.transcode(unit, sets, isShown: isShown))
            } catch {
                return .failure(error)
            }
        }
    }
}
