// SRTP and SRTCP: the vectors of the RFCs, roll-over, replays, forgeries.
// SPDX-License-Identifier: Apache-2.0

import NIOCore
import Primitives
import Testing
import WebRTC

private func hex(_ text: String) -> [UInt8] {
    let digits = text.compactMap(\.hexDigitValue).map(UInt8.init)
    return stride(from: 0, to: digits.count - 1, by: 2).map { digits[$0] << 4 | digits[$0 + 1] }
}

private func keys(_ profile: SRTPProfile, seed: UInt8 = 1) -> SRTPKeys {
    SRTPKeys(
        masterKey: Redacted((0..<16).map { $0 &* 7 &+ seed }),
        masterSalt: Redacted((0..<UInt8(profile.saltBytes)).map { $0 &* 3 &+ seed }))
}

private func sealed(
    _ sealer: SRTPSealer, index: UInt64, payload: [UInt8], marker: Bool = true,
    ssrc: UInt32 = 0xCAFE_BABE, timestamp: UInt32 = 90_000, payloadType: UInt8 = 96,
    prefix: UInt16? = nil
) -> ByteBuffer {
    var bytes = ByteBuffer()
    _ = bytes.writeWithUnsafeMutableBytes(minimumWritableBytes: payload.count + 40) { target in
        guard let to = target.baseAddress else { return 0 }
        return payload.withUnsafeBytes {
            sealer.seal(
                marker: marker, payloadType: payloadType, index: index, timestamp: timestamp,
                ssrc: ssrc, prefix: prefix, payload: $0, into: to)
        }
    }
    return bytes
}

@Suite struct SRTPVectorTests {
    @Test("the AES-CM keystream is that of RFC 3711 B.2")
    func keystream() throws {
        let session = SRTPSessionKeys(
            encryption: Redacted(hex("2B7E151628AED2A6ABF7158809CF4F3C")),
            authentication: Redacted([UInt8](repeating: 0, count: 20)),
            salt: Redacted(hex("F0F1F2F3F4F5F6F7F8F9FAFBFCFD")))
        let sealer = try SRTPSealer(profile: .aes128CMHMACSHA1x80, sessionKeys: session)
        let zeros = [UInt8](repeating: 0, count: 48)
        let packet = sealed(sealer, index: 0, payload: zeros, ssrc: 0)
        #expect(packet.readableBytes == 12 + 48 + 10)
        #expect(
            packet.getBytes(at: 12, length: 48)
                == hex(
                    """
                    E03EAD0935C95E80E166B16DD92B4EB4 D23513162B02D0F72A43A2FE4A5F97AB
                    41E95B3BB0A2E8DD477901E4FCA894C0
                    """))
    }

    @Test("the session keys are those of RFC 3711 B.3")
    func derivation() throws {
        let session = try SRTPSessionKeys(
            deriving: .aes128CMHMACSHA1x80,
            from: SRTPKeys(
                masterKey: Redacted(hex("E1F97A0D3E018BE0D64FA32C06DE4139")),
                masterSalt: Redacted(hex("0EC675AD498AFEEBB6960B3AABE6"))), for: .rtp)
        #expect(session.encryption.reveal() == hex("C61E7A93744F39EE10734AFE3FF7A087"))
        #expect(session.salt.reveal() == hex("30CBBC08863D8C85D49DB34A9AE1"))
        #expect(
            session.authentication.reveal() == hex("CEBE321F6FF7716B6FD4AB49AF256A156D38BAA4"))
    }

    private let gcm = SRTPSessionKeys(
        encryption: Redacted(hex("000102030405060708090a0b0c0d0e0f")),
        authentication: Redacted([]), salt: Redacted(hex("517569642070726f2071756f")))

    @Test("a GCM packet is that of RFC 7714 §16.1.1, and opens as in §16.1.2")
    func gcmPacket() throws {
        let plain = hex(
            """
            8040f17b 8041f8d3 5501a0b2 47616c6c 69612065 7374206f 6d6e6973 20646976
            69736120 696e2070 61727465 73207472 6573
            """)
        let expected = hex(
            """
            8040f17b 8041f8d3 5501a0b2 f24de3a3 fb34de6c acba861c 9d7e4bca be633bd5
            0d294e6f 42a5f47a 51c7d19b 36de3adf 8833899d 7f27beb1 6a9152cf 765ee439 0cce
            """)
        let sealer = try SRTPSealer(profile: .aeadAES128GCM, sessionKeys: gcm)
        let packet = sealed(
            sealer, index: 0xF17B, payload: Array(plain[12...]), marker: false, ssrc: 0x5501_A0B2,
            timestamp: 0x8041_F8D3, payloadType: 64)
        #expect(Array(packet.readableBytesView) == expected)
        let opener = try SRTPOpener(profile: .aeadAES128GCM, sessionKeys: gcm)
        #expect(try opener.open(packet) == ByteBuffer(bytes: plain))
    }

    @Test("a GCM compound is that of RFC 7714 §17.1, and opens as in §17.2")
    func gcmCompound() throws {
        let plain = ByteBuffer(
            bytes: hex(
                """
                81c8000d 4d617273 4e545031 4e545032 52545020 0000042a 0000e930 4c756e61
                deadbeef deadbeef deadbeef deadbeef deadbeef
                """))
        let expected = hex(
            """
            81c8000d 4d617273 63e94885 dcdab67c a727d766 2f6b7e99 7ff5c0f7 6c06f32d
            c676a5f1 730d6fda 4ce09b46 86303ded 0bb9275b c84aa458 96cf4d2f c5abf872
            45d9eade 800005d4
            """)
        let sealer = try SRTCPSealer(
            profile: .aeadAES128GCM, sessionKeys: gcm, firstIndex: 0x5D4)
        let packet = try #require(sealer.seal(plain))
        #expect(Array(packet.readableBytesView) == expected)
        let opener = try SRTCPOpener(profile: .aeadAES128GCM, sessionKeys: gcm)
        #expect(try opener.open(packet) == plain)
    }
}

@Suite struct SRTPTests {
    @Test("packets open across the roll-over", arguments: SRTPProfile.allCases)
    func rollover(_ profile: SRTPProfile) throws {
        let sealer = try SRTPSealer(profile: profile, keys: keys(profile))
        let opener = try SRTPOpener(profile: profile, keys: keys(profile))
        #expect(sealer.tagBytes == profile.tagBytes)
        for index in UInt64(65_500)..<65_600 {
            let payload = (0..<100).map { UInt8(truncatingIfNeeded: index &+ $0) }
            let plain = try opener.open(sealed(sealer, index: index, payload: payload))
            #expect(plain.getBytes(at: 12, length: 100) == payload)
            #expect(
                plain.getInteger(at: 2, as: UInt16.self) == UInt16(truncatingIfNeeded: index))
            #expect(plain.readableBytes == 112)
        }
        // Late ones from before the roll-over still open; then many roll-overs with gaps.
        let late = try SRTPOpener(profile: profile, keys: keys(profile))
        var last: UInt64 = 60_000
        for index in stride(from: UInt64(60_000), to: 1_000_000, by: 9_999) {
            _ = try late.open(sealed(sealer, index: index, payload: [1]))
            _ = try late.open(sealed(sealer, index: index - 100, payload: [2]))
            last = index
        }
        #expect(late.opened == 190)
        #expect(last >> 16 == 15)
    }

    @Test("a resent payload carries its original number", arguments: SRTPProfile.allCases)
    func prefix(_ profile: SRTPProfile) throws {
        let sealer = try SRTPSealer(profile: profile, keys: keys(profile))
        let opener = try SRTPOpener(profile: profile, keys: keys(profile))
        let payload = (0..<77).map { UInt8($0) }
        let packet = sealed(sealer, index: 5, payload: payload, prefix: 0xABCD)
        #expect(packet.readableBytes == 12 + 2 + 77 + profile.tagBytes)
        let plain = try opener.open(packet)
        #expect(plain.getBytes(at: 12, length: 79) == [0xAB, 0xCD] + payload)
        let empty = sealed(sealer, index: 6, payload: [])
        #expect(try opener.open(empty).readableBytes == 12)
    }

    @Test("sealing again gives the identical bytes", arguments: SRTPProfile.allCases)
    func identical(_ profile: SRTPProfile) throws {
        let sealer = try SRTPSealer(profile: profile, keys: keys(profile))
        let first = sealed(sealer, index: 70_000, payload: [1, 2, 3])
        _ = sealed(sealer, index: 70_001, payload: [4])
        #expect(sealed(sealer, index: 70_000, payload: [1, 2, 3]) == first)
    }

    @Test(
        "replays are refused, late packets within the window are not",
        arguments: SRTPProfile.allCases)
    func replays(_ profile: SRTPProfile) throws {
        let sealer = try SRTPSealer(profile: profile, keys: keys(profile))
        let opener = try SRTPOpener(profile: profile, keys: keys(profile))
        func packet(_ index: UInt64) -> ByteBuffer { sealed(sealer, index: index, payload: [9]) }
        for index in stride(from: UInt64(1000), through: 1200, by: 2) {
            _ = try opener.open(packet(index))
        }
        #expect(throws: SRTPError.replayed) { try opener.open(packet(1200)) }
        #expect(throws: SRTPError.replayed) { try opener.open(packet(1074)) }
        #expect(throws: SRTPError.replayed) { try opener.open(packet(1071)) }
        for index in stride(from: UInt64(1073), to: 1200, by: 2) {
            _ = try opener.open(packet(index))
            #expect(throws: SRTPError.replayed) { try opener.open(packet(index)) }
        }
        #expect(opener.discarded == [.replayed: 67])
        // Older than the start of the stream.
        let fresh = try SRTPOpener(profile: profile, keys: keys(profile))
        _ = try fresh.open(packet(3))
        #expect(throws: SRTPError.replayed) { try fresh.open(packet(65_530)) }
    }

    @Test("any flipped bit is a forgery or no packet at all", arguments: SRTPProfile.allCases)
    func forgeries(_ profile: SRTPProfile) throws {
        let sealer = try SRTPSealer(profile: profile, keys: keys(profile))
        let opener = try SRTPOpener(profile: profile, keys: keys(profile))
        let packet = sealed(sealer, index: 40_000, payload: (0..<30).map { UInt8($0) })
        for bit in 0..<(packet.readableBytes * 8) {
            var changed = packet
            let byte = try #require(packet.getInteger(at: bit / 8, as: UInt8.self))
            changed.setInteger(byte ^ (1 << (bit % 8)), at: bit / 8)
            #expect(throws: SRTPError.self) { try opener.open(changed) }
        }
        for length in 0..<packet.readableBytes {
            let cut = try #require(packet.getSlice(at: 0, length: length))
            #expect(throws: SRTPError.self) { try opener.open(cut) }
        }
        #expect(opener.opened == 0)
        _ = try opener.open(packet)
        let other = sealed(sealer, index: 40_001, payload: [1], ssrc: 2)
        #expect(throws: SRTPError.unknownSource) { try opener.open(other) }
        let stranger = try SRTPSealer(profile: profile, keys: keys(profile, seed: 2))
        #expect(throws: SRTPError.forged) {
            try opener.open(sealed(stranger, index: 40_002, payload: [1]))
        }
    }

    @Test("mutated packets never trap", arguments: SRTPProfile.allCases)
    func sweep(_ profile: SRTPProfile) throws {
        var random = SeededRandom(seed: 7)
        let rtp = try SRTPOpener(profile: profile, keys: keys(profile))
        let rtcp = try SRTCPOpener(profile: profile, keys: keys(profile))
        for _ in 0..<2000 {
            let count = Int.random(in: 0...80, using: &random)
            var bytes = (0..<count).map { _ in UInt8.random(in: 0...255, using: &random) }
            if count > 0 { bytes[0] = 0x80 | bytes[0] & 0x3F }
            #expect(throws: SRTPError.self) { try rtp.open(ByteBuffer(bytes: bytes)) }
            #expect(throws: SRTPError.self) { try rtcp.open(ByteBuffer(bytes: bytes)) }
        }
    }

    @Test("keys of the wrong size are refused, and none is printed")
    func wrongKeys() throws {
        let short = SRTPKeys(masterKey: Redacted([1]), masterSalt: Redacted([2]))
        #expect(throws: SRTPError.wrongKeySize) {
            try SRTPSealer(profile: .aeadAES128GCM, keys: short)
        }
        #expect(throws: SRTPError.wrongKeySize) {
            try SRTPOpener(profile: .aeadAES128GCM, keys: keys(.aes128CMHMACSHA1x80))
        }
        let material = KeyingMaterial(profile: .aeadAES128GCM, local: short, remote: short)
        #expect(!"\(material)".contains("["))
    }

    @Test("exported bytes are cut by RFC 5764 §4.2", arguments: SRTPProfile.allCases)
    func layout(_ profile: SRTPProfile) throws {
        let salt = profile.saltBytes
        let bytes =
            [UInt8](repeating: 1, count: 16) + [UInt8](repeating: 2, count: 16)
            + [UInt8](repeating: 3, count: salt) + [UInt8](repeating: 4, count: salt)
        let material = try #require(
            KeyingMaterial(profile: profile, exported: Redacted(bytes), isClient: true))
        #expect(material.local.masterKey.reveal() == [UInt8](repeating: 1, count: 16))
        #expect(material.local.masterSalt.reveal() == [UInt8](repeating: 3, count: salt))
        #expect(material.remote.masterKey.reveal() == [UInt8](repeating: 2, count: 16))
        #expect(material.remote.masterSalt.reveal() == [UInt8](repeating: 4, count: salt))
        #expect(
            KeyingMaterial(profile: profile, exported: Redacted([1]), isClient: true) == nil)
    }
}

@Suite struct SRTCPTests {
    private let compound = ByteBuffer(
        bytes: [0x80, 201, 0, 1, 0, 0, 0, 7, 0x81, 206, 0, 2, 0, 0, 0, 7, 0, 0, 0, 9])

    @Test("compounds open once and in any order", arguments: SRTPProfile.allCases)
    func roundTrip(_ profile: SRTPProfile) throws {
        let sealer = try SRTCPSealer(profile: profile, keys: keys(profile))
        let opener = try SRTCPOpener(profile: profile, keys: keys(profile))
        let packets = try (0..<20).map { _ in try #require(sealer.seal(compound)) }
        #expect(packets[0].readableBytes == 20 + 4 + profile.tagBytes)
        for packet in packets.reversed() {
            #expect(try opener.open(packet) == compound)
            #expect(throws: SRTPError.replayed) { try opener.open(packet) }
        }
        #expect(opener.opened == 20)
        #expect(opener.discarded == [.replayed: 20])
    }

    @Test("any flipped bit, any cut is refused", arguments: SRTPProfile.allCases)
    func forgeries(_ profile: SRTPProfile) throws {
        let sealer = try SRTCPSealer(profile: profile, keys: keys(profile))
        let opener = try SRTCPOpener(profile: profile, keys: keys(profile))
        let packet = try #require(sealer.seal(compound))
        for bit in 0..<(packet.readableBytes * 8) {
            var changed = packet
            let byte = try #require(packet.getInteger(at: bit / 8, as: UInt8.self))
            changed.setInteger(byte ^ (1 << (bit % 8)), at: bit / 8)
            #expect(throws: SRTPError.self) { try opener.open(changed) }
        }
        #expect(opener.discarded[.unencrypted] == 1)
        for length in 0..<packet.readableBytes {
            let cut = try #require(packet.getSlice(at: 0, length: length))
            #expect(throws: SRTPError.self) { try opener.open(cut) }
        }
        #expect(try opener.open(packet) == compound)
    }

    @Test(
        "each source has its own window, and their number is bounded",
        arguments: SRTPProfile.allCases)
    func sources(_ profile: SRTPProfile) throws {
        let opener = try SRTCPOpener(profile: profile, keys: keys(profile))
        for source in 0..<UInt32(SRTCPOpener.maxSources + 1) {
            let sealer = try SRTCPSealer(profile: profile, keys: keys(profile))
            var bytes = compound
            bytes.setInteger(source, at: 4)
            let packet = try #require(sealer.seal(bytes))
            if source < SRTCPOpener.maxSources {
                #expect(try opener.open(packet) == bytes)
            } else {
                #expect(throws: SRTPError.unknownSource) { try opener.open(packet) }
            }
        }
    }

    @Test("an index is never used twice: after the last one nothing is sealed")
    func spent() throws {
        let session = try SRTPSessionKeys(
            deriving: .aeadAES128GCM, from: keys(.aeadAES128GCM), for: .rtcp)
        let sealer = try SRTCPSealer(
            profile: .aeadAES128GCM, sessionKeys: session, firstIndex: 0x7FFF_FFFF)
        #expect(sealer.seal(compound) != nil)
        #expect(sealer.seal(compound) == nil)
        #expect(sealer.seal(ByteBuffer(bytes: [0x80])) == nil)
    }
}
