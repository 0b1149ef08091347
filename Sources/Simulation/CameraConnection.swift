// One viewer's connection to the simulated cameras.
// SPDX-License-Identifier: Apache-2.0

import NIOCore
import RTSP

/// Carries bytes between a socket and a `ServerSession`; the hub sends the frames.
final class CameraConnection: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    /// The camera described last, by index.
    private(set) var camera: Int?
    /// Where RTP goes; RTCP goes to the next one.
    private(set) var channelNumber: UInt8 = 0
    /// Where its sound goes, for a viewer that wants it.
    private(set) var audioChannelNumber: UInt8?
    var isWaitingForStart = true

    private let hub: CameraHub
    private var session: ServerSession
    private var context: ChannelHandlerContext?
    /// Packets that wait for their turn, where a frame's are spread over its time.
    private var waiting: CircularBuffer<ByteBuffer> = []

    init(hub: CameraHub, session: ServerSession) {
        self.hub = hub
        self.session = session
    }

    var isWritable: Bool { context?.channel.isWritable ?? false }

    func send(_ bytes: ByteBuffer) {
        guard let context else { return }
        context.writeAndFlush(wrapOutboundOut(bytes), promise: nil)
    }

    /// Takes a frame's interleaved packets, to be sent one at a time by `sendWaiting`.
    func spread(_ frame: ByteBuffer) {
        var rest = frame
        while let length = rest.getInteger(at: rest.readerIndex + 2, as: UInt16.self),
            let packet = rest.readSlice(length: 4 + Int(length))
        {
            waiting.append(packet)
        }
    }

    /// Sends this share of what waits, at least a packet: each in a write of its own.
    func sendWaiting(oneOf ticks: Int) {
        for _ in 0..<((waiting.count + ticks - 1) / max(ticks, 1)) {
            if let packet = waiting.popFirst() { send(packet) }
        }
    }

    func close() { context?.close(promise: nil) }

    // MARK: ChannelInboundHandler

    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
        hub.opened(self)
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        self.context = nil
        hub.closed(self)
    }

    func channelInactive(context: ChannelHandlerContext) {
        hub.closed(self)
        context.fireChannelInactive()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        session.receive(unwrapInboundIn(data))
        while let output = session.pollOutput() { handle(output) }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        context.close(promise: nil)
    }

    private func handle(_ output: ServerSession.Output) {
        switch output {
        case .send(let bytes): send(bytes)
        case .describe(let path, let token): describe(path, token)
        case .play(let path, let channel, let audioChannel):
            guard let index = hub.index(path: path) else { return close() }
            channelNumber = channel
            audioChannelNumber = audioChannel
            hub.play(self, index)
        case .teardown: hub.stopPlaying(self)
        case .close: close()
        }
    }

    private func describe(_ path: String, _ token: UInt64) {
        guard let index = hub.index(path: path) else {
            return session.answerDescribe(token, sdp: nil)
        }
        camera = index
        guard hub.isDown(index) else {
            return session.answerDescribe(token, sdp: hub.description(index))
        }
        session.answerDescribe(token, sdp: nil)
        while let output = session.pollOutput() {
            if case .send(let bytes) = output { send(Self.unavailable(bytes)) }
        }
        close()
    }

    /// The session's refusal under the status of a camera that is there but out of order.
    private static func unavailable(_ refusal: ByteBuffer) -> ByteBuffer {
        var rest = refusal
        guard let lineEnd = rest.readableBytesView.firstIndex(of: UInt8(ascii: "\r")) else {
            return refusal
        }
        rest.moveReaderIndex(to: lineEnd)
        var answer = ByteBuffer(string: "RTSP/1.0 503 Service Unavailable")
        answer.writeBuffer(&rest)
        return answer
    }
}
