// Session keys of SRTP and the OpenSSL contexts that hold them: shared by RTP and RTCP, both ways.
// SPDX-License-Identifier: Apache-2.0

private import COpenSSL
package import Primitives

/// Why SRTP or SRTCP refused a packet, or could not be set up.
package enum SRTPError: Error, Hashable, CaseIterable, Sendable {
    /// Too short, no RTP or RTCP, or a header that runs past the end.
    case malformed
    /// The tag does not fit the bytes.
    case forged
    /// An index that was seen, or one older than the window.
    case replayed
    /// SRTCP without encryption, which DTLS-SRTP's profiles do not know.
    case unencrypted
    /// Another source than the one that this opener follows, or more sources than are followed.
    case unknownSource
    /// A key or salt of the wrong size.
    case wrongKeySize
    /// OpenSSL refused: no memory, or an algorithm that the system forbids.
    case unavailable
}

/// The keys of one direction and one protocol, derived from the master key (RFC 3711 §4.3.1).
package struct SRTPSessionKeys: Equatable, Sendable {
    package let encryption: Redacted<[UInt8]>
    package let authentication: Redacted<[UInt8]>
    package let salt: Redacted<[UInt8]>

    /// RTP's labels are 0–2, RTCP's 3–5 (RFC 3711 §4.3.2).
    package enum Stream: UInt8, Sendable {
        case rtp = 0
        case rtcp = 3
    }

    package init(
        encryption: Redacted<[UInt8]>, authentication: Redacted<[UInt8]>, salt: Redacted<[UInt8]>
    ) {
        self.encryption = encryption
        self.authentication = authentication
        self.salt = salt
    }

    /// Derives the session keys; the key derivation rate is 0, so this happens once.
    package init(deriving profile: SRTPProfile, from keys: SRTPKeys, for stream: Stream)
        throws(SRTPError)
    {
        guard keys.masterKey.reveal().count == profile.keyBytes,
            keys.masterSalt.reveal().count == profile.saltBytes
        else { throw .wrongKeySize }
        let label = stream.rawValue
        self.init(
            encryption: try Self.derive(label, profile.keyBytes, keys),
            authentication: try Self.derive(label + 1, profile.authenticationKeyBytes, keys),
            salt: try Self.derive(label + 2, profile.saltBytes, keys))
    }

    private static func derive(_ label: UInt8, _ count: Int, _ keys: SRTPKeys) throws(SRTPError)
        -> Redacted<[UInt8]>
    {
        guard count > 0 else { return Redacted([]) }
        guard let context = EVP_CIPHER_CTX_new() else { throw .unavailable }
        defer { EVP_CIPHER_CTX_free(context) }
        // A 96-bit salt is padded on the right (RFC 7714 §11); the label stands 48 bits from its end.
        let salt = keys.masterSalt.reveal()
        var block = salt + [UInt8](repeating: 0, count: 16 - salt.count)
        block[7] ^= label
        var derived = [UInt8](repeating: 0, count: count)
        var written: Int32 = 0
        let zeros = [UInt8](repeating: 0, count: count)
        guard
            EVP_EncryptInit_ex(context, EVP_aes_128_ctr(), nil, keys.masterKey.reveal(), block)
                == 1,
            EVP_EncryptUpdate(context, &derived, &written, zeros, Int32(count)) == 1,
            written == count
        else { throw .unavailable }
        return Redacted(derived)
    }
}

/// Persistent OpenSSL contexts of one direction: the key schedule is made once, packets only set
/// the initialization vector.
struct SRTPContext: ~Copyable {
    let isAEAD: Bool
    private let cipher: OpaquePointer
    /// HMAC-SHA1 with its key; none for an AEAD.
    private let mac: OpaquePointer?
    /// The session salt in big-endian words, padded on the right.
    private let salt: (high: UInt64, low: UInt64)

    init(profile: SRTPProfile, keys: SRTPSessionKeys, encrypts: Bool) throws(SRTPError) {
        let key = keys.encryption.reveal()
        let salt = keys.salt.reveal()
        let authentication = keys.authentication.reveal()
        guard key.count == profile.keyBytes, salt.count == profile.saltBytes,
            authentication.count == profile.authenticationKeyBytes
        else { throw .wrongKeySize }
        let isAEAD = profile == .aeadAES128GCM
        guard let cipher = EVP_CIPHER_CTX_new() else { throw .unavailable }
        let algorithm = isAEAD ? EVP_aes_128_gcm() : EVP_aes_128_ctr()
        guard EVP_CipherInit_ex(cipher, algorithm, nil, key, nil, encrypts ? 1 : 0) == 1 else {
            EVP_CIPHER_CTX_free(cipher)
            throw .unavailable
        }
        let mac =
            isAEAD ? nil : copenssl_new_hmac_sha1(authentication, authentication.count)
        guard isAEAD || mac != nil else {
            EVP_CIPHER_CTX_free(cipher)
            throw .unavailable
        }
        var words: (high: UInt64, low: UInt64) = (0, 0)
        for (index, byte) in salt.enumerated() {
            let shifted = UInt64(byte) << UInt64(56 - index % 8 * 8)
            if index < 8 { words.high |= shifted } else { words.low |= shifted }
        }
        self.isAEAD = isAEAD
        self.cipher = cipher
        self.mac = mac
        self.salt = words
    }

    deinit {
        EVP_CIPHER_CTX_free(cipher)
        EVP_MAC_CTX_free(mac)
    }

    /// Starts a packet: sets the vector of RFC 3711 §4.1.1 or RFC 7714 §8.1 and §9.1.
    func begin(ssrc: UInt32, index: UInt64) -> Bool {
        var vector: (UInt64, UInt64)
        if isAEAD {
            vector.0 = (salt.high ^ UInt64(ssrc) << 16 ^ index >> 32).bigEndian
            vector.1 = (salt.low ^ index << 32).bigEndian
        } else {
            vector.0 = (salt.high ^ UInt64(ssrc)).bigEndian
            vector.1 = (salt.low ^ index << 16).bigEndian
        }
        return withUnsafeBytes(of: &vector) { bytes in
            let pointer = bytes.baseAddress?.assumingMemoryBound(to: UInt8.self)
            return EVP_CipherInit_ex(cipher, nil, nil, nil, pointer, -1) == 1
        }
    }

    /// Adds bytes that are authenticated but not encrypted (AEAD only).
    func associate(_ bytes: UnsafeRawPointer, _ count: Int) -> Bool {
        var written: Int32 = 0
        let pointer = bytes.assumingMemoryBound(to: UInt8.self)
        return EVP_CipherUpdate(cipher, nil, &written, pointer, Int32(truncatingIfNeeded: count))
            == 1
    }

    /// Encrypts or decrypts `source` into `destination`.
    func transform(_ source: UnsafeRawBufferPointer, into destination: UnsafeMutableRawPointer)
        -> Bool
    {
        guard let start = source.baseAddress, source.count > 0 else { return true }
        var written: Int32 = 0
        return EVP_CipherUpdate(
            cipher, destination.assumingMemoryBound(to: UInt8.self), &written,
            start.assumingMemoryBound(to: UInt8.self), Int32(truncatingIfNeeded: source.count)) == 1
    }

    /// Ends an AEAD's encryption and writes its 16-byte tag.
    func writeTag(_ tag: UnsafeMutableRawPointer) -> Bool {
        var written: Int32 = 0
        var nothing: UInt8 = 0
        return EVP_CipherFinal_ex(cipher, &nothing, &written) == 1
            && EVP_CIPHER_CTX_ctrl(cipher, EVP_CTRL_AEAD_GET_TAG, 16, tag) == 1
    }

    /// Ends an AEAD's decryption: true when the tag fits.
    func verifyTag(_ tag: UnsafeRawPointer) -> Bool {
        var written: Int32 = 0
        var nothing: UInt8 = 0
        // OpenSSL takes a mutable pointer and only reads.
        let pointer = UnsafeMutableRawPointer(mutating: tag)
        return EVP_CIPHER_CTX_ctrl(cipher, EVP_CTRL_AEAD_SET_TAG, 16, pointer) == 1
            && EVP_CipherFinal_ex(cipher, &nothing, &written) == 1
    }

    /// The first ten bytes of HMAC-SHA1 over the bytes and, for RTP, the roll-over counter.
    func writeMAC(
        of bytes: UnsafeRawBufferPointer, rollover: UInt32?, into tag: UnsafeMutableRawPointer
    ) -> Bool {
        var digest: (UInt64, UInt64, UInt64) = (0, 0, 0)
        return withUnsafeMutableBytes(of: &digest) { digest in
            guard let start = digest.baseAddress?.assumingMemoryBound(to: UInt8.self),
                let first = bytes.baseAddress?.assumingMemoryBound(to: UInt8.self),
                EVP_MAC_init(mac, nil, 0, nil) == 1, EVP_MAC_update(mac, first, bytes.count) == 1
            else { return false }
            if var rollover = rollover?.bigEndian {
                let isAdded = withUnsafeBytes(of: &rollover) {
                    EVP_MAC_update(mac, $0.baseAddress?.assumingMemoryBound(to: UInt8.self), 4) == 1
                }
                guard isAdded else { return false }
            }
            var count = 0
            guard EVP_MAC_final(mac, start, &count, 24) == 1, count == 20 else { return false }
            tag.copyMemory(from: start, byteCount: 10)
            return true
        }
    }

    /// True when the ten bytes at `tag` are the MAC, in constant time.
    func verifyMAC(of bytes: UnsafeRawBufferPointer, rollover: UInt32?, tag: UnsafeRawPointer)
        -> Bool
    {
        var expected: (UInt64, UInt64) = (0, 0)
        return withUnsafeMutableBytes(of: &expected) { expected in
            guard let start = expected.baseAddress,
                writeMAC(of: bytes, rollover: rollover, into: start)
            else { return false }
            return CRYPTO_memcmp(start, tag, 10) == 0
        }
    }
}
