// A request's body that is too large to wait for, given to its handler as it comes.
// SPDX-License-Identifier: Apache-2.0

import HummingbirdCore
import NIOCore

/// What a handler gets in place of the rest of a body that will not come whole.
struct TornBody: Error {}

/// The end of a body where its bytes arrive. Used on the connection's event loop.
struct StreamedBody {
    private typealias Producer = NIOThrowingAsyncSequenceProducer<
        ByteBuffer, any Error, NIOAsyncSequenceProducerBackPressureStrategies.HighLowWatermark,
        Demand
    >

    private let source: Producer.Source

    /// - Parameter onDemand: called on any thread when a handler that lagged behind asks for more.
    static func make(
        onDemand: @escaping @Sendable () -> Void
    ) -> (StreamedBody, RequestBody) {
        let producer = Producer.makeSequence(
            elementType: ByteBuffer.self, failureType: (any Error).self,
            backPressureStrategy: .init(lowWatermark: 2, highWatermark: 8),
            finishOnDeinit: true, delegate: Demand(onDemand: onDemand))
        return (
            StreamedBody(source: producer.source), RequestBody(asyncSequence: producer.sequence)
        )
    }

    /// Whether more may be read from the client now.
    func yield(_ chunk: ByteBuffer) -> Bool { source.yield(chunk) != .stopProducing }
    func finish(isWhole: Bool) {
        if isWhole { source.finish() } else { source.finish(TornBody()) }
    }

    private struct Demand: NIOAsyncSequenceProducerDelegate {
        let onDemand: @Sendable () -> Void

        func produceMore() { onDemand() }
        func didTerminate() { onDemand() }
    }
}
