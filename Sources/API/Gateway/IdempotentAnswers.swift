// A request that is sent twice is done once: answers kept by the key that the client gave.
// SPDX-License-Identifier: Apache-2.0

import Crypto
import Domain
import HTTPTypes
import Hummingbird
import NIOCore
import Primitives
import Synchronization

/// Answers to POST requests with an Idempotency-Key, by caller and key, for a day or until newer ones
/// need the room. An answer that says "try again" is not kept, nor is one to a request that failed.
final class IdempotentAnswers: Sendable {
    static let lifetime = Duration.seconds(86_400)
    static let kept = 10_000
    static let keptBytes = 32 * 1024 * 1024
    /// Of a request with a key, and of an answer that is kept.
    static let bodyBytes = 1024 * 1024
    static let keyBytes = 128

    private struct Key: Hashable {
        var actor: Actor
        var text: String
    }

    private struct Answer {
        var status: HTTPResponse.Status
        var headers: HTTPFields
        var body: ByteBuffer
    }

    private struct Entry {
        var fingerprint: [UInt8]
        /// `nil` while the first request is being served.
        var answer: Answer?
        var keptAt: Instant
    }

    private struct State {
        var entries: [Key: Entry] = [:]
        var order = CircularBuffer<(key: Key, keptAt: Instant)>()
        var bytes = 0

        mutating func dropOldest() {
            guard let oldest = order.popFirst(),
                let entry = entries[oldest.key], entry.keptAt == oldest.keptAt
            else { return }
            bytes -= entry.answer?.body.readableBytes ?? 0
            entries[oldest.key] = nil
        }
    }

    private let world: World
    private let state = Mutex(State())

    init(world: World) { self.world = world }

    func answer(
        _ text: String, _ request: Request, _ context: MarsadRequestContext,
        _ handler: RouteHandler
    ) async throws -> Response {
        guard (1...Self.keyBytes).contains(text.utf8.count),
            text.utf8.allSatisfy({ (0x21...0x7E).contains($0) })
        else {
            throw MarsadError(.invalidRequest, details: ["header": "Idempotency-Key"])
        }
        var request = request
        let body = try await request.collectBody(upTo: Self.bodyBytes)
        request.body = .init(buffer: body)
        var hash = SHA256()
        hash.update(data: Array((request.uri.string + "\n").utf8))
        hash.update(data: Array(body.readableBytesView))
        let key = Key(actor: context.caller.actor, text: text)
        if let answer = try begin(key, Array(hash.finalize())) {
            return Response(
                status: answer.status, headers: answer.headers,
                body: .init(byteBuffer: answer.body))
        }
        do {
            let response = try await handler(request, context)
            return try await keep(response, key)
        } catch {
            forget(key)
            throw error
        }
    }

    /// The answer that is already there; `nil` when the caller is the one to find it.
    private func begin(_ key: Key, _ fingerprint: [UInt8]) throws(MarsadError) -> Answer? {
        let now = world.now()
        return try state.withLock { (state) throws(MarsadError) -> Answer? in
            while let oldest = state.order.first, now - oldest.keptAt >= Self.lifetime {
                state.dropOldest()
            }
            guard let entry = state.entries[key] else {
                guard state.entries.count < Self.kept * 2 else {
                    throw MarsadError(.overloaded, details: ["retry_after": "2"])
                }
                state.entries[key] = Entry(fingerprint: fingerprint, keptAt: now)
                return nil
            }
            guard entry.fingerprint == fingerprint else {
                throw MarsadError(
                    .unprocessable,
                    details: ["reason": "the Idempotency-Key was used for another request"])
            }
            guard let answer = entry.answer else {
                throw MarsadError(
                    .conflict,
                    details: ["reason": "the first request is being served", "retry_after": "1"])
            }
            return answer
        }
    }

    private func keep(_ response: Response, _ key: Key) async throws -> Response {
        let length = response.body.contentLength ?? .max
        guard response.status.code < 500, response.status.code != 429, length <= Self.bodyBytes
        else {
            forget(key)
            return response
        }
        let collected = Collected()
        try await response.body.write(CollectingWriter(collected: collected))
        let body = collected.body.withLock { $0 }
        let answer = Answer(status: response.status, headers: response.headers, body: body)
        let now = world.now()
        state.withLock { state in
            state.entries[key]?.answer = answer
            state.entries[key]?.keptAt = now
            state.order.append((key, now))
            state.bytes += body.readableBytes
            while state.order.count > Self.kept || state.bytes > Self.keptBytes {
                state.dropOldest()
            }
        }
        return Response(
            status: response.status, headers: response.headers, body: .init(byteBuffer: body))
    }

    private func forget(_ key: Key) { state.withLock { _ = $0.entries.removeValue(forKey: key) } }
}

/// A response's body, as its writer gives it.
private final class Collected: Sendable {
    let body = Mutex(ByteBuffer())
}

private struct CollectingWriter: ResponseBodyWriter {
    let collected: Collected

    mutating func write(_ buffer: ByteBuffer) async throws {
        collected.body.withLock { _ = $0.writeImmutableBuffer(buffer) }
    }

    consuming func finish(_ trailingHeaders: HTTPFields?) async throws {}
}
