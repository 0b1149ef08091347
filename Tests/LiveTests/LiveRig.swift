// What the tests of live viewing stand on: a made-up camera, and a viewer's end on a real socket.
// SPDX-License-Identifier: Apache-2.0

import Glibc
import H26x
import Live
import NIOCore
import Primitives
import RTP
import RTPFormats
import Testing
import WebRTC

/// A camera whose packets are all different, so that a payload tells which one it is.
struct Film {
    static let sps = ByteBuffer(bytes: [0x67, 66, 0xC0, 10, 0xDA, 0x02, 0x80, 0xF6, 0x40])
    static let pps = ByteBuffer(bytes: [0x68, 0xEE, 0x3C, 0x80])

    let maxPayload: Int
    let sets: ParameterSets
    var time: Int64 = 1_000_000
    var period: Int64 = 3600
    private(set) var numbers: [ByteBuffer: Int64] = [:]
    private(set) var bursts: [PacketBurst] = []
    private var packetizer: BurstPacketizer
    private var random: SeededRandom

    init(maxPayload: Int = 1160, seed: UInt64 = 5) throws {
        random = SeededRandom(seed: seed)
        self.maxPayload = maxPayload
        sets = try ParameterSets(sps: Self.sps, pps: Self.pps)
        packetizer = BurstPacketizer(maxPayload: maxPayload)
    }

    /// A unit of so many packets, 40 ms after the one before.
    mutating func unit(isRandomAccessPoint: Bool, packets: Int) -> AccessUnit {
        // A name of its own keeps a packet of parameter sets apart from those of other units.
        var name = ByteBuffer(bytes: [0x06])
        name.writeInteger(random.next())
        var slice = ByteBuffer(bytes: [isRandomAccessPoint ? 0x65 : 0x41, 0x88])
        // The first packet holds the name, and what else is small.
        let bytes =
            packets == 1
            ? 9 : packets == 2 ? maxPayload - 9 : max(0, packets - 2) * (maxPayload - 2) + 20
        while slice.readableBytes < bytes {
            slice.writeInteger(random.next())
        }
        defer { time += period }
        return AccessUnit(
            avcc: AVCC.serialize([name, slice]), decodeTime: time,
            isRandomAccessPoint: isRandomAccessPoint,
            wallTime: WallTime(microseconds: time * 100 / 9))
    }

    mutating func next(isRandomAccessPoint: Bool = false, packets: Int = 3) -> PacketBurst {
        let burst = packetizer.next(
            unit(isRandomAccessPoint: isRandomAccessPoint, packets: packets), sets)
        bursts.append(burst)
        for packet in 0..<burst.packetCount {
            numbers[payload(packet, of: burst)] = burst.firstPacket + Int64(packet)
        }
        return burst
    }

    func payload(_ packet: Int, of burst: PacketBurst) -> ByteBuffer {
        let range = burst.range(of: packet)
        return burst.payloads.getSlice(
            at: burst.payloads.readerIndex + range.lowerBound, length: range.count) ?? ByteBuffer()
    }

    /// The camera's number of a packet; -1 for one that the camera did not make.
    func number(_ packet: Packet) -> Int64 { numbers[packet.payload] ?? -1 }

    func has(_ packet: Packet) -> Bool { number(packet) >= 0 }

    func burst(packet number: Int64) -> PacketBurst? {
        bursts.first { $0.firstPacket <= number && number < $0.endPacket }
    }
}

/// A UDP socket of this machine: what a viewer's packets arrive at.
final class Receiver {
    let descriptor: Int32
    let address: TransportAddress

    init() throws {
        let made = socket(AF_INET, Int32(SOCK_DGRAM.rawValue | SOCK_NONBLOCK.rawValue), 0)
        var size: Int32 = 8 << 20
        // Beyond the system's limit where the tests may; else what there is has to do.
        if setsockopt(made, SOL_SOCKET, SO_RCVBUFFORCE, &size, 4) != 0 {
            setsockopt(made, SOL_SOCKET, SO_RCVBUF, &size, 4)
        }
        var local = sockaddr_in()
        local.sin_family = sa_family_t(AF_INET)
        local.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let bound = withUnsafeMutablePointer(to: &local) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(made, $0, length) == 0 && getsockname(made, $0, &length) == 0
            }
        }
        descriptor = made
        try #require(bound)
        address = TransportAddress(ipv4: 0x7F00_0001, port: UInt16(bigEndian: local.sin_port))
    }

    deinit { close(descriptor) }

    /// All datagrams that wait.
    func take() -> [ByteBuffer] {
        var datagrams: [ByteBuffer] = []
        var bytes = [UInt8](repeating: 0, count: 65_536)
        while true {
            let count = recv(descriptor, &bytes, bytes.count, 0)
            guard count >= 0 else { return datagrams }
            datagrams.append(ByteBuffer(bytes: bytes[..<count]))
        }
    }

    /// Returns with the next datagram, or when it did not come in that time.
    func wait(milliseconds: Int32) {
        var entry = pollfd(descriptor: descriptor)
        poll(&entry, 1, milliseconds)
    }

    func send(_ datagram: ByteBuffer, to port: Int) {
        var remote = sockaddr_in()
        remote.sin_family = sa_family_t(AF_INET)
        remote.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        remote.sin_port = UInt16(clamping: port).bigEndian
        datagram.withUnsafeReadableBytes { bytes in
            withUnsafePointer(to: &remote) { pointer in
                pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    _ = sendto(
                        descriptor, bytes.baseAddress, bytes.count, 0, $0,
                        socklen_t(MemoryLayout<sockaddr_in>.size))
                }
            }
        }
    }
}

extension pollfd {
    fileprivate init(descriptor: Int32) {
        self.init(fd: descriptor, events: Int16(POLLIN), revents: 0)
    }
}

/// A sending socket that can be made to be full.
final class Sender {
    let socket: LiveSocket
    private let descriptor: Int32
    private let open: Int32
    /// A TCP connection that takes no more bytes: for a send that is the same as a full UDP socket.
    private let full: Int32
    private var others: [Int32] = []

    init(refusesSegments: Bool = false) throws {
        descriptor = Glibc.socket(
            AF_INET, Int32(SOCK_DGRAM.rawValue | SOCK_NONBLOCK.rawValue), 0)
        if refusesSegments {
            // The kernel does not cut datagrams that carry no checksum.
            var on: Int32 = 1
            setsockopt(descriptor, SOL_SOCKET, SO_NO_CHECK, &on, 4)
        }
        open = dup(descriptor)
        let listener = Glibc.socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        full = Glibc.socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        others = [listener]
        // Of a fixed size: what the kernel lets grow is never full for long.
        var size: Int32 = 4096
        setsockopt(listener, SOL_SOCKET, SO_RCVBUF, &size, 4)
        setsockopt(full, SOL_SOCKET, SO_SNDBUF, &size, 4)
        var local = sockaddr_in()
        local.sin_family = sa_family_t(AF_INET)
        local.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let (full, descriptor) = (full, descriptor)
        let isConnected = withUnsafeMutablePointer(to: &local) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(listener, $0, length) == 0 && listen(listener, 1) == 0
                    && getsockname(listener, $0, &length) == 0 && connect(full, $0, length) == 0
            }
        }
        try #require(isConnected)
        socket = LiveSocket(descriptor: descriptor, isDual: false)
    }

    deinit {
        for other in others + [open, full] { close(other) }
    }

    var isFull = false {
        didSet {
            let zeros = [UInt8](repeating: 0, count: 4096)
            while isFull, Glibc.send(full, zeros, zeros.count, Int32(MSG_DONTWAIT)) > 0 {}
            dup2(isFull ? full : open, descriptor)
        }
    }
}

/// A stream, and the viewer's end of it.
final class Watched {
    static let format = ViewerFormat(
        payloadType: 96, rtxPayloadType: 97, ssrc: SSRC(rawValue: 0x1111),
        rtxSSRC: SSRC(rawValue: 0x2222))

    let stream: ViewerStream
    let receiver: Receiver
    let format: ViewerFormat
    /// As they came, still sealed.
    private(set) var datagrams: [ByteBuffer] = []
    private let opener: SRTPOpener
    private let resendOpener: SRTPOpener

    static func keys(_ profile: SRTPProfile = .aeadAES128GCM) -> KeyingMaterial {
        func keys(_ seed: UInt8) -> SRTPKeys {
            SRTPKeys(
                masterKey: Redacted((0..<16).map { $0 &* 7 &+ seed }),
                masterSalt: Redacted((0..<UInt8(profile.saltBytes)).map { $0 &* 3 &+ seed }))
        }
        return KeyingMaterial(profile: profile, local: keys(1), remote: keys(2))
    }

    init(
        _ sender: Sender, receiver: Receiver? = nil, format: ViewerFormat = Watched.format,
        profile: SRTPProfile = .aeadAES128GCM, firstSequence: UInt16 = 1000,
        timeOffset: UInt32 = 0xFFFF_0000, isFar: Bool = false,
        scratch: UnsafeMutableRawBufferPointer
    ) throws {
        let keys = Self.keys(profile)
        self.receiver = try receiver ?? Receiver()
        self.format = format
        stream = try ViewerStream(
            format: format, keys: keys,
            path: .datagrams(sender.socket, self.receiver.address), scratch: scratch,
            timeOffset: timeOffset, isFar: isFar, firstSequence: firstSequence)
        opener = try SRTPOpener(profile: profile, keys: keys.local)
        resendOpener = try SRTPOpener(profile: profile, keys: keys.local)
    }

    /// What came since: the stream's packets, and those of its resends.
    func take() throws -> (packets: [Packet], resends: [Packet]) {
        try open(receiver.take())
    }

    func open(_ all: [ByteBuffer]) throws -> (packets: [Packet], resends: [Packet]) {
        var packets: [Packet] = []
        var resends: [Packet] = []
        for datagram in all {
            datagrams.append(datagram)
            let ssrc = datagram.getInteger(at: datagram.readerIndex + 8, as: UInt32.self)
            if ssrc == format.rtxSSRC.rawValue {
                resends.append(try Packet(validating: resendOpener.open(datagram)))
            } else if ssrc == format.ssrc.rawValue {
                packets.append(try Packet(validating: opener.open(datagram)))
            }
        }
        return (packets, resends)
    }
}

/// What must hold for any run of a viewer's packets: numbers without a gap, times that rise with each
/// picture, the marker on its last packet and nowhere else.
func expectContinuous(_ packets: [Packet], _ film: Film, _ comment: Comment? = nil) {
    for (packet, next) in zip(packets, packets.dropFirst()) {
        let step = next.sequenceNumber.distance(from: packet.sequenceNumber)
        #expect(step == 1, comment)
        let ticks = next.timestamp.distance(from: packet.timestamp)
        let isSame =
            film.burst(packet: film.number(packet))?.frame
            == film.burst(packet: film.number(next))?.frame
        #expect(isSame ? ticks == 0 : ticks > 0, comment)
    }
    for packet in packets {
        let number = film.number(packet)
        #expect(packet.marker == (film.burst(packet: number)?.endPacket == number + 1), comment)
        #expect(packet.payloadType == 96, comment)
    }
}

extension ViewerStream {
    /// A report of a lost picture; whether it is answered at once.
    func losesPicture(at now: Instant) -> Bool {
        lostPicture(at: now)
        return takeReplay(at: now)
    }
}
