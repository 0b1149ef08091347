// A server that answers what the test says, for faults that no real one makes on demand.
// SPDX-License-Identifier: Apache-2.0

import NIOCore
import NIOPosix
import RESP
import Synchronization

/// What becomes of one command.
enum ScriptedAnswer: Sendable {
    case value(RESPValue)
    /// Bytes as they are, flushed one by one.
    case dripped([UInt8])
    case silence
    case hangUp

    static let ok = ScriptedAnswer.value(.simpleString("OK"))

    static func failure(_ text: String) -> ScriptedAnswer {
        .value(.failure(RESPFailure(parsing: text)))
    }
}

final class ScriptedServer: Sendable {
    typealias Script = @Sendable (_ command: [String]) -> ScriptedAnswer

    private final class Handler: ChannelInboundHandler {
        typealias InboundIn = ByteBuffer
        private var decoder = RESPDecoder()
        private let script: Script
        private let log: @Sendable ([String]) -> Void

        init(script: @escaping Script, log: @escaping @Sendable ([String]) -> Void) {
            self.script = script
            self.log = log
        }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            decoder.receive(unwrapInboundIn(data))
            while let value = try? decoder.next() {
                let command = value.elements?.compactMap(\.text) ?? []
                log(command)
                switch script(command) {
                case .value(let value):
                    var bytes = ByteBuffer()
                    bytes.writeValue(value)
                    context.writeAndFlush(NIOAny(bytes), promise: nil)
                case .dripped(let bytes):
                    for byte in bytes {
                        context.writeAndFlush(NIOAny(ByteBuffer(bytes: [byte])), promise: nil)
                    }
                case .silence: break
                case .hangUp: context.close(promise: nil)
                }
            }
        }
    }

    private final class Log: Sendable {
        private let all = Mutex<[[String]]>([])
        var commands: [[String]] { all.withLock { $0 } }
        func add(_ command: [String]) { all.withLock { $0.append(command) } }
    }

    private let channel: any Channel
    private let log = Log()
    let port: Int

    init(port: Int = 0, _ script: @escaping Script) async throws {
        let log = log
        channel = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(
                        Handler(script: script) { log.add($0) })
                }
            }.bind(host: "127.0.0.1", port: port).get()
        self.port = channel.localAddress?.port ?? 0
    }

    var url: String { "valkey://127.0.0.1:\(port)" }
    /// Every command so far, those of the handshake left out.
    var commands: [[String]] { log.commands.filter { $0.first != "HELLO" } }
    var greetings: [[String]] { log.commands.filter { $0.first == "HELLO" } }

    func stop() async { try? await channel.close() }
}
