// Which protection SRTP uses, and the keys that DTLS hands to it.
// SPDX-License-Identifier: Apache-2.0

package import Primitives

/// A protection profile of DTLS-SRTP, by its number on the wire (RFC 5764 §4.1.2, RFC 7714 §14.2).
package enum SRTPProfile: UInt16, CaseIterable, Sendable {
    case aes128CMHMACSHA1x80 = 0x0001
    case aeadAES128GCM = 0x0007

    /// The size of master and session encryption keys.
    package var keyBytes: Int { 16 }

    /// The size of master and session salts (RFC 3711 §8.2, RFC 7714 §12).
    package var saltBytes: Int { self == .aeadAES128GCM ? 12 : 14 }

    /// The size of the authentication key; an AEAD has none of its own.
    package var authenticationKeyBytes: Int { self == .aeadAES128GCM ? 0 : 20 }

    /// What sealing adds to an RTP packet.
    package var tagBytes: Int { self == .aeadAES128GCM ? 16 : 10 }
}

/// The master key and salt of one direction (RFC 3711 §3.2.1).
package struct SRTPKeys: Equatable, Sendable {
    package let masterKey: Redacted<[UInt8]>
    package let masterSalt: Redacted<[UInt8]>

    package init(masterKey: Redacted<[UInt8]>, masterSalt: Redacted<[UInt8]>) {
        self.masterKey = masterKey
        self.masterSalt = masterSalt
    }
}

/// What a DTLS handshake agreed on for SRTP, seen from our end.
package struct KeyingMaterial: Equatable, Sendable {
    package let profile: SRTPProfile
    /// For what we send.
    package let local: SRTPKeys
    /// For what the peer sends.
    package let remote: SRTPKeys

    package init(profile: SRTPProfile, local: SRTPKeys, remote: SRTPKeys) {
        self.profile = profile
        self.local = local
        self.remote = remote
    }

    /// Cuts what the exporter gave: client key, server key, client salt, server salt
    /// (RFC 5764 §4.2). Nil when the size is not the profile's.
    package init?(profile: SRTPProfile, exported: Redacted<[UInt8]>, isClient: Bool) {
        let bytes = exported.reveal()
        let (key, salt) = (profile.keyBytes, profile.saltBytes)
        guard bytes.count == 2 * (key + salt) else { return nil }
        let client = SRTPKeys(
            masterKey: Redacted(Array(bytes[..<key])),
            masterSalt: Redacted(Array(bytes[(2 * key)..<(2 * key + salt)])))
        let server = SRTPKeys(
            masterKey: Redacted(Array(bytes[key..<(2 * key)])),
            masterSalt: Redacted(Array(bytes[(2 * key + salt)...])))
        self.init(
            profile: profile, local: isClient ? client : server,
            remote: isClient ? server : client)
    }
}
