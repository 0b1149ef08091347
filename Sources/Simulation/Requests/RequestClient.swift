// One connection of a load: a request out, its answer in.
// SPDX-License-Identifier: Apache-2.0

import NIOCore
import Primitives

/// Tells its owner of each answer, and of the connection's end.
final class RequestClient: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    enum Step {
        case idle
        case asked(due: NIODeadline)
        case releasing
    }

    /// What it asks, over and over.
    let request: ByteBuffer
    private(set) var step = Step.idle
    /// Until the connection ends.
    private var owner: RequestLoop?
    private var context: ChannelHandlerContext?
    private var reader = AnswerReader()

    init(request: ByteBuffer, owner: RequestLoop) {
        self.request = request
        self.owner = owner
    }

    var isAsked: Bool {
        if case .asked = step { true } else { false }
    }

    func ask(due: NIODeadline) {
        step = .asked(due: due)
        write(request)
    }

    func release(_ request: ByteBuffer) {
        step = .releasing
        write(request)
    }

    func rest() { step = .idle }

    func close() { context?.close(promise: nil) }

    private func write(_ bytes: ByteBuffer) {
        context?.writeAndFlush(wrapOutboundOut(bytes), promise: nil)
    }

    func handlerAdded(context: ChannelHandlerContext) { self.context = context }

    func handlerRemoved(context: ChannelHandlerContext) { self.context = nil }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        var bytes = unwrapInboundIn(data)
        do throws(AnswerReader.Failure) {
            while let answer = try reader.next(in: &bytes) { owner?.answered(self, answer) }
        } catch {
            context.close(promise: nil)
        }
    }

    func channelInactive(context: ChannelHandlerContext) {
        self.context = nil
        owner?.lost(self)
        owner = nil
        context.fireChannelInactive()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        context.close(promise: nil)
    }
}

/// The bytes of a load's requests, made once.
struct RequestWire {
    private let work: RequestLoad.Work
    /// Every header line that all requests have, and the line end behind them.
    private let tail: String

    init(_ settings: RequestLoad.Settings) {
        work = settings.work
        let authorization = settings.token.map { "Authorization: Bearer \($0.reveal())\r\n" }
        let host = settings.host.contains(":") ? "[\(settings.host)]" : settings.host
        tail = " HTTP/1.1\r\nHost: \(host):\(settings.port)\r\n\(authorization ?? "")"
    }

    /// - Parameter number: of the client.
    func request(of number: Int) -> ByteBuffer {
        switch work {
        case .get(let path): return ByteBuffer(string: "GET \(path)\(tail)\r\n")
        case .reserve(let cameras, _):
            let body = "{\"camera_id\":\"\(cameras[number % max(cameras.count, 1)])\"}"
            return ByteBuffer(
                string: "POST /api/v1/stream/reserve\(tail)Content-Type: application/json\r\n"
                    + "Content-Length: \(body.utf8.count)\r\n\r\n\(body)")
        }
    }

    /// The request that gives back what was granted; `nil` where it is kept.
    func release(_ body: ByteBuffer) -> ByteBuffer? {
        let name: StaticString = "\"reservation_id\":\""
        guard case .reserve(_, isKept: false) = work, let place = body.offset(ofFolded: name),
            let id = body.getSlice(
                at: body.readerIndex + place + name.utf8CodeUnitCount, length: 36)
        else { return nil }
        var bytes = ByteBuffer()
        bytes.reserveCapacity(80 + tail.utf8.count)
        bytes.writeStaticString("DELETE /api/v1/stream/release/")
        bytes.writeImmutableBuffer(id)
        bytes.writeString(tail)
        bytes.writeStaticString("\r\n")
        return bytes
    }
}
