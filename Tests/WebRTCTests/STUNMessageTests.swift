// STUN: the vectors of RFC 5769, round trips, damage; addresses and TCP framing.
// SPDX-License-Identifier: Apache-2.0

import NIOCore
import Primitives
import Testing
import WebRTC

/// The samples of RFC 5769 §2.
enum RFC5769 {
    static let password = Redacted("VOkJxbRl1RmTxUk/WvJxBt")
    static let request: [UInt8] = [
        0x00, 0x01, 0x00, 0x58, 0x21, 0x12, 0xA4, 0x42, 0xB7, 0xE7, 0xA7, 0x01, 0xBC, 0x34, 0xD6,
        0x86, 0xFA, 0x87, 0xDF, 0xAE, 0x80, 0x22, 0x00, 0x10, 0x53, 0x54, 0x55, 0x4E, 0x20, 0x74,
        0x65, 0x73, 0x74, 0x20, 0x63, 0x6C, 0x69, 0x65, 0x6E, 0x74, 0x00, 0x24, 0x00, 0x04, 0x6E,
        0x00, 0x01, 0xFF, 0x80, 0x29, 0x00, 0x08, 0x93, 0x2F, 0xF9, 0xB1, 0x51, 0x26, 0x3B, 0x36,
        0x00, 0x06, 0x00, 0x09, 0x65, 0x76, 0x74, 0x6A, 0x3A, 0x68, 0x36, 0x76, 0x59, 0x20, 0x20,
        0x20, 0x00, 0x08, 0x00, 0x14, 0x9A, 0xEA, 0xA7, 0x0C, 0xBF, 0xD8, 0xCB, 0x56, 0x78, 0x1E,
        0xF2, 0xB5, 0xB2, 0xD3, 0xF2, 0x49, 0xC1, 0xB5, 0x71, 0xA2, 0x80, 0x28, 0x00, 0x04, 0xE5,
        0x7A, 0x3B, 0xCF,
    ]
    static let responseIPv4: [UInt8] = [
        0x01, 0x01, 0x00, 0x3C, 0x21, 0x12, 0xA4, 0x42, 0xB7, 0xE7, 0xA7, 0x01, 0xBC, 0x34, 0xD6,
        0x86, 0xFA, 0x87, 0xDF, 0xAE, 0x80, 0x22, 0x00, 0x0B, 0x74, 0x65, 0x73, 0x74, 0x20, 0x76,
        0x65, 0x63, 0x74, 0x6F, 0x72, 0x20, 0x00, 0x20, 0x00, 0x08, 0x00, 0x01, 0xA1, 0x47, 0xE1,
        0x12, 0xA6, 0x43, 0x00, 0x08, 0x00, 0x14, 0x2B, 0x91, 0xF5, 0x99, 0xFD, 0x9E, 0x90, 0xC3,
        0x8C, 0x74, 0x89, 0xF9, 0x2A, 0xF9, 0xBA, 0x53, 0xF0, 0x6B, 0xE7, 0xD7, 0x80, 0x28, 0x00,
        0x04, 0xC0, 0x7D, 0x4C, 0x96,
    ]
    static let responseIPv6: [UInt8] = [
        0x01, 0x01, 0x00, 0x48, 0x21, 0x12, 0xA4, 0x42, 0xB7, 0xE7, 0xA7, 0x01, 0xBC, 0x34, 0xD6,
        0x86, 0xFA, 0x87, 0xDF, 0xAE, 0x80, 0x22, 0x00, 0x0B, 0x74, 0x65, 0x73, 0x74, 0x20, 0x76,
        0x65, 0x63, 0x74, 0x6F, 0x72, 0x20, 0x00, 0x20, 0x00, 0x14, 0x00, 0x02, 0xA1, 0x47, 0x01,
        0x13, 0xA9, 0xFA, 0xA5, 0xD3, 0xF1, 0x79, 0xBC, 0x25, 0xF4, 0xB5, 0xBE, 0xD2, 0xB9, 0xD9,
        0x00, 0x08, 0x00, 0x14, 0xA3, 0x82, 0x95, 0x4E, 0x4B, 0xE6, 0x7B, 0xF1, 0x17, 0x84, 0xC9,
        0x7C, 0x82, 0x92, 0xC2, 0x75, 0xBF, 0xE3, 0xED, 0x41, 0x80, 0x28, 0x00, 0x04, 0xC8, 0xFB,
        0x0B, 0x4C,
    ]
    static let transaction = STUNTransactionID(upper: 0xB7E7_A701, lower: 0xBC34_D686_FA87_DFAE)
}

@Suite struct STUNMessageTests {
    @Test("the sample request of RFC 5769 reads, and its integrity is right")
    func sampleRequest() throws {
        let message = try STUNMessage(validating: ByteBuffer(bytes: RFC5769.request))
        #expect(message.messageClass == .request)
        #expect(message.method == STUNMessage.binding)
        #expect(message.transactionID == RFC5769.transaction)
        #expect(message.username == "evtj:h6vY")
        #expect(message.priority == 0x6E00_01FF)
        #expect(message.role == .controlled(0x932F_F9B1_5126_3B36))
        #expect(!message.isNomination)
        #expect(message.hasFingerprint)
        #expect(message.notUnderstood.isEmpty)
        #expect(message.isAuthentic(password: RFC5769.password))
        #expect(!message.isAuthentic(password: Redacted("VOkJxbRl1RmTxUk/WvJxBu")))
        #expect(STUNMessage.recipient(of: ByteBuffer(bytes: RFC5769.request)) == "evtj")
    }

    @Test("the sample responses of RFC 5769 read, over IPv4 and IPv6")
    func sampleResponses() throws {
        for (bytes, host) in [
            (RFC5769.responseIPv4, "192.0.2.1"),
            (RFC5769.responseIPv6, "2001:db8:1234:5678:11:2233:4455:6677"),
        ] {
            let message = try STUNMessage(validating: ByteBuffer(bytes: bytes))
            #expect(message.messageClass == .success)
            #expect(message.mappedAddress == TransportAddress(host: host, port: 32_853))
            #expect(message.mappedAddress?.host == host)
            #expect(message.hasFingerprint)
            #expect(message.isAuthentic(password: RFC5769.password))
        }
    }

    @Test("a written message has the bytes of the sample, its optional SOFTWARE apart")
    func writtenLikeSample() throws {
        var message = STUNMessage(.success, transactionID: RFC5769.transaction)
        message.mappedAddress = TransportAddress(host: "192.0.2.1", port: 32_853)
        let bytes = Array(message.serialize(password: nil).readableBytesView)
        #expect(Array(bytes[20..<32]) == Array(RFC5769.responseIPv4[36..<48]))
        #expect(bytes.count == 40)
    }

    @Test("every attribute reads back as it was written")
    func roundTrip() throws {
        var message = STUNMessage(.request, transactionID: RFC5769.transaction)
        message.username = "remote:local"
        message.priority = 12345
        message.isNomination = true
        message.role = .controlling(.max - 1)
        message.mappedAddress = TransportAddress(host: "2001:db8::7", port: 9)
        message.errorCode = 487
        message.unknownAttributes = [0x7000, 0x7001, 0x7002]
        let secret = Redacted("a password of some length")
        let read = try STUNMessage(validating: message.serialize(password: secret))
        #expect(read.username == "remote:local")
        #expect(read.priority == 12345)
        #expect(read.isNomination)
        #expect(read.role == .controlling(.max - 1))
        #expect(read.mappedAddress == message.mappedAddress)
        #expect(read.errorCode == 487)
        #expect(read.unknownAttributes == [0x7000, 0x7001, 0x7002])
        #expect(read.isAuthentic(password: secret))
        #expect(!read.isAuthentic(password: Redacted("")))
        let unsigned = try STUNMessage(validating: message.serialize(password: nil))
        #expect(!unsigned.isAuthentic(password: secret))
    }

    @Test("every class and method keeps its bits")
    func types() throws {
        for kind in [STUNMessage.Class.request, .indication, .success, .failure] {
            for method: UInt16 in [0, 1, 0x0F, 0x10, 0x7F, 0x80, 0xABC, 0xFFF] {
                let message = STUNMessage(
                    kind, method: method, transactionID: RFC5769.transaction)
                let read = try STUNMessage(validating: message.serialize(password: nil))
                #expect(read.messageClass == kind)
                #expect(read.method == method)
            }
        }
    }

    @Test("attributes behind MESSAGE-INTEGRITY are not believed")
    func behindIntegrity() throws {
        var message = STUNMessage(.request, transactionID: RFC5769.transaction)
        message.username = "a:b"
        let secret = Redacted("password")
        var bytes = message.serialize(password: secret)
        bytes.moveWriterIndex(to: bytes.writerIndex - 8)
        bytes.writeMultipleIntegers(UInt16(0x0025), UInt16(0))
        bytes.setInteger(UInt16(bytes.readableBytes - 20), at: 2)
        let read = try STUNMessage(validating: bytes)
        #expect(read.isAuthentic(password: secret))
        #expect(!read.isNomination)
    }

    @Test("unknown attributes are listed where they must be understood, the first of a kind counts")
    func unknown() throws {
        var bytes = ByteBuffer(bytes: RFC5769.request.prefix(20))
        bytes.writeBytes([0x70, 0x01, 0, 1, 9, 0, 0, 0, 0xC0, 0x01, 0, 0])
        bytes.writeBytes([0, 0x24, 0, 4, 0, 0, 0, 1, 0, 0x24, 0, 4, 0, 0, 0, 2])
        bytes.setInteger(UInt16(bytes.readableBytes - 20), at: 2)
        let message = try STUNMessage(validating: bytes)
        #expect(message.notUnderstood == [0x7001])
        #expect(message.priority == 1)
        #expect(!message.hasFingerprint)
    }

    @Test("damage is refused with its place")
    func damage() {
        func error(_ bytes: [UInt8]) -> STUNError? {
            do throws(STUNError) {
                _ = try STUNMessage(validating: ByteBuffer(bytes: bytes))
                return nil
            } catch { return error }
        }
        var bytes = RFC5769.request
        #expect(error(Array(bytes.prefix(19))) == STUNError(.truncated, at: 19))
        #expect(error(Array(bytes.dropLast(4))) == STUNError(.lengthMismatch, at: 2))
        bytes[4] = 0
        #expect(error(bytes) == STUNError(.notSTUN, at: 0))
        bytes = RFC5769.request
        bytes[30] ^= 1
        #expect(error(bytes) == STUNError(.wrongFingerprint, at: 100))
        bytes = RFC5769.request
        bytes[22] = 0xFF
        #expect(error(bytes) == STUNError(.attributeBeyondMessage, at: 20))
        bytes = RFC5769.request
        bytes[21] = 0x28
        #expect(error(bytes) == STUNError(.fingerprintNotLast, at: 20))
        bytes = RFC5769.request
        bytes[41] = 0x2A
        bytes[40] = 0x80
        #expect(error(bytes) == STUNError(.malformedAttribute(0x802A), at: 40))
        bytes = Array(RFC5769.request.prefix(20))
        for index in UInt8(0)..<40 { bytes += [0xC0, index, 0, 0] }
        bytes[3] = 160
        #expect(error(bytes) == STUNError(.tooManyAttributes, at: 148))
    }

    @Test("STUN is told from DTLS, RTP and short datagrams")
    func demultiplexing() {
        #expect(STUNMessage.isSTUN(ByteBuffer(bytes: RFC5769.request)))
        for first: UInt8 in [4, 20, 63, 64, 128, 191] {
            var bytes = RFC5769.request
            bytes[0] = first
            #expect(!STUNMessage.isSTUN(ByteBuffer(bytes: bytes)))
        }
        #expect(!STUNMessage.isSTUN(ByteBuffer(bytes: RFC5769.request.prefix(19))))
        #expect(!STUNMessage.isSTUN(ByteBuffer()))
    }

    @Test("no truncation or mutation of a message traps, and none passes for authentic")
    func sweep() {
        var random = SeededRandom(seed: 5769)
        for source in [RFC5769.request, RFC5769.responseIPv4, RFC5769.responseIPv6] {
            for length in 0..<source.count {
                var cut = Array(source.prefix(length))
                _ = try? STUNMessage(validating: ByteBuffer(bytes: cut))
                if length >= 20 { cut[3] = UInt8(length - 20) }
                _ = try? STUNMessage(validating: ByteBuffer(bytes: cut))
                _ = STUNMessage.recipient(of: ByteBuffer(bytes: cut))
            }
            for _ in 0..<3000 {
                var changed = source
                for _ in 0..<Int.random(in: 1...4, using: &random) {
                    let place = Int.random(in: 0..<changed.count, using: &random)
                    changed[place] = UInt8.random(in: 0...255, using: &random)
                }
                let bytes = ByteBuffer(bytes: changed)
                _ = STUNMessage.recipient(of: bytes)
                guard changed != source, let read = try? STUNMessage(validating: bytes) else {
                    continue
                }
                #expect(!read.isAuthentic(password: RFC5769.password) || !read.hasFingerprint)
            }
        }
    }
}

@Suite struct TransportAddressTests {
    @Test("numeric hosts read, and are written in their shortest form")
    func hosts() {
        for (text, host) in [
            ("0.0.0.0", "0.0.0.0"), ("255.1.20.3", "255.1.20.3"), ("::", "::"), ("::1", "::1"),
            ("1::", "1::"), ("[2001:DB8:0:0:0:0:0:1]", "2001:db8::1"),
            ("2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"),
            ("2001:0:0:1:0:0:0:1", "2001:0:0:1::1"), ("::ffff:192.0.2.1", "192.0.2.1"),
            ("::ffff:c000:201", "192.0.2.1"), ("64:ff9b::192.0.2.33", "64:ff9b::c000:221"),
            ("1:2:3:4:5:6:7.8.9.10", "1:2:3:4:5:6:708:90a"),
        ] {
            #expect(TransportAddress(host: text, port: 1)?.host == host, "\(text)")
        }
    }

    @Test("names, zones and damaged numbers are no addresses")
    func refused() {
        for text in [
            "", "1.2.3", "1.2.3.4.5", "1.2.3.256", "01.2.3.4", "1.2.3.+4", "localhost", ":", ":::",
            "1::2::3", "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9", "1:2:3:4:5:6:7::8", "12345::", "+1::",
            "g::", "fe80::1%eth0", "1.2.3.4::", "::1.2.3", "[::1",
            String(repeating: "1", count: 99),
        ] {
            #expect(TransportAddress(host: text, port: 1) == nil, "\(text)")
        }
    }

    @Test("addresses of different ports, families and transports differ, and say so")
    func identity() throws {
        let udp = try #require(TransportAddress(host: "192.0.2.1", port: 5000))
        let tcp = try #require(
            TransportAddress(host: "192.0.2.1", port: 5000, transport: .tcp))
        #expect(udp != tcp)
        #expect(udp == TransportAddress(ipv4: 0xC000_0201, port: 5000))
        #expect(udp == TransportAddress(ipv6: (0, 0xFFFF_C000_0201), port: 5000))
        #expect(udp.description == "192.0.2.1:5000")
        #expect(tcp.description == "192.0.2.1:5000/tcp")
        #expect(TransportAddress(host: "::1", port: 7)?.description == "[::1]:7")
    }
}

@Suite struct TCPFramingTests {
    @Test("packets come out whole however the connection cuts them")
    func framing() throws {
        let packets = [1, 7, 1200, 8192].map { ByteBuffer(repeating: UInt8($0 & 0xFF), count: $0) }
        var stream = ByteBuffer()
        for packet in packets {
            stream.writeImmutableBuffer(try #require(TCPFraming.frame(packet)))
            stream.writeInteger(UInt16(0))
        }
        for step in [1, 2, 3, 1000, stream.readableBytes] {
            var framing = TCPFraming()
            var rest = stream
            var read: [ByteBuffer] = []
            while let part = rest.readSlice(length: min(step, max(rest.readableBytes, 1))) {
                framing.append(part)
                while let packet = try framing.next() { read.append(packet) }
            }
            #expect(read == packets)
        }
    }

    @Test("a frame longer than any packet of ours is refused before it is collected")
    func oversized() {
        var framing = TCPFraming()
        framing.append(ByteBuffer(bytes: [0x20, 0x01]))
        #expect(throws: TCPFraming.Oversized(length: 8193)) { try framing.next() }
        #expect(TCPFraming.frame(ByteBuffer()) == nil)
        #expect(TCPFraming.frame(ByteBuffer(repeating: 0, count: 65_536)) == nil)
    }
}
