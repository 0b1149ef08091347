// Viewers who cannot use UDP: the same service over framed TCP connections.
// SPDX-License-Identifier: Apache-2.0

import Domain
import Glibc
import Live
import NIOCore
import NIOPosix
import Observability
import Primitives
import RTP
import Testing
import WebRTC

/// A TCP connection to this machine, framed as RFC 4571 says.
final class Connection: ViewerSocket {
    private let descriptor: Int32
    private var framing = TCPFraming()
    private(set) var isClosed = false

    /// - Parameter receiveBuffer: small, for a viewer that is to be slow.
    init(port: Int, receiveBuffer: Int32? = nil) throws {
        descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        if var size = receiveBuffer {
            setsockopt(descriptor, SOL_SOCKET, SO_RCVBUF, &size, 4)
        }
        // Small messages go out at once, as those of real players.
        var on: Int32 = 1
        setsockopt(descriptor, Int32(IPPROTO_TCP), TCP_NODELAY, &on, 4)
        var remote = sockaddr_in()
        remote.sin_family = sa_family_t(AF_INET)
        remote.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        remote.sin_port = UInt16(clamping: port).bigEndian
        let descriptor = descriptor
        let isConnected = withUnsafePointer(to: &remote) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) == 0
            }
        }
        try #require(isConnected)
    }

    deinit { close(descriptor) }

    func take() -> [ByteBuffer] {
        var packets: [ByteBuffer] = []
        var bytes = [UInt8](repeating: 0, count: 65_536)
        while true {
            let count = recv(descriptor, &bytes, bytes.count, Int32(MSG_DONTWAIT))
            isClosed = isClosed || count == 0 || (count < 0 && errno == ECONNRESET)
            guard count > 0 else { return packets }
            framing.append(ByteBuffer(bytes: bytes[..<count]))
            while let packet = try? framing.next() { packets.append(packet) }
        }
    }

    func wait(milliseconds: Int32) {
        var entry = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
        poll(&entry, 1, milliseconds)
    }

    func send(_ datagram: ByteBuffer, to port: Int) {
        if let framed = TCPFraming.frame(datagram) { write(Array(framed.readableBytesView)) }
    }

    func write(_ bytes: [UInt8]) {
        _ = Glibc.send(descriptor, bytes, bytes.count, Int32(MSG_NOSIGNAL))
    }

    /// Returns when the other end has closed.
    func waitForEnd() throws {
        var waits = 0
        while !isClosed {
            waits += 1
            try #require(waits < 1000)
            wait(milliseconds: 20)
            _ = take()
        }
    }
}

@Suite struct ConnectionTests {
    @Test("viewers over TCP get what others get, on either loop, and move to new connections")
    func watches() async throws {
        let rig = try await Rig()
        #expect(rig.service.tcpFailure == nil)
        try await rig.play(5, isRandomAccessPoint: true)
        var viewers: [Viewer] = []
        // Enough of them that some land on a loop that is not their session's.
        for _ in 0..<4 { viewers.append(try await rig.watch(.tcp).viewer) }
        let other = try await rig.watch().viewer
        #expect(rig.service.viewers() == [rig.id: 5])
        try await rig.play(5)
        for viewer in viewers + [other] {
            try rig.until(viewer) { viewer.packets.count >= 30 && !viewer.reports.isEmpty }
            #expect(viewer.packets.count == 30)
            for (packet, next) in zip(viewer.packets, viewer.packets.dropFirst()) {
                #expect(next.sequenceNumber.distance(from: packet.sequenceNumber) == 1)
            }
        }
        let viewer = viewers[0]
        let before = try #require(viewer.receiver as? Connection)
        try viewer.move()
        var pictures = 0
        while viewer.packets.count < 36 {
            pictures += 1
            try #require(pictures < 500)
            try await rig.play(1)
            try viewer.step()
        }
        // The end of the session is the end of all its connections.
        try await rig.end()
        try rig.until(viewer) { viewer.hasLeft }
        try before.waitForEnd()
        try await rig.stop()
    }

    @Test("an answer names its connections behind its datagrams, each with a priority of its own")
    func candidates() async throws {
        let rig = try await Rig(addresses: ["127.0.0.1", "::1"])
        try await rig.play(1, isRandomAccessPoint: true)
        let answer = try await rig.service.open(rig.id, offer: try Viewer(rig.clock).offer)
        let found = try RemoteAnswer(parsing: ByteBuffer(string: answer.description)).candidates
        #expect(found.map(\.address.transport) == [.udp, .udp, .tcp, .tcp])
        #expect(found.map(\.priority) == found.map(\.priority).sorted(by: >))
        #expect(Set(found.map(\.priority)).count == 4)
        #expect(Set(found.map(\.address.port)).count == 1)
        try await rig.stop()
    }

    @Test("a viewer that does not read loses pictures, not the server its memory")
    func slow() async throws {
        let rig = try await Rig()
        try await rig.play(3, isRandomAccessPoint: true)
        let (viewer, _) = try await rig.watch(.tcp)
        try rig.until(viewer) { viewer.packets.count == 9 }
        // More than the kernel's buffers and ours hold; nothing of it is read meanwhile.
        let played = 6000
        try await rig.play(played)
        var quiet = 0
        var count = 0
        while quiet < 20 {
            try viewer.step()
            quiet = viewer.packets.count == count ? quiet + 1 : 0
            count = viewer.packets.count
        }
        #expect(count > 9)
        #expect(count < 9 + 3 * played)
        for (packet, next) in zip(viewer.packets, viewer.packets.dropFirst()) {
            #expect(next.sequenceNumber.distance(from: packet.sequenceNumber) == 1)
        }
        // With the next keyframe it is back: a packet of parameter sets, as at the beginning.
        try await rig.play(3, isRandomAccessPoint: true)
        try rig.until(viewer) { viewer.packets.count == count + 9 }
        let kind = viewer.packets[0].payload.readableBytesView.first
        #expect(viewer.packets[count].payload.readableBytesView.first == kind)
        #expect(viewer.packets[count - 1].payload.readableBytesView.first != kind)
        try await rig.stop()
    }

    @Test("a connection that is not a viewer's is closed")
    func strangers() async throws {
        let rig = try await Rig()
        try await rig.play(1, isRandomAccessPoint: true)
        let http = try Connection(port: rig.service.port)
        http.write(Array("GET / HTTP/1.1\r\n\r\n".utf8))
        try http.waitForEnd()
        let framed = try Connection(port: rig.service.port)
        framed.send(ByteBuffer(string: "hello"), to: 0)
        try framed.waitForEnd()
        for letter in ["a", "b", "z"] {
            let stranger = try Connection(port: rig.service.port)
            var check = STUNMessage(
                .request, transactionID: STUNTransactionID(random: rig.clock.world.random))
            check.username = "\(letter)nobody:me"
            stranger.send(check.serialize(password: Redacted("password")), to: 0)
            try stranger.waitForEnd()
        }
        try await rig.stop()
    }

    @Test("one address gets so many connections and no more")
    func crowd() async throws {
        let rig = try await Rig()
        let crowd = try (0..<65).map { _ in try Connection(port: rig.service.port) }
        let refusal = "cctv_webrtc_connections_refused_total{reason=\"limit\"} 1\n"
        var waits = 0
        while !rig.registry.render().contains(refusal) {
            waits += 1
            try #require(waits < 500)
            crowd[64].wait(milliseconds: 20)
        }
        try await rig.stop()
    }

    @Test("where the port of TCP is taken, that is said, and UDP goes on without")
    func taken() async throws {
        let loops = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        let squatter = try await ServerBootstrap(group: loops).bind(host: "0.0.0.0", port: 0).get()
        let port = try #require(squatter.localAddress?.port)
        let rig = try await Rig(port: port)
        #expect(rig.service.tcpFailure != nil)
        try await rig.play(3, isRandomAccessPoint: true)
        let (viewer, answer) = try await rig.watch()
        try rig.until(viewer) { viewer.packets.count == 9 }
        #expect(!answer.description.contains("tcptype"))
        try await rig.stop()
        try await squatter.close()
        try await loops.shutdownGracefully()
    }
}
