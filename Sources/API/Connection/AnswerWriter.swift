// The body of an answer, written as fast as its client takes it.
// SPDX-License-Identifier: Apache-2.0

import HTTPTypes
import HummingbirdCore
import NIOCore

/// Writes one answer to its connection, from any task.
struct AnswerWriter: ResponseBodyWriter, Sendable {
    /// Of a body, in bytes, between two looks at whether the client takes it.
    private static let part = 64 * 1024

    private let connection: NIOLoopBound<HTTPConnection>
    private let loop: any EventLoop
    /// Which of the connection's answers: what is written after its end belongs into no other.
    private let number: Int

    init(_ connection: HTTPConnection, on loop: any EventLoop, number: Int) {
        self.connection = NIOLoopBound(connection, eventLoop: loop)
        self.loop = loop
        self.number = number
    }

    /// Writes an answer whole.
    func write(_ response: Response) async throws {
        try await onLoop { try $0.begin(response, number) }
        try await response.body.write(self)
    }

    func write(_ buffer: ByteBuffer) async throws {
        var rest = buffer
        while let part = rest.readSlice(length: min(Self.part, rest.readableBytes)) {
            // A task that wrote on would hold in memory what a slow client has not taken.
            try await onLoop { try $0.write(part, number) }?.get()
            if rest.readableBytes == 0 { return }
        }
    }

    consuming func finish(_ trailers: HTTPFields?) async throws {
        let number = number
        try await onLoop { try $0.end(trailers, number) }
    }

    /// Nothing more comes, be the answer whole or not.
    func taskEnded() {
        guard loop.inEventLoop else { return loop.execute { connection.value.taskEnded(number) } }
        connection.value.taskEnded(number)
    }

    private func onLoop<Result: Sendable>(
        _ act: @escaping @Sendable (HTTPConnection) throws -> Result
    ) async throws -> Result {
        // The task of a request runs on its connection's loop; a body may be written by another.
        if loop.inEventLoop { return try act(connection.value) }
        return try await loop.submit { try act(connection.value) }.get()
    }
}
